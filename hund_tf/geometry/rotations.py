"""Rotations: 6D to matrix and back, mirror images, products, and the share of a twist.

A 6D rotation is the first two columns of its matrix, one after the other: `[R[:, 0], R[:, 1]]`.
Products and twists take planes, matrices `[3, 3, ...]` and points `[3, ...]`: each entry is one long row of numbers for
all bodies and joints, which a CPU adds and multiplies several times as fast as many small matrices.
Source: Zhou et al., On the Continuity of Rotation Representations, CVPR 2019.
"""

import tensorflow as tf

from hund_tf.geometry.numerics import safe_normalize

IDENTITY_6D = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def matrix_from_6d(rotation6d):
    """`[..., 6]` -> rotation matrices `[..., 3, 3]` by Gram-Schmidt.

    Parallel or vanishing columns give a finite matrix with finite gradients, though not a rotation.
    """
    first, second = tf.split(rotation6d, 2, axis=-1)
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


def mirrored(rotation):
    """The rotation seen in a mirror that swaps left and right (x): `[..., 3, 3]` -> `[..., 3, 3]`."""
    sign = tf.constant([[1.0, -1.0, -1.0], [-1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]], rotation.dtype)
    return rotation * sign


def planes_from_matrix(matrix):
    """Matrices `[B, J, 3, 3]` -> planes `[3, 3, B, J]`."""
    joints = matrix.shape[1]
    return tf.reshape(tf.transpose(tf.reshape(matrix, [-1, 9])), [3, 3, -1, joints])


def points_from_planes(planes):
    """Planes `[3, B, J]` -> points `[B, J, 3]`."""
    joints = planes.shape[-1]
    return tf.reshape(tf.transpose(tf.reshape(planes, [3, -1])), [-1, joints, 3])


def compose(a, b):
    """`a @ b` of planes `[3, 3, ...]`, which may broadcast."""
    return tf.reduce_sum(tf.expand_dims(a, 2) * tf.expand_dims(b, 0), axis=1)


def rotate(rotation, points):
    """`rotation @ points` of planes: `[3, 3, ...]` and `[3, ...]` -> `[3, ...]`."""
    return tf.reduce_sum(rotation * tf.expand_dims(points, 0), axis=1)


def half_twist(rotation, axis, sign=1.0):
    """`sign` times half the turn of `rotation` about `axis`: planes `[3, 3, ...]`, unit `[3, ...]` -> `[3, 3, ...]`.

    The twist of the swing-twist decomposition; near half a turn away from rest it may take either side.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (tf.unstack(row) for row in tf.unstack(rotation))
    x, y, z = tf.unstack(axis)
    # Of the twist angle phi, (cosine, sine) of phi / 2 are proportional to quaternion w and axis part.
    cosine = 1.0 + 1e-6 + xx + yy + zz
    sine = x * (zy - yz) + y * (xz - zx) + z * (yx - xy)
    cosine, sine = tf.unstack(safe_normalize(tf.stack([cosine, sine]), axis=0))
    return about_axis(axis, cosine, sign * sine)


def about_axis(axis, cosine, sine):
    """Rotation planes `[3, 3, ...]` about unit `axis` `[3, ...]` by an angle given as cosine and sine `[...]`."""
    x, y, z = tf.unstack(axis)
    rest = 1.0 - cosine
    return tf.stack([
        tf.stack([cosine + x * x * rest, x * y * rest - z * sine, x * z * rest + y * sine]),
        tf.stack([y * x * rest + z * sine, cosine + y * y * rest, y * z * rest - x * sine]),
        tf.stack([z * x * rest - y * sine, z * y * rest + x * sine, cosine + z * z * rest])])
