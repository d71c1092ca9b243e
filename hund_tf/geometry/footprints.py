"""What all faces together make of every pixel: vertices in the picture in, labels and visibility out, with gradient.

One picture after the other, two side by side, so that all of one stays in the caches: the tiles of its faces
(`tiles`), distances and weights at their pixels (`triangles`), and weighted bin counts that sum over faces. The
gradient works the tiles out anew, so nothing larger than the pictures is kept for it.
"""

from typing import NamedTuple, Optional

import tensorflow as tf

from hund_tf.geometry import tiles, triangles

_MAX_LOGIT = 320.0  # exp of it, times the faces at a pixel, is a finite float64
_PIECE = 32768  # pixels of tiles worked on together; operations on more are cut up for threads, at a loss
_AT_ONCE = 2  # pictures; more gained nothing on two cores and take memory
_MOST_CHANCE = {tf.float32: 1.0 - 2.0 ** -24, tf.float64: 1.0 - 2.0 ** -53}  # the last numbers below 1


class Raster(NamedTuple):
    """Settings of a picture, plain numbers.

    Fields:
        height, width: int, pixels.
        channels: int, C, labels.
        sigma: float, squared pixels.
        cutoff: float; pixels where D is less are untouched.
        reach: float, pixels; how far from a face D is `cutoff`.
        per_metre: float, units of the exponent per metre of depth.
        background_depth: float, metres.
    """

    height: int
    width: int
    channels: int
    sigma: float
    cutoff: float
    reach: float
    per_metre: float
    background_depth: float


class Entries(NamedTuple):
    """What is drawn: E rows, faces or, with constant one-hot labels, parts of faces that have one label.

    A face whose corners have several labels then appears once for each; only its first row counts for alpha.

    Fields:
        corners: int32 `[E, 3]`, vertex numbers.
        label: int32 `[E]`, or None.
        share: `[E, 4]`, 1 where a corner has the label, else 0; then 1 in the first row of a face, else 0; or None.
        vectors: `[E, C, 3]`, labels of the corners, where they are not constant and one-hot, or None.
    """

    corners: tf.Tensor
    label: Optional[tf.Tensor]
    share: Optional[tf.Tensor]
    vectors: Optional[tf.Tensor]


class Scene(NamedTuple):
    """Projected vertices.

    Fields:
        vertices: `[B, V, 3]`, x and y in pixels, 1 / depth.
        seen: bool `[B, V]`; faces with another corner are left out.
        middle: `[B]`, metres, the depth that gets weight 1.
    """

    vertices: tf.Tensor
    seen: tf.Tensor
    middle: tf.Tensor


@tf.function(autograph=False, reduce_retracing=True)
def render(scene, entries, raster):
    """Draws a scene.

    Args:
        scene: `Scene`.
        entries: `Entries`.
        raster: `Raster`.

    Returns:
        `[B, H, W, C + 1]`, labels and alpha; float64 `[B, H, W]`, one over the sum of weights of the labels.
    """
    def picture(arguments):
        corners, window, middle = arguments
        size = _canvas_size(raster)

        def piece(tile):
            touched = _touch(corners, tile, middle, entries, raster)
            missed = tf.math.log1p(-tf.minimum(touched.chance, _MOST_CHANCE[corners.dtype]))
            if touched.first is not None:
                missed *= touched.first
            sums = [(touched.pixel, missed)]
            for channel in touched.channels:
                values = touched.strength
                if channel.share is not None:
                    values *= tf.cast(_dot(touched.shares, channel.share), tf.float64)
                sums.append((channel.place, values))
            return sums

        channels, bins = (1, raster.channels) if entries.vectors is None else (raster.channels + 1, 1)
        signature = [(tf.int32, corners.dtype)] + [(tf.int32, tf.float64)] * channels
        (pixel, missed), *sums = _in_pieces(piece, window, signature, raster)
        missed = _on_picture(_bin_counts(pixel, missed, size), raster)
        totals = [_bin_counts(place, values, size * bins) for place, values in sums]
        if entries.vectors is None:
            totals = _on_picture(totals[0], raster)
            whole = tf.reduce_sum(totals, axis=-1, keepdims=True)
        else:
            totals = _on_picture(tf.stack(totals, axis=-1), raster)
            totals, whole = totals[..., :-1], totals[..., -1:]
        ground = tf.cast(middle - raster.background_depth, tf.float64) * raster.per_metre
        scale = 1.0 / (whole + tf.exp(tf.clip_by_value(ground, -2.0 * _MAX_LOGIT, 2.0 * _MAX_LOGIT)))
        return tf.concat([tf.cast(totals * scale, corners.dtype), 1.0 - tf.exp(missed)], axis=-1), scale[..., 0]

    return tf.map_fn(picture, (*_rows(scene, entries, raster), scene.middle), parallel_iterations=_AT_ONCE,
                     fn_output_signature=(scene.vertices.dtype, tf.float64))


