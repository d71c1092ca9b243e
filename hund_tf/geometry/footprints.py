"""What all faces together do to every pixel: corners in the picture in, sums over faces out, and their gradient.

Pictures are worked on one after the other, two at a time, so that all of one stays in the caches: the tiles of its
faces (`tiles`), distances and weights at their pixels (`triangles`), and weighted bin counts that sum over faces.
The gradient computes the tiles anew: nothing larger than a picture is kept between the two.
"""

from typing import NamedTuple

import tensorflow as tf

from hund_tf.geometry import tiles, triangles

_MAX_LOGIT = 320.0  # exp of it, times the faces at a pixel, is a finite float64
_AT_ONCE = 2  # pictures; more gain nothing on a few cores and take memory


class Raster(NamedTuple):
    """Settings of a picture, plain numbers.

    Fields:
        height, width: int, pixels.
        channels: int, C, labels.
        sigma: float, squared pixels.
        cutoff: float; pixels where D is less are untouched.
        reach: float, pixels; how far from a face D = cutoff is.
        per_metre: float, units of the exponent per metre of depth.
    """

    height: int
    width: int
    channels: int
    sigma: float
    cutoff: float
    reach: float
    per_metre: float


class Entries(NamedTuple):
    """What to draw: E rows, whole faces, or parts of faces that have one label.

    With constant one-hot labels, a face whose corners have several labels appears once for each, with the corners of
    that label marked; only its first row counts for alpha.

    Fields:
        corners: int32 `[3, E]`, vertex numbers.
        counts: `[E]`, 1 in the first row of a face, else 0; None if every row is a face.
        label, share: int32 `[E]` and `[3, E]`, the label of the row, and 1 where the corner has it; or None.
        vectors: `[C, 3, E]`, labels of the corners, where labels are not constant and one-hot; or None.
    """

    corners: tf.Tensor
    counts: tf.Tensor
    label: tf.Tensor
    share: tf.Tensor
    vectors: tf.Tensor


class Scene(NamedTuple):
    """Projected vertices.

    Fields:
        vertices: `[B, 3, V]`, x and y in pixels, 1 / depth.
        seen: bool `[B, V]`; faces with another corner are left out.
        middle: `[B]`, metres, the depth that gets weight 1.
    """

    vertices: tf.Tensor
    seen: tf.Tensor
    middle: tf.Tensor


def pixel_sums(scene, entries, raster):
    """Sums over faces.

    Args:
        scene: `Scene`.
        entries: `Entries`.
        raster: `Raster`.

    Returns:
        totals, float64 `[B, H, W, C]`, softmax weights `D exp((middle - depth) per_metre)` times labels; their sum
        without labels, float64 `[B, H, W]`; -log(1 - alpha) `[B, H, W]`.
    """
    rasterized = _forward(scene, entries, raster)
    totals, missed = rasterized
    if entries.vectors is None:
        return totals, tf.reduce_sum(totals, axis=-1), missed
    return totals[..., :-1], totals[..., -1], missed


def vertex_gradient(scene, entries, raster, upstream, upstream_whole, upstream_missed):
    """Gradient of `pixel_sums` to `Scene.vertices`, and to `Entries.vectors` vertex by vertex.

    Args:
        upstream: float64 `[B, H, W, C]`, to the totals.
        upstream_whole: float64 `[B, H, W]`, to their sum.
        upstream_missed: `[B, H, W]`, to -log(1 - alpha).

    Returns:
        `[B, 3, V]`, and `[C, V]` or None.
    """
    if entries.vectors is None:
        upstream += upstream_whole[..., None]
    else:
        upstream = tf.concat([upstream, upstream_whole[..., None]], axis=-1)
    to_vertices = _backward(scene, entries, raster, upstream, upstream_missed, False)
    if entries.vectors is None:
        return to_vertices, None
    return to_vertices, tf.transpose(tf.reduce_sum(_backward(scene, entries, raster, upstream, upstream_missed, True), axis=0))


class _Touched(NamedTuple):
    """The tiles of one picture: N of them, T pixels each; rows of `Entries` by `face`."""

    face: tf.Tensor
    pixel: tf.Tensor  # [T, N], number in the canvas
    edge: triangles.Edges
    fields: triangles.PixelFields
    position: tuple  # x and y, [3, N], from the first pixel centre of the tile
    inverse: tuple  # three [N], 1 / depth of the corners
    chance: tf.Tensor  # [T, N], D, or 0 where it is less than the cut-off
    whole: tf.Tensor  # [T, N], sum of the weights, 1 inside
    shares: tuple  # three [T, N], the weights divided by their sum
    depth: tf.Tensor  # [T, N], metres
    logit: tf.Tensor  # [T, N]
    strength: tf.Tensor  # float64 [T, N], D exp(logit)


