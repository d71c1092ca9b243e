"""Rotations: 6D to matrix and back, mirror images, and the share of a twist.

A 6D rotation is the first two columns of its matrix, one after the other: `[R[:, 0], R[:, 1]]`.
Source: Zhou et al., On the Continuity of Rotation Representations, CVPR 2019.
"""

import tensorflow as tf

from hund_tf.geometry.numerics import safe_normalize

IDENTITY_6D = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def matrix_from_6d(rotation6d):
    """`[..., 6]` -> rotation matrices `[..., 3, 3]` by Gram-Schmidt.

    Parallel or vanishing columns give a finite matrix with finite gradients, though not a rotation.
    """
    first, second = rotation6d[..., :3], rotation6d[..., 3:]
    x = safe_normalize(first)
    y = safe_normalize(second - tf.reduce_sum(x * second, axis=-1, keepdims=True) * x)
    return tf.stack([x, y, cross(x, y)], axis=-1)


def matrix_to_6d(rotation):
    """`[..., 3, 3]` -> first two columns `[..., 6]`."""
    return tf.concat([rotation[..., 0], rotation[..., 1]], axis=-1)


def cross(a, b):
    """Cross product of `[..., 3]` and `[..., 3]`, which may broadcast."""
    ax, ay, az = tf.unstack(a, axis=-1)
    bx, by, bz = tf.unstack(b, axis=-1)
    return tf.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def compose(a, b):
    """`a @ b` for `[..., 3, 3]`; for many small matrices faster than a batched matrix product."""
    return tf.reduce_sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


def rotate(rotation, points):
    """`rotation @ points`: `[..., 3, 3]` and `[..., 3]` -> `[..., 3]`."""
    return tf.reduce_sum(rotation * points[..., None, :], axis=-1)


def mirrored(rotation):
    """The rotation seen in a mirror that swaps left and right (x): `[..., 3, 3]` -> `[..., 3, 3]`."""
    sign = tf.constant([[1.0, -1.0, -1.0], [-1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]], rotation.dtype)
    return rotation * sign


def half_twist(rotation, axis, sign=1.0):
    """`sign` times half the turn of `rotation` about `axis`: `[..., 3, 3]`, unit `[..., 3]` -> `[..., 3, 3]`.

    The twist of the swing-twist decomposition; near half a turn away from rest it may take either side.
    """
    trace = rotation[..., 0, 0] + rotation[..., 1, 1] + rotation[..., 2, 2]
    turn = tf.stack([rotation[..., 2, 1] - rotation[..., 1, 2], rotation[..., 0, 2] - rotation[..., 2, 0],
                     rotation[..., 1, 0] - rotation[..., 0, 1]], axis=-1)
    # Of the twist angle phi, (cosine, sine) of phi / 2 are proportional to quaternion w and axis part.
    cosine_sine = tf.stack([1.0 + trace, tf.reduce_sum(axis * turn, axis=-1)], axis=-1)
    cosine, sine = tf.unstack(safe_normalize(cosine_sine + tf.constant([1e-6, 0.0], rotation.dtype)), axis=-1)
    return about_axis(axis, cosine, sign * sine)


def about_axis(axis, cosine, sine):
    """Rotation about unit `axis` `[..., 3]` by an angle given as cosine and sine `[...]`."""
    x, y, z = tf.unstack(axis * tf.ones_like(cosine)[..., None], axis=-1)
    rest = 1.0 - cosine
    return tf.stack([
        tf.stack([cosine + x * x * rest, x * y * rest - z * sine, x * z * rest + y * sine], axis=-1),
        tf.stack([y * x * rest + z * sine, cosine + y * y * rest, y * z * rest - x * sine], axis=-1),
        tf.stack([z * x * rest - y * sine, z * y * rest + x * sine, cosine + z * z * rest], axis=-1)], axis=-2)
