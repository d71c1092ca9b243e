"""Points of a body part in, the square region around it out: `(cx, cy, size, angle)`, see sampling.py."""

import math

import tensorflow as tf


def upright_angle(low, high):
    """Angle of a region in which `high` stands above `low`: `[N, 2]`, `[N, 2]` -> `[N]` radians."""
    up = high - low
    angle = tf.atan2(up[:, 1], up[:, 0]) + math.pi / 2
    return _wrapped(angle)


def level_angle(left, right):
    """Angle of a region in which `right` lies to the right of `left`, both as seen on the screen."""
    along = right - left
    return _wrapped(tf.atan2(along[:, 1], along[:, 0]))


def square_region(center, size, angle, shift_y=0.0):
    """`[N, 2]`, `[N]`, `[N]` -> `[N, 4]`; `shift_y` moves it down its own axis, as a share of `size`."""
    shift = tf.stack([-tf.sin(angle), tf.cos(angle)], -1) * (size * shift_y)[:, None]
    return tf.concat([center + shift, size[:, None], angle[:, None]], -1)


def bounding_region(points, angle, scale, shift_y=0.0):
    """Square around points `[N, K, 2]`: side is `scale` times the longer side of their box."""
    low, high = tf.reduce_min(points, 1), tf.reduce_max(points, 1)
    size = tf.reduce_max(high - low, -1)
    region = square_region((low + high) / 2, size, angle, shift_y)
    return region * tf.constant([1.0, 1.0, scale, 1.0])


def inverse_region(regions, size):
    """The square of `size` pixels in which `regions` lie, as seen from each region's unit square.

    `[N, 4]` -> `[N, 4]`, in units of the region's side: what `sample_regions` needs, times the
    side of a map in pixels, to bring the map back into the square.
    """
    cos, sin = tf.cos(regions[:, 3]), tf.sin(regions[:, 3])
    dx, dy = size / 2 - regions[:, 0], size / 2 - regions[:, 1]
    x = (cos * dx + sin * dy) / regions[:, 2] + 0.5
    y = (-sin * dx + cos * dy) / regions[:, 2] + 0.5
    return tf.stack([x, y, size / regions[:, 2], -regions[:, 3]], -1)


def _wrapped(angle):
    return angle - 2 * math.pi * tf.floor((angle + math.pi) / (2 * math.pi))
