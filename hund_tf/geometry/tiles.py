"""Which pixels a face can touch: corners in the picture in, square tiles of pixels out.

A face has a window, the pixels whose centres lie within a reach of it, cut into equal tiles from its first pixel on.
Tiles at the right and lower end may leave the window, even the picture: `canvas` is the size that holds them all.
"""

from typing import NamedTuple

import tensorflow as tf

from hund_tf.geometry import triangles

NOWHERE = -2 ** 14  # first pixel of a tile that only fills up a piece: whoever draws leaves it out


class Windows(NamedTuple):
    """First pixel (column, row) and extent of the pixels that F faces can touch, int32 `[..., F]`; 0 x 0 is none."""

    x: tf.Tensor
    y: tf.Tensor
    columns: tf.Tensor
    rows: tf.Tensor


class Tiles(NamedTuple):
    """N tiles, int32 `[N]` each: the face and the first pixel (column, row)."""

    face: tf.Tensor
    x: tf.Tensor
    y: tf.Tensor


def tile_side(reach):
    """The side of tiles in pixels: most faces of a body in a small picture, about a pixel wide, need one or two."""
    return min(max(int(round(2.0 * reach)) + 1, 3), 8)


def canvas(height, width, side):
    """Rows and columns that hold every tile of a picture: ints."""
    return height + side - 1, width + side - 1


def windows(x, y, shown, reach, height, width):
    """`Windows` of faces with corners `x, y` `[3, ..., F]` in pixels, where `shown` `[..., F]`; else they are empty."""
    kept, found = shown & triangles.proper(x, y), []
    for position, size in ((x, width), (y, height)):
        first = tf.maximum(tf.math.ceil(tf.reduce_min(position, axis=0) - (0.5 + reach)), 0.0)
        last = tf.minimum(tf.math.floor(tf.reduce_max(position, axis=0) - (0.5 - reach)), size - 1.0)
        kept &= last >= first
        found.append((first, last - first + 1.0))
    (x, columns), (y, rows) = found
    return Windows(*(tf.cast(tf.where(kept, value, tf.zeros_like(value)), tf.int32) for value in (x, y, columns, rows)))


def cut(window, side):
    """`Tiles` of the `Windows` `[F]` of one picture, face after face."""
    across, down = (window.columns + (side - 1)) // side, (window.rows + (side - 1)) // side
    counts = across * down
    ends = tf.cumsum(counts)
    number = tf.range(tf.reduce_sum(counts))
    face = tf.searchsorted(ends, number, side="right")
    number -= tf.gather(ends - counts, face)
    across = tf.gather(across, face)
    return Tiles(face, tf.gather(window.x, face) + number % across * side,
                 tf.gather(window.y, face) + number // across * side)


def pieces(tiles, most):
    """Tiles in equal parts of `most` or fewer: `[N]` -> `[parts, n]`; the last is filled up with tiles `NOWHERE`."""
    count = tf.size(tiles.face)
    parts = tf.maximum((count + (most - 1)) // most, 1)
    each = (count + parts - 1) // parts
    extra = parts * each - count
    face = tf.concat([tiles.face, tf.tile(tiles.face[-1:], extra[None])], axis=0)  # of a proper face, as all others
    x, y = (tf.pad(first, [[0, extra]], constant_values=NOWHERE) for first in (tiles.x, tiles.y))
    return Tiles(*(tf.reshape(values, tf.stack([parts, each])) for values in (face, x, y)))


def pixels(tiles, side, columns):
    """Numbers of the pixels of N tiles in a canvas of so many columns, int32 `[side^2, N]`; from 0 on for `NOWHERE`."""
    offsets = tf.constant([row * columns + column for row in range(side) for column in range(side)])
    return tf.maximum(tiles.y * columns + tiles.x, 0) + offsets[:, None]
