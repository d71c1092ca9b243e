"""Operations that stay finite, with finite gradients, where the plain ones do not."""

import tensorflow as tf

_TINY = 1e-12


def safe_norm(x, axis=-1, keepdims=False, epsilon=_TINY):
    """Euclidean norm whose gradient at zero is zero instead of NaN.

    Equals the exact norm to within `sqrt(epsilon)`.
    """
    return tf.sqrt(tf.reduce_sum(tf.square(x), axis=axis, keepdims=keepdims) + epsilon)


def safe_normalize(x, axis=-1, epsilon=_TINY):
    """`x` at unit length; a vector shorter than `sqrt(epsilon)` is only scaled, not blown up."""
    return x * tf.math.rsqrt(tf.maximum(tf.reduce_sum(tf.square(x), axis=axis, keepdims=True), epsilon))
