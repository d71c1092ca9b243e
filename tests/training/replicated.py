"""Runs in a process of its own: the toy network for 20 steps on one device, two devices or as one of two workers.

    python replicated.py ROOT none|mirrored|multi_worker OUT.npz
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [sys.argv[1], os.path.dirname(os.path.abspath(__file__))]

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

STEPS, BATCH = 20, 4


def train(name):
    """Weights after 20 steps on the same batches."""
    if name == "mirrored":
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        from hund_tf.training import strategies

        strategy = strategies.make(name)
    import toy
    from hund_tf.training import examples

    body = toy.LinearBody()
    with strategy.scope():
        model = toy.make(body, 1, units=8)
        model.compile(keras.optimizers.Adam(1e-3, clipnorm=1.0))
    dataset = tf.data.Dataset.from_tensor_slices(toy.batch(body, 2 * BATCH)).repeat().batch(BATCH, drop_remainder=True)
    if name == "multi_worker":
        dataset = examples.for_workers(dataset, strategy, BATCH)
    model.fit(dataset, steps_per_epoch=STEPS, verbose=0)
    return [value.numpy() for value in model.trainable_variables], strategy.num_replicas_in_sync


if __name__ == "__main__":
    weights, replicas = train(sys.argv[2])
    np.savez(sys.argv[3], *weights, replicas=replicas)
