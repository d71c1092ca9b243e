"""Triangles in the picture: corners in pixels in, signed distances and corner weights out.

Every function works on planes: a face property is a tensor `[N]`, a property of all pixels of the
windows of N faces is `[K, K, N]` (rows, columns, faces). The long axis is last, so that each
operation runs over contiguous memory.
"""

from typing import NamedTuple

import tensorflow as tf

MIN_AREA = 1e-6  # times the longest edge squared: thinner faces are lines and cover nothing
MIN_EDGE = 1e-4  # pixels; a face with a shorter longest edge is a point


class PixelFields(NamedTuple):
    """What a face is to each pixel of its window.

    Fields:
        signed_distance: `[K, K, N]`, squared pixels to the nearest edge, positive inside.
        weights: three `[K, K, N]`, barycentric in the picture, held at 0 from below: their sum is
            1 inside and more outside. Divided by it they are those of a point of the border.
    """

    signed_distance: tf.Tensor
    weights: tuple


def proper(corners):
    """Whether faces have an area in the picture: six planes (x, y of each corner) -> bool."""
    (ax, ay), (bx, by), (cx, cy) = corners
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    longest = tf.maximum(tf.maximum((bx - ax) ** 2 + (by - ay) ** 2, (cx - bx) ** 2 + (cy - by) ** 2),
                         (ax - cx) ** 2 + (ay - cy) ** 2)
    return (tf.abs(area) > MIN_AREA * longest) & (longest > MIN_EDGE ** 2)


def pixel_fields(corners, columns, rows):
    """Distances and weights of `N` proper faces at the pixel centres of their windows.

    Args:
        corners: three pairs `(x, y)` of `[N]`, pixels from the first pixel centre of the window.
        columns, rows: int, size of the windows.

    Returns:
        `PixelFields`.
    """
    dtype = corners[0][0].dtype
    x = tf.cast(tf.range(columns)[:, None], dtype)  # [K, 1]
    y = tf.cast(tf.range(rows)[:, None], dtype)
    (ax, ay), (bx, by), (cx, cy) = corners
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    turn = tf.sign(area)
    distance, inside, weights = None, None, []
    # the edge across from corner 0, 1, 2
    for px, py, qx, qy in ((bx, by, cx, cy), (cx, cy, ax, ay), (ax, ay, bx, by)):
        ux, uy = qx - px, qy - py
        length = tf.sqrt(ux * ux + uy * uy)
        # a face that is proper may still have one edge of length 0 to rounding
        ux, uy = tf.math.divide_no_nan(ux, length), tf.math.divide_no_nan(uy, length)
        nx, ny = -turn * uy, turn * ux
        across = _plane(nx, ny, -(nx * px + ny * py), x, y)
        along = _plane(ux, uy, -(ux * px + uy * py) - 0.5 * length, x, y)
        beyond = tf.nn.relu(tf.abs(along) - 0.5 * length)
        squared = across * across + beyond * beyond
        distance = squared if distance is None else tf.minimum(distance, squared)
        inside = across if inside is None else tf.minimum(inside, across)
        weights.append(tf.nn.relu(across * (length / tf.abs(area))))
    return PixelFields(tf.where(inside > 0, distance, -distance), tuple(weights))


def _plane(a, b, c, x, y):
    """a x + b y + c over the windows: `[N]` each -> `[K, K, N]`."""
    return (a * x)[None] + (b * y + c)[:, None]
