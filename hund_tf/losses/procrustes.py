"""Points in, the same moved, turned and scaled onto others out."""

import tensorflow as tf


def align(points, truth):
    """Points `[B, N, 3]` moved, turned and scaled onto `truth` `[B, N, 3]`, in the sense of least squares."""
    centre = tf.reduce_mean(truth, 1, keepdims=True)
    points, truth = points - tf.reduce_mean(points, 1, keepdims=True), truth - centre
    s, u, v = tf.linalg.svd(tf.matmul(points, truth, transpose_a=True))
    sign = tf.sign(tf.linalg.det(tf.matmul(u, v, transpose_b=True)))
    flip = tf.stack([tf.ones_like(sign), tf.ones_like(sign), sign], -1)
    rotation = tf.matmul(u * flip[:, None], v, transpose_b=True)
    scale = tf.reduce_sum(s * flip, -1) / tf.maximum(tf.reduce_sum(tf.square(points), [1, 2]), 1e-9)
    return scale[:, None, None] * points @ rotation + centre
