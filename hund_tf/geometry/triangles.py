"""Triangles in the picture: corners in pixels in, signed distances and corner weights out, and their gradient.

Every function works on planes: a face property is a tensor `[N]` or `[3, N]` (one row a corner, or the edge across
from it), a property of all pixels of N tiles is `[T, N]`, one row a pixel of the tile. The long axis is last, so that
each operation runs over contiguous memory.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

MIN_AREA = 1e-6  # times the longest edge squared: thinner faces are lines and cover nothing
MIN_EDGE = 1e-4  # pixels; a face with a shorter longest edge is a point


class Edges(NamedTuple):
    """The edges of N faces, `[3, N]` each: row k lies across from corner k and runs from corner k + 1 to k + 2.

    Fields:
        ux, uy: unit vector along the edge.
        nx, ny: unit vector across it, into the face.
        length: pixels.
        weight: 1 / height; the weight of corner k is the distance from edge k times this.
    """

    ux: tf.Tensor
    uy: tf.Tensor
    nx: tf.Tensor
    ny: tf.Tensor
    length: tf.Tensor
    weight: tf.Tensor


class PixelFields(NamedTuple):
    """What a face is to each pixel of its tile.

    Fields:
        squared: `[T, N]`, squared pixels to the nearest edge.
        sign: `[T, N]`, 1 inside, -1 outside, 0 on the border.
        weights: three `[T, N]`, barycentric in the picture, held at 0 from below: their sum is 1 inside and more
            outside. Divided by it they are those of a point of the border.
        across, beyond, along: three `[T, N]` each, pixels, one an edge: distance from its line, positive inside; what
            lies beyond its end; distance from its middle along it.
        to_edges: three `[T, N]`, squared distances to the edges.
    """

    squared: tf.Tensor
    sign: tf.Tensor
    weights: tuple
    across: tuple
    beyond: tuple
    along: tuple
    to_edges: tuple


def proper(x, y):
    """Whether faces have an area in the picture: corners `[3, ...]` each -> bool `[...]`."""
    ux, uy = x - _turned(x, 1), y - _turned(y, 1)
    longest = tf.reduce_max(ux * ux + uy * uy, axis=0)
    return (tf.abs(_double_area(x, y)) > MIN_AREA * longest) & (longest > MIN_EDGE ** 2)


def edges(x, y):
    """`Edges` of N proper faces with corners `x, y` `[3, N]`, pixels."""
    ux, uy = _turned(x, 2) - _turned(x, 1), _turned(y, 2) - _turned(y, 1)
    length = tf.sqrt(ux * ux + uy * uy)
    ux, uy = ux / length, uy / length
    area = _double_area(x, y)
    turn = tf.sign(area)
    return Edges(ux, uy, -turn * uy, turn * ux, length, length / tf.abs(area))


def pixel_fields(edge, x, y, side):
    """Distances and weights at the pixel centres of N tiles of `side` x `side` pixels.

    Args:
        edge: `Edges`.
        x, y: `[3, N]`, corners in pixels from the first pixel centre of the tile.
        side: int.

    Returns:
        `PixelFields`, T = side^2, row after row.
    """
    px, py = _turned(x, 1), _turned(y, 1)  # where edges begin
    half = 0.5 * edge.length
    lines = tf.concat([tf.stack([edge.nx, edge.ny, -(edge.nx * px + edge.ny * py)], axis=1),
                       tf.stack([edge.ux, edge.uy, -(edge.ux * px + edge.uy * py) - half], axis=1)], axis=0)
    planes = tf.unstack(_evaluate(lines, side), num=6)
    across, along = planes[:3], planes[3:]
    half = tf.unstack(half)
    beyond = [tf.nn.relu(tf.abs(along[k]) - half[k]) for k in range(3)]
    to_edges = [across[k] * across[k] + beyond[k] * beyond[k] for k in range(3)]
    scale = tf.unstack(edge.weight)
    weights = [tf.nn.relu(across[k] * scale[k]) for k in range(3)]
    return PixelFields(tf.minimum(tf.minimum(to_edges[0], to_edges[1]), to_edges[2]),
                       tf.sign(tf.minimum(tf.minimum(across[0], across[1]), across[2])), tuple(weights),
                       tuple(across), tuple(beyond), tuple(along), tuple(to_edges))


def distance_gradient(edge, fields, upstream):
    """Gradient through `PixelFields.squared` to the corners: upstream `[T, N]` -> (x, y), each `[3, N]`.

    The nearest point of an edge is `(1 - t) p + t q`, and by the envelope theorem the squared distance changes with p
    and q as if t stood still: by `-2 (1 - t) d` and `-2 t d`, d from the nearest point to the pixel.
    """
    # each pixel belongs to one edge, the first of those that are equally near
    others = upstream * positive(fields.to_edges[0] - tf.minimum(fields.to_edges[1], fields.to_edges[2]))
    third = others * positive(fields.to_edges[1] - fields.to_edges[2])
    sums = []
    for k, mine in enumerate((upstream - others, others - third, third)):
        past = fields.beyond[k] * tf.sign(fields.along[k])
        share = (fields.along[k] - past) * (1.0 / edge.length[k]) + 0.5  # t
        across, past = mine * fields.across[k], mine * past
        sums.append(tf.stack([tf.reduce_sum(values, axis=0) for values in (
            across, past, across * share, past * share)]))
    across, past, across_end, past_end = tf.unstack(tf.stack(sums, axis=1))  # [3, N] each

    def to_corners(n, u):
        stop = across_end * n + past_end * u
        start = across * n + past * u - stop
        return -2.0 * (_turned(start, 2) + _turned(stop, 1))

    return to_corners(edge.nx, edge.ux), to_corners(edge.ny, edge.uy)


def weight_gradient(edge, x, y, upstream):
    """Gradient through barycentric weights to the corners: three upstreams `[T, N]` -> (x, y), each `[3, N]`.

    Weights b sum to 1 and carry the corners to the pixel, so to move corner j by v is to move the pixel by -b_j v:
    `db_k = -b_j grad(b_k) v`. As every b_j is linear in the pixel, sums over pixels of the upstreams times
    (x, y, 1) are enough.
    """
    side = int(np.sqrt(upstream[0].shape[0]))
    basis = tf.constant(_basis(side).T, x.dtype)
    moments = tf.stack([tf.matmul(basis, values) for values in upstream])  # [3 (k), 3, N]
    px, py = _turned(x, 1), _turned(y, 1)
    ax, ay = edge.nx * edge.weight, edge.ny * edge.weight
    lines = tf.stack([ax, ay, -(ax * px + ay * py)], axis=1)  # [3 (j), 3, N]
    pull = tf.reduce_sum(lines[:, None] * moments[None], axis=2)  # [3 (j), 3 (k), N]: sum of b_j upstream_k
    return -tf.reduce_sum(pull * ax[None], axis=1), -tf.reduce_sum(pull * ay[None], axis=1)


def positive(values):
    """1 where `values` are above 0, else 0: several times as fast as a comparison and a cast."""
    return tf.sign(tf.nn.relu(values))


def _turned(values, steps):
    """Rows k + steps of `[3, ...]` in the place of rows k."""
    return tf.gather(values, [(k + steps) % 3 for k in range(3)])


def _double_area(x, y):
    return (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0])


def _basis(side):
    """(x, y, 1) of each pixel of a tile, `[T, 3]`."""
    y, x = np.indices([side, side]).reshape(2, -1)
    return np.stack([x, y, np.ones_like(x)], axis=1)


def _evaluate(lines, side):
    """a x + b y + c at the pixels of the tiles: `[L, 3, N]` -> `[L, T, N]`."""
    basis = _basis(side)
    if lines.dtype == tf.float32:
        # some accelerators round the factors of a product to 10 bits: rounded numbers and the rests pass unharmed
        rounded = tf.cast(tf.cast(lines, tf.bfloat16), tf.float32)
        lines, basis = tf.concat([rounded, lines - rounded], axis=1), np.concatenate([basis, basis], axis=1)
    return tf.matmul(tf.constant(basis, lines.dtype), lines)
