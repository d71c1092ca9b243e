"""Runs in a process of its own, without hund_tf: reads saved layers, answers with outputs and gradients of given inputs."""

import sys

import numpy as np
import tensorflow as tf

folder, *names = sys.argv[1:]
for name in names:
    with np.load(f"{folder}/{name}_in.npz") as data:
        inputs = {key: tf.constant(value) for key, value in data.items()}
    function = tf.saved_model.load(f"{folder}/{name}").signatures["serving_default"]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        output = function(**inputs)["output"]
        total = tf.reduce_sum(tf.square(output))
    slopes = tape.gradient(total, inputs)
    np.savez(f"{folder}/{name}_out.npz", output=output, **{f"slope_{key}": slope for key, slope in slopes.items()})
assert not any(module.startswith("hund_tf") for module in sys.modules)
