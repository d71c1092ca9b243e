"""Square, rotated regions of images in, small square images out, without aliasing.

A region is `(cx, cy, size, angle)`: centre and side length in pixels of its image, and the
direction of the region's own x axis, radians, clockwise on the screen (+x right, +y down).
Only gathers and average pools: the same operations run on CPU and GPU.
"""

from typing import NamedTuple

import tensorflow as tf

MAX_LEVELS = 8  # halvings kept ready: down-scaling by up to 360 stays free of aliasing


class Pyramid(NamedTuple):
    """Images and their halvings: `pixels` `[P, C]` of all levels one after the other, the `starts`,
    `heights` and `widths` `[L]` of the levels, and `size` `[2]`, width and height of the images."""

    pixels: tf.Tensor
    starts: tf.Tensor
    heights: tf.Tensor
    widths: tf.Tensor
    size: tf.Tensor


def image_from_region(regions):
    """Affine maps `[N, 2, 3]` from unit region coordinates (0..1) to image pixels."""
    x, y, size, angle = tf.unstack(regions, axis=-1)
    cos, sin = tf.cos(angle) * size, tf.sin(angle) * size
    rows = [cos, -sin, x - (cos - sin) / 2, sin, cos, y - (sin + cos) / 2]
    return tf.reshape(tf.stack(rows, -1), [-1, 2, 3])


def points_to_image(points, regions):
    """Unit region coordinates `[N, K, 2]` -> pixels `[N, K, 2]` of the image."""
    matrix = image_from_region(regions)
    return tf.einsum("nij,nkj->nki", matrix[..., :2], points) + matrix[:, None, :, 2]


def sample_regions(images, regions, size, image_index=None, border="constant", fill=0.0):
    """Reads regions out of images by bilinear interpolation, from a halved image where it shrinks.

    Args:
        images: `[B, H, W, C]` float32, or their `Pyramid`, where they are read more than once.
        regions: `[N, 4]` float32; see the module.
        size: int, side of the result in pixels.
        image_index: `[N]` int32, the image of each region. Defaults to region n in image n.
        border: "constant" (outside is `fill`) or "replicate" (outside repeats the border).

    Returns:
        `[N, size, size, C]` float32.

    Raises:
        ValueError: if `border` is unknown.
    """
    if border not in ("constant", "replicate"):
        raise ValueError(f"`border` must be 'constant' or 'replicate'. Received: {border!r}.")
    pyramid = images if isinstance(images, Pyramid) else build_pyramid(images)
    if image_index is None:
        image_index = tf.range(tf.shape(regions)[0])
    # half the image until one result pixel covers 0.7 to 1.4 pixels of it
    shrink = tf.maximum(regions[:, 2] / size, 1e-6)
    level = tf.clip_by_value(tf.cast(tf.math.ceil(tf.math.log(shrink) / tf.math.log(2.0) - 0.5), tf.int32),
                             0, tf.shape(pyramid.starts)[0] - 1)
    rows, columns = tf.gather(pyramid.heights, level), tf.gather(pyramid.widths, level)
    base = tf.gather(pyramid.starts, level) + image_index * rows * columns
    base, rows, columns = (v[:, None, None] for v in (base, rows, columns))

    unit = (tf.range(size, dtype=tf.float32) + 0.5) / size
    grid = tf.reshape(tf.stack(tf.meshgrid(unit, unit), -1), [1, size * size, 2])
    grid = tf.tile(grid, [tf.shape(regions)[0], 1, 1])
    points = tf.reshape(points_to_image(grid, regions), [-1, size, size, 2])
    position = points / tf.pow(2.0, tf.cast(level, tf.float32))[:, None, None, None] - 0.5
    low = tf.floor(position)
    fx, fy = tf.split(position - low, 2, -1)
    x, y = tf.unstack(tf.cast(tf.clip_by_value(low, -1e6, 1e6), tf.int32), axis=-1)
    x, right = (tf.clip_by_value(v, 0, columns - 1) for v in (x, x + 1))
    y, below = (base + tf.clip_by_value(v, 0, rows - 1) * columns for v in (y, y + 1))

    def read(place):
        return tf.gather(pyramid.pixels, place)

    values = ((1 - fy) * ((1 - fx) * read(y + x) + fx * read(y + right))
              + fy * ((1 - fx) * read(below + x) + fx * read(below + right)))
    if border == "constant":
        inside = tf.reduce_all((points >= 0) & (points <= pyramid.size), -1, keepdims=True)
        values = tf.where(inside, values, fill)
    return values


def pyramid_spec(channels):
    """The `tf.TensorSpec`s of a `Pyramid`."""
    numbers = tf.TensorSpec([None], tf.int32)
    return Pyramid(tf.TensorSpec([None, channels], tf.float32), numbers, numbers, numbers, tf.TensorSpec([2], tf.float32))


def build_pyramid(images, levels=MAX_LEVELS):
    """`[B, H, W, C]` float32 and how often to halve it -> `Pyramid`."""
    level = tf.convert_to_tensor(images, tf.float32)
    size = tf.cast(tf.reverse(tf.shape(level)[1:3], [0]), tf.float32)
    pixels, shapes = [], []
    for k in range(levels + 1):
        # SAME: the mean leaves padding out, so an odd last row stands for itself
        level = tf.nn.avg_pool2d(level, 2, 2, "SAME") if k else level
        pixels.append(tf.reshape(level, [-1, level.shape[-1]]))
        shapes.append(tf.shape(level)[:3])
    shapes = tf.stack(shapes)
    starts = tf.cumsum(tf.reduce_prod(shapes, -1), exclusive=True)
    return Pyramid(tf.concat(pixels, 0), starts, shapes[:, 1], shapes[:, 2], size)
