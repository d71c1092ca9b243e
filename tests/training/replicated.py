"""Runs in a process of its own: the toy network for 20 steps on one device and on two, or as one of two workers.

    python replicated.py ROOT devices|worker OUT.npz
"""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [sys.argv[1], os.path.dirname(os.path.abspath(__file__))]

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

STEPS, BATCH = 20, 4
LATE = 3  # seconds that the second worker comes after the first


def train(strategy, run_dir=None):
    """Weights after 20 steps on the same batches; as a worker with the callbacks of a real run in one folder for all."""
    import toy
    from hund_tf.training import callbacks, examples, runs, strategies

    body = toy.LinearBody()
    with strategy.scope():
        model = toy.make(body, 1, units=8)
        model.compile(keras.optimizers.SGD(3e-4, momentum=0.9))  # unlike Adam, it shows a gradient of another length
    dataset = tf.data.Dataset.from_tensor_slices(toy.batch(body, 2 * BATCH)).repeat().batch(BATCH, drop_remainder=True)
    made = []
    if run_dir is not None:
        whole = dataset
        dataset = examples.for_workers(
            lambda rows: whole.map(lambda *batch: tf.nest.map_structure(lambda value: value[rows], batch)), strategy, BATCH)
        made = callbacks.make(run_dir, STEPS, tensorboard=False, chief=strategies.is_chief())
    history = model.fit(dataset, steps_per_epoch=STEPS, verbose=0, callbacks=made)
    if run_dir is not None:
        if not strategies.is_chief():
            time.sleep(LATE)
            assert callbacks.resume_point(run_dir, STEPS) == (1, 0), "the chief removed the checkpoint before all were through"
        runs.save_finished(model, history, run_dir, "weights.h5", strategy=strategy)
    return [value.numpy() for value in model.trainable_variables]


def main(kind, out):
    if kind == "devices":
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
        one, two = tf.distribute.OneDeviceStrategy("CPU:0"), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        np.savez(f"{out}_one.npz", *train(one))
        np.savez(f"{out}_two.npz", *train(two))
        return
    from hund_tf.training import strategies

    np.savez(f"{out}.npz", *train(strategies.make("multi_worker"), os.path.join(os.path.dirname(out), "run")))


if __name__ == "__main__":
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # it takes longer than 20 steps
    main(*sys.argv[2:4])
