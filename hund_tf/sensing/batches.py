"""A batch that may be empty in, one that is not out."""

import tensorflow as tf


def at_least_one(values):
    """`[N, ...]` with a row of zeros where N is 0: oneDNN's fused convolutions fail on empty batches (TensorFlow 2.15)."""
    rows = tf.maximum(1 - tf.shape(values)[0], 0)
    padded = tf.pad(values, [[0, rows]] + [[0, 0]] * (values.shape.rank - 1))
    return tf.ensure_shape(padded, [None, *values.shape[1:]])