@tf.function(autograph=False, reduce_retracing=True)
def vertex_gradient(scene, entries, raster, rendered, scale, upstream):
    """Gradient of `render` to `Scene.vertices`.

    Args:
        rendered, scale: what `render` returned.
        upstream: `[B, H, W, C + 1]`, gradient to `rendered`.

    Returns:
        `[B, V, 3]`.
    """
    def rows(touched, tables, clear):
        missed = tf.gather(clear, touched.pixel)
        if touched.first is not None:
            missed *= touched.first
        return tf.reshape(tf.stack(_corner_gradient(touched, _pulls(touched, tables), missed, raster)), [3, -1])

    return tf.transpose(_at_vertices(rows, 3, scene, entries, raster, (rendered, scale, upstream)), [0, 2, 1])


@tf.function(autograph=False, reduce_retracing=True)
def label_gradient(scene, entries, raster, rendered, scale, upstream):
    """As `vertex_gradient`, to the labels of the vertices: `[V, C]`; only where `Entries` has `vectors`."""
    def rows(touched, tables, _):
        return tf.stack([tf.concat([tf.reduce_sum(pull * part, axis=0) for part in touched.shares], axis=0)
                         for pull, _ in _pulls(touched, tables)[:-1]])

    planes = _at_vertices(rows, raster.channels, scene, entries, raster, (rendered, scale, upstream))
    return tf.transpose(tf.reduce_sum(planes, axis=0))


class _Channel(NamedTuple):
    """One sum over faces."""

    place: tf.Tensor  # int32 [T, N], bin
    share: Optional[list]  # three [N], what the corners add; None: 1


class _Touched(NamedTuple):
    """The tiles of one picture: N of them, T pixels each."""

    first: Optional[tf.Tensor]  # [N], 0 for rows that do not count for alpha
    pixel: tf.Tensor  # [T, N], number in the canvas
    edge: triangles.Edges
    fields: triangles.PixelFields
    x: tf.Tensor  # [3, N], corners from the first pixel centre of the tile
    y: tf.Tensor
    inverse: list  # three [N], 1 / depth of the corners
    chance: tf.Tensor  # [T, N], D, or 0 where it is less than the cut-off
    scale: tf.Tensor  # [T, N], 1 / sum of the weights
    shares: list  # three [T, N], the weights divided by their sum
    depth: tf.Tensor  # [T, N], metres
    logit: tf.Tensor  # [T, N]
    strength: tf.Tensor  # float64 [T, N], D exp(logit)
    channels: list  # of _Channel


def _rows(scene, entries, raster):
    """Corners `[B, E, 9]` (x, y, 1 / depth of each) and `tiles.Windows` `[B, E]`."""
    corners = tf.gather(scene.vertices, entries.corners, axis=1)  # [B, E, 3, 3]
    x, y = (tf.transpose(corners[..., axis], [2, 0, 1]) for axis in (0, 1))
    shown = tf.reduce_all(tf.gather(scene.seen, entries.corners, axis=1), axis=-1)
    window = tiles.windows(x, y, shown, raster.reach, raster.height, raster.width)
    shape = tf.shape(corners)
    return tf.reshape(corners, tf.stack([shape[0], shape[1], 9])), window