@tf.function(autograph=False, reduce_retracing=True)
def _forward(scene, entries, raster):
    side = tiles.tile_side(raster.reach)
    rows, columns = tiles.canvas(raster.height, raster.width, side)
    windows = _windows(scene, entries, raster)

    def picture(arguments):
        vertices, middle, window = arguments
        touched = _touch(vertices, middle, window, entries, raster)
        missed = -tf.math.log1p(-tf.minimum(touched.chance, 1.0 - _epsilon(vertices.dtype)))
        if entries.counts is not None:
            missed *= tf.gather(entries.counts, touched.face)
        missed = _bin_counts(touched.pixel, missed, rows * columns)
        totals = []
        for place, share, size in _channels(touched, entries, raster):
            values = touched.strength
            if share is not None:
                values *= tf.cast(_mixed(touched.shares, share), tf.float64)
            totals.append(_bin_counts(place, values, rows * columns * size))
        totals = totals[0] if entries.vectors is None else tf.stack(totals, axis=-1)
        return (tf.reshape(totals, [rows, columns, -1])[:raster.height, :raster.width],
                tf.reshape(missed, [rows, columns])[:raster.height, :raster.width])

    return tf.map_fn(picture, (scene.vertices, scene.middle, windows), parallel_iterations=_AT_ONCE,
                     fn_output_signature=(tf.float64, scene.vertices.dtype))


@tf.function(autograph=False, reduce_retracing=True)
def _backward(scene, entries, raster, upstream, upstream_missed, to_labels):
    side = tiles.tile_side(raster.reach)
    rows, columns = tiles.canvas(raster.height, raster.width, side)
    windows = _windows(scene, entries, raster)
    count = tf.shape(scene.vertices)[-1]

    def on_canvas(values):
        padding = [[0, rows - raster.height], [0, columns - raster.width]] + [[0, 0]] * (len(values.shape) - 2)
        return tf.pad(values, padding)

    def picture(arguments):
        vertices, middle, window, upstream, upstream_missed = arguments
        touched = _touch(vertices, middle, window, entries, raster)
        upstream = on_canvas(upstream)
        tables = [upstream] if entries.vectors is None else tf.unstack(upstream, axis=-1)
        tables = [tf.reshape(table, [-1]) for table in tables]
        corners = tf.reshape(tf.gather(entries.corners, touched.face, axis=1), [1, -1])
        pulls = []  # upstream of D times labels
        for (place, share, _), table in zip(_channels(touched, entries, raster), tables):
            pulls.append((tf.cast(touched.strength * tf.gather(table, place), vertices.dtype), share))
        if to_labels:
            rows_of_labels = [tf.concat([tf.reduce_sum(pull * part, axis=0) for part in touched.shares], axis=0)
                              for pull, share in pulls if share is not None]
            return _row_counts(corners, tf.stack(rows_of_labels), count)

        missed = tf.gather(tf.reshape(on_canvas(upstream_missed), [-1]), touched.pixel)
        if entries.counts is not None:
            missed *= tf.gather(entries.counts, touched.face)
        to_x, to_y, to_inverse = _tile_gradient(touched, pulls, missed, raster, side)
        flat = [tf.reshape(values, [-1]) for values in (to_x, to_y, to_inverse)]
        return _row_counts(corners, tf.stack(flat), count)

    return tf.map_fn(picture, (scene.vertices, scene.middle, windows, upstream, upstream_missed),
                     parallel_iterations=_AT_ONCE, fn_output_signature=scene.vertices.dtype)


