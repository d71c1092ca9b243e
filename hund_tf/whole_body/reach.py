"""An arm and a place for its wrist in, the arm that reaches there with the least change out."""

import tensorflow as tf
from tensorflow_graphics.geometry.transformation import rotation_matrix_3d

_STRETCH = 0.995  # of upper arm and forearm together: an arm never asks to be straighter to reach
_STRAIGHT = 0.05  # sine of the bend under which the elbow's own hinge says more and more which way it bends
_LEAST = 1e-9


def reach(shoulder, elbow, wrist, place, hinge):
    """Bends an elbow and turns a shoulder so that the wrist comes to a place, or as near as the arm is long.

    Args:
        shoulder, elbow, wrist: `[B, 3]`, metres, where they are.
        place: `[B, 3]`, where the wrist shall be; where it is gives no turn.
        hinge: `[B, 3]`, unit axis about which the elbow bends.

    Returns:
        `(arm, forearm)`: rotations `[B, 3, 3]` by which upper arm and forearm turn, in the frame of the points.
    """
    upper, fore, way = elbow - shoulder, wrist - elbow, place - shoulder
    length, fore_length, now = _length(upper), _length(fore), _length(wrist - shoulder)
    least, most = tf.abs(length - fore_length) + 1e-3, (length + fore_length) * _STRETCH
    wanted = tf.clip_by_value(_length(way), tf.minimum(least, now), tf.maximum(most, now))
    bend = _bend(length, fore_length, wanted) - _bend(length, fore_length, now)
    normal = tf.linalg.cross(upper, fore) + _STRAIGHT * length * fore_length * hinge
    normal = tf.math.divide_no_nan(normal, _length(normal))
    forearm = rotation_matrix_3d.from_axis_angle(normal, bend)
    start = upper + tf.linalg.matvec(forearm, fore)
    arm = between(start, way)
    return arm, arm @ forearm


def _bend(upper, fore, distance):
    """By how much an elbow is bent, 0 straight, `[B, 1]`, that leaves so much from shoulder to wrist."""
    cosine = (tf.square(distance) - tf.square(upper) - tf.square(fore)) / tf.maximum(2.0 * upper * fore, _LEAST)
    return tf.acos(tf.clip_by_value(cosine, -1.0 + 1e-6, 1.0 - 1e-6))


def between(start, end):
    """The smallest rotations `[B, 3, 3]` from one direction to another."""
    start, end = (tf.math.divide_no_nan(x, _length(x)) for x in (start, end))
    axis, cosine = tf.linalg.cross(start, end), tf.reduce_sum(start * end, -1, keepdims=True)
    sine = _length(axis)
    still = tf.constant([[1.0, 0.0, 0.0]])
    axis = tf.where(sine > 1e-6, tf.math.divide_no_nan(axis, sine), still)
    return rotation_matrix_3d.from_axis_angle(axis, tf.atan2(sine, cosine))


def _length(vector):
    return tf.sqrt(tf.reduce_sum(tf.square(vector), -1, keepdims=True) + 1e-18)
