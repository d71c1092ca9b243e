"""Square, rotated regions of images in, small square images out, without aliasing.

A region is `(cx, cy, size, angle)`: centre and side length in pixels of its image, and the
direction of the region's own x axis, radians, clockwise on the screen (+x right, +y down).
Only gathers and average pools: the same operations run on CPU and GPU.
"""

import tensorflow as tf

MAX_LEVELS = 8  # halvings kept ready: down-scaling by up to 360 stays free of aliasing


def image_from_region(regions):
    """Affine maps `[N, 2, 3]` from unit region coordinates (0..1) to image pixels."""
    cos, sin, size = tf.cos(regions[:, 3]), tf.sin(regions[:, 3]), regions[:, 2]
    linear = tf.reshape(tf.stack([cos, -sin, sin, cos], -1), [-1, 2, 2]) * size[:, None, None]
    offset = regions[:, :2] - tf.reduce_sum(linear, -1) / 2
    return tf.concat([linear, offset[..., None]], -1)


def points_to_image(points, regions):
    """Unit region coordinates `[N, K, 2]` -> pixels `[N, K, 2]` of the image."""
    matrix = image_from_region(regions)
    return tf.einsum("nij,nkj->nki", matrix[..., :2], points) + matrix[:, None, :, 2]


def sample_regions(images, regions, size, image_index=None, border="constant", fill=0.0):
    """Reads regions out of images by bilinear interpolation, from a halved image where it shrinks.

    Args:
        images: `[B, H, W, C]` float32.
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
    channels = images.shape[-1]
    count, height, width = tf.unstack(tf.shape(images)[:3])
    if image_index is None:
        image_index = tf.range(tf.shape(regions)[0])
    # half the image until one result pixel covers 0.7 to 1.4 pixels of it
    shrink = tf.maximum(regions[:, 2] / size, 1e-6)
    level = tf.clip_by_value(tf.cast(tf.math.ceil(tf.math.log(shrink) / tf.math.log(2.0) - 0.5), tf.int32),
                             0, MAX_LEVELS)
    flat, starts, heights, widths = _pyramid(images, tf.reduce_max(tf.concat([level, [0]], 0)), channels)
    rows, columns = tf.gather(heights, level), tf.gather(widths, level)
    base = tf.gather(starts, level) + image_index * rows * columns
    base, rows, columns = (v[:, None, None] for v in (base, rows, columns))

    unit = (tf.range(size, dtype=tf.float32) + 0.5) / size
    grid = tf.reshape(tf.stack(tf.meshgrid(unit, unit), -1), [1, size * size, 2])
    grid = tf.tile(grid, [tf.shape(regions)[0], 1, 1])
    points = tf.reshape(points_to_image(grid, regions), [-1, size, size, 2])
    position = points / tf.pow(2.0, tf.cast(level, tf.float32))[:, None, None, None] - 0.5
    low = tf.floor(position)
    fx, fy = tf.unstack((position - low)[..., None], axis=-2)
    x, y = tf.unstack(tf.cast(tf.clip_by_value(low, -1e6, 1e6), tf.int32), axis=-1)

    def read(dx, dy):
        near = (tf.clip_by_value(y + dy, 0, rows - 1) * columns + tf.clip_by_value(x + dx, 0, columns - 1))
        return tf.gather(flat, base + near)

    values = ((1 - fy) * ((1 - fx) * read(0, 0) + fx * read(1, 0)) + fy * ((1 - fx) * read(0, 1) + fx * read(1, 1)))
    if border == "constant":
        limit = tf.cast(tf.stack([width, height]), tf.float32)
        inside = tf.reduce_all((points >= 0) & (points <= limit), -1, keepdims=True)
        values = tf.where(inside, values, fill)
    return values


def _pyramid(images, deepest, channels):
    """All levels, pixels one after the other `[P, C]`; start, height and width of each level."""
    flat, starts, heights, widths = [], [], [], []
    start, level = tf.constant(0), images
    for k in range(MAX_LEVELS + 1):
        count, height, width = tf.unstack(tf.shape(level)[:3])
        flat.append(tf.reshape(level, [-1, channels]))
        starts.append(start)
        heights.append(tf.maximum(height, 1))
        widths.append(tf.maximum(width, 1))
        start += count * height * width
        if k < MAX_LEVELS:
            level = tf.cond(deepest > k, lambda x=level: _halve(x), lambda x=level: x[:, :0, :0])
            level.set_shape([None, None, None, channels])
    return tf.concat(flat, 0), tf.stack(starts), tf.stack(heights), tf.stack(widths)


def _halve(images):
    # SAME: the mean leaves padding out, so an odd last row stands for itself
    return tf.nn.avg_pool2d(images, 2, 2, "SAME")