def _at_vertices(rows, number, scene, entries, raster, maps):
    """Sums at the vertices, `[B, number, V]`, of what `rows(touched, tables, clear)` says of the corners of the tiles' faces,
    `[number, 3 N]`; `maps` are those of `_bin_gradient`."""
    count, dtype = tf.shape(scene.vertices)[1], scene.vertices.dtype

    def picture(arguments):
        corners, window, middle, *picture_maps = arguments
        tables, clear = _bin_gradient(entries, raster, *picture_maps)

        def piece(tile):
            return _vertices_of(tile, entries), rows(_touch(corners, tile, middle, entries, raster), tables, clear)

        return _row_counts(*_in_pieces(piece, window, (tf.int32, dtype), raster), count)

    elements = (*_rows(scene, entries, raster), scene.middle, *maps)
    return tf.cond(  # the shape of no picture's sums is not known to map_fn
        tf.shape(scene.vertices)[0] > 0,
        lambda: tf.map_fn(picture, elements, parallel_iterations=_AT_ONCE, fn_output_signature=dtype),
        lambda: tf.zeros(tf.stack([0, number, count]), dtype))


def _in_pieces(function, window, signature, raster):
    """Results of `function(Tiles)` for all tiles of one picture, `[parts, ...]` each."""
    side = tiles.tile_side(raster.reach)
    parts = tiles.pieces(tiles.cut(window, side), max(_PIECE // side ** 2, 1))
    return tf.map_fn(function, parts, parallel_iterations=_AT_ONCE, fn_output_signature=signature)


def _touch(corners, tile, middle, entries, raster):
    """`_Touched` of `Tiles` of one picture: its corners `[E, 9]` and middle depth."""
    side = tiles.tile_side(raster.reach)
    planes = tf.transpose(tf.gather(corners, tile.face))  # [9, N]
    x, y, inverse = planes[0::3], planes[1::3], tf.unstack(planes[2::3], num=3)
    edge = triangles.edges(x, y)
    x, y = x - (tf.cast(tile.x, x.dtype) + 0.5), y - (tf.cast(tile.y, y.dtype) + 0.5)
    fields = triangles.pixel_fields(edge, x, y, side)
    chance = tf.sigmoid(fields.squared * fields.sign * (1.0 / raster.sigma))
    # no chance is above 1, so tiles that fill up a piece add nothing
    least = tf.where(tile.x == tiles.NOWHERE, tf.ones_like(x[0]), tf.cast(raster.cutoff, x.dtype))
    chance *= triangles.positive(chance - least)
    # outside weights sum to more than 1: they are divided by their sum in all that follows
    scale = 1.0 / (fields.weights[0] + fields.weights[1] + fields.weights[2])
    shares = [weight * scale for weight in fields.weights]
    depth = 1.0 / _dot(shares, inverse)
    logit = middle * raster.per_metre - depth * raster.per_metre
    strength = tf.cast(tf.clip_by_value(logit, -_MAX_LOGIT, _MAX_LOGIT), tf.float64)
    strength = tf.exp(strength) * tf.cast(chance, tf.float64)
    pixel = tiles.pixels(tile, side, tiles.canvas(raster.height, raster.width, side)[1])
    first, channels = _channels(tile.face, pixel, entries, raster)
    return _Touched(first, pixel, edge, fields, x, y, inverse, chance, scale, shares, depth, logit,
                    strength, channels)


def _channels(face, pixel, entries, raster):
    """What counts for alpha, and a `_Channel` of each sum: one of all labels, or one a label and one without labels."""
    if entries.vectors is None:
        share = tf.unstack(tf.transpose(tf.gather(entries.share, face)), num=4)
        place = pixel * raster.channels + tf.gather(entries.label, face)
        return share[3], [_Channel(place, share[:3])]
    vectors = tf.unstack(tf.transpose(tf.gather(entries.vectors, face), [1, 2, 0]), num=raster.channels)  # [3, N]
    ones = _Channel(pixel, None)
    return None, [*(_Channel(pixel, tf.unstack(vector, num=3)) for vector in vectors), ones]


def _bin_gradient(entries, raster, rendered, scale, upstream):
    """Gradient of one picture to its bins: float64, one table a channel, and that of -log(1 - alpha) `[pixels]`."""
    labels = tf.cast(upstream[..., :-1], tf.float64)
    mean = tf.reduce_sum(labels * tf.cast(rendered[..., :-1], tf.float64), axis=-1)
    missed = upstream[..., -1] * (1.0 - rendered[..., -1])
    if entries.vectors is None:
        tables = [(labels - mean[..., None]) * scale[..., None]]
    else:
        tables = [*tf.unstack(labels * scale[..., None], axis=-1), -mean * scale]
    *tables, missed = (tf.reshape(_on_canvas(table, raster), [-1]) for table in (*tables, missed))
    return tables, missed


def _pulls(touched, tables):
    """Of each channel: gradient to its sum of D shares labels times D `[T, N]`, and the labels of the corners."""
    dtype = touched.chance.dtype
    return [(tf.cast(touched.strength * tf.gather(table, channel.place), dtype), channel.share)
            for channel, table in zip(touched.channels, tables)]


def _corner_gradient(touched, pulls, missed, raster):
    """Gradient to x, y and 1 / depth of the corners of the faces, `[3, N]` each."""
    shares, chance, fields = touched.shares, touched.chance, touched.fields
    to_shares = []
    for k in range(3):
        parts = [pull if share is None else pull * share[k] for pull, share in pulls]
        to_shares.append(tf.add_n(parts) if len(parts) > 1 else parts[0])
    to_logit = _dot(shares, to_shares)  # also to log D
    # depth is 1 / sum(share_k / z_k); a logit at its bounds stands still
    bent = to_logit - to_logit * triangles.positive(tf.abs(touched.logit) - _MAX_LOGIT)
    bent *= touched.depth * raster.per_metre
    to_inverse = bent * touched.depth
    rest = to_logit + bent  # mean over corners, by their shares, of the gradient to the shares
    to_weights = [(to_inverse * touched.inverse[k] + to_shares[k] - rest) * touched.scale * tf.sign(fields.weights[k])
                  for k in range(3)]
    to_score = to_logit * (1.0 - chance) + missed * chance
    weight_x, weight_y = triangles.weight_gradient(touched.edge, touched.x, touched.y, to_weights)
    near_x, near_y = triangles.distance_gradient(touched.edge, fields, to_score * fields.sign * (1.0 / raster.sigma))
    return (weight_x + near_x, weight_y + near_y,
            tf.stack([tf.reduce_sum(to_inverse * share, axis=0) for share in shares]))


def _vertices_of(tile, entries):
    """Vertex numbers of the corners of the tiles' faces: `[3 N]`, corner after corner."""
    return tf.reshape(tf.transpose(tf.gather(entries.corners, tile.face)), [-1])


def _canvas_size(raster):
    rows, columns = tiles.canvas(raster.height, raster.width, tiles.tile_side(raster.reach))
    return rows * columns


def _on_picture(values, raster):
    """What tiles hold, `[...]` in canvas order -> `[H, W, channels]`."""
    rows, columns = tiles.canvas(raster.height, raster.width, tiles.tile_side(raster.reach))
    return tf.reshape(values, [rows, columns, -1])[:raster.height, :raster.width]


def _on_canvas(values, raster):
    """`[H, W, ...]` with zeros to the right and below."""
    rows, columns = tiles.canvas(raster.height, raster.width, tiles.tile_side(raster.reach))
    beyond = [[0, rows - raster.height], [0, columns - raster.width]]
    return tf.pad(values, beyond + [[0, 0]] * (values.shape.rank - 2))


def _dot(first, second):
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]


def _bin_counts(place, values, size):
    """Sums `values` into `[size]` bins: 10 times as fast as a segment sum."""
    place, values = tf.reshape(place, [1, -1]), tf.reshape(values, [1, -1])  # rows take one thread and no scratch each
    return tf.raw_ops.DenseBincount(input=place, size=size, weights=values, binary_output=False)[0]


def _row_counts(place, values, size):
    """Sums each row of `values` `[parts, R, N]` into the bins `place` `[parts, N]`: `[R, size]`."""
    rows = tf.shape(values)[1]
    values = tf.reshape(tf.transpose(values, [1, 0, 2]), tf.stack([rows, -1]))
    place = tf.tile(tf.reshape(place, [1, -1]), tf.stack([rows, 1]))
    return tf.raw_ops.DenseBincount(input=place, size=size, weights=values, binary_output=False)