def _tile_gradient(touched, pulls, missed, raster, side):
    """Gradient to x, y and 1 / depth of the corners of each tile's face, `[3, N]` each."""
    shares, chance, fields = touched.shares, touched.chance, touched.fields
    # dL/d share_k for the part that labels play, then z = dL / d log(strength)
    to_shares = []
    for k in range(3):
        parts = [pull if share is None else pull * share[k] for pull, share in pulls]
        to_shares.append(tf.add_n(parts) if len(parts) > 1 else parts[0])
    total = sum_of_products(shares, to_shares)
    # depth = 1 / sum(share_k / z_k)
    kept = tf.cast(tf.abs(touched.logit) <= _MAX_LOGIT, total.dtype)
    to_log_depth = total * kept * touched.depth * raster.per_metre  # dL / d log(1 / depth)
    to_rate = to_log_depth * touched.depth
    to_inverse = tf.stack([tf.reduce_sum(to_rate * share, axis=0) for share in shares])
    base = total + to_log_depth
    scale = 1.0 / touched.whole
    to_weights = [(to_rate * touched.inverse[k] + to_shares[k] - base) * scale * tf.sign(fields.weights[k])
                  for k in range(3)]
    to_score = total * (1.0 - chance) + missed * chance
    x, y = touched.position
    weight_x, weight_y = triangles.weight_gradient(touched.edge, x, y, side, to_weights)
    near_x, near_y = triangles.distance_gradient(touched.edge, fields, to_score * fields.sign * (1.0 / raster.sigma))
    return weight_x + near_x, weight_y + near_y, to_inverse


def _touch(vertices, middle, window, entries, raster):
    """`_Touched` of one picture: projected vertices `[3, V]`, middle depth, `Windows` `[E]`."""
    side = tiles.tile_side(raster.reach)
    columns = tiles.canvas(raster.height, raster.width, side)[1]
    tile = tiles.cut(window, side)
    corners = tf.gather(vertices, tf.gather(entries.corners, tile.face, axis=1), axis=1)  # [3 (x, y, 1/z), 3, N]
    x, y, inverse = tf.unstack(corners)
    edge = triangles.edges(x, y)
    x, y = x - (tf.cast(tile.x, x.dtype) + 0.5), y - (tf.cast(tile.y, y.dtype) + 0.5)
    fields = triangles.pixel_fields(edge, x, y, side)
    inverse = tf.unstack(inverse)
    chance = tf.sigmoid(fields.squared * fields.sign * (1.0 / raster.sigma))
    chance *= tf.sign(tf.nn.relu(chance - raster.cutoff))
    whole = fields.weights[0] + fields.weights[1] + fields.weights[2]
    scale = 1.0 / whole
    shares = [weight * scale for weight in fields.weights]
    depth = 1.0 / sum_of_products(shares, inverse)
    logit = middle * raster.per_metre - depth * raster.per_metre
    strength = tf.cast(chance, tf.float64) * tf.exp(tf.cast(tf.clip_by_value(logit, -_MAX_LOGIT, _MAX_LOGIT), tf.float64))
    offsets = [row * columns + column for row in range(side) for column in range(side)]
    pixel = (tile.y * columns + tile.x) + tf.constant(offsets)[:, None]
    return _Touched(tile.face, pixel, edge, fields, (x, y), inverse, chance, whole, shares, depth, logit, strength)


def _windows(scene, entries, raster):
    x, y, _ = tf.unstack(tf.gather(scene.vertices, entries.corners, axis=2), axis=1)  # [B, 3, E] each
    shown = tf.reduce_all(tf.gather(scene.seen, entries.corners, axis=1), axis=1)
    x, y = tf.transpose(x, [1, 0, 2]), tf.transpose(y, [1, 0, 2])
    return tiles.windows(x, y, shown, raster.reach, raster.height, raster.width)


def _channels(touched, entries, raster):
    """Of each sum: bin `[T, N]`, labels of the corners `[3, N]` (None: all one), bins a pixel."""
    if entries.vectors is None:
        place = touched.pixel * raster.channels + tf.gather(entries.label, touched.face)
        return [(place, tf.unstack(tf.gather(entries.share, touched.face, axis=1)), raster.channels)]
    vectors = tf.unstack(tf.gather(entries.vectors, touched.face, axis=2), num=raster.channels)
    return [(touched.pixel, tf.unstack(vector), 1) for vector in vectors] + [(touched.pixel, None, 1)]


def sum_of_products(first, second):
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]


_mixed = sum_of_products


def _bin_counts(place, values, size):
    """Sums `values` into `[size]` bins: 10 times as fast as a segment sum."""
    return _row_counts(tf.reshape(place, [1, -1]), tf.reshape(values, [1, -1]), size)[0]


def _row_counts(place, values, size):
    """Sums each row of `values` `[R, N]` into bins `place` `[1, N]`: `[R, size]`."""
    place = tf.tile(place, [tf.shape(values)[0], 1])
    return tf.raw_ops.DenseBincount(input=place, size=size, weights=values, binary_output=False)


def _epsilon(dtype):
    return 2.0 * dtype.as_numpy_dtype(0).dtype.type(0) + 1e-7 if dtype == tf.float32 else 1e-16
