"""Negative log-likelihood of the codes under N(0, I), up to a constant and a half (Eq. 6)."""

import tensorflow as tf


def gaussian_prior(code):
    """`||code||^2`: `[B, D]` -> `[B]`. Source: Zanfir et al., CVPR 2021, Eq. 6."""
    return tf.reduce_sum(tf.square(code), axis=-1)
