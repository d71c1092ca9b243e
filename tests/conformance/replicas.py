"""Runs in a process of its own: gradients of a registered layer on two replicas, against those on one."""

import sys

import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path[:0] = sys.argv[1:3]

import layers  # noqa: E402


def slopes(strategy, make, call, inputs, parts):
    with strategy.scope():
        layer = make()

    @tf.function
    def step(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = tf.reduce_sum(tf.square(call(layer, values)))
        return tape.gradient(total, values)

    def pick(context):
        size = layers.BATCH // parts
        first = context.replica_id_in_sync_group * size
        return {name: tf.constant(value[first:first + size]) for name, value in inputs.items()}

    per_replica = strategy.experimental_distribute_values_from_function(pick)
    result = strategy.run(step, args=(per_replica,))
    return {name: np.concatenate([part.numpy() for part in strategy.experimental_local_results(values)])
            for name, values in result.items()}


two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for name, (make, call, inputs) in layers.LAYERS.items():
    one = slopes(tf.distribute.OneDeviceStrategy("CPU:0"), make, call, inputs, 1)
    both = slopes(two, make, call, inputs, 2)
    for key in inputs:
        assert one[key].shape == inputs[key].shape and np.any(one[key] != 0), (name, key)
        scale = np.abs(one[key]).max()
        assert np.abs(one[key] - both[key]).max() <= 1e-5 * scale, (name, key, np.abs(one[key] - both[key]).max(), scale)
    print(name, "agrees")
