"""A soft picture of a mesh: vertices with labels in, label probabilities and visibility out.

Every face j adds to every pixel i with probability D = sigmoid(+-d^2 / sigma), d the distance to
the face in pixels, positive inside. Labels are a softmax over D exp(-depth / gamma), so that the
nearest face wins and those behind it still get a gradient; visibility is alpha = 1 - prod(1 - D).

Scatter form: the work grows with the covered pixels, not with faces times pixels. Each face gets
a window that holds every pixel with D >= cutoff; faces are grouped by the size of their window,
so that a group is a plain `[K, K, N]` computation, and weighted bin counts sum over faces.

Source: Liu et al., Soft Rasterizer, ICCV 2019, Eqs. 1 to 5; paper, Eq. 5.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from hund_tf.geometry import triangles

_WINDOWS = (3, 4, 5, 6, 8, 10, 14, 24, 60, 240)
_MAX_LOGIT = 320.0  # exp of it, times the faces at a pixel, is a finite float64


def soft_rasterize(vertices_camera, faces, labels, intrinsics, image_size, sigma=0.25, gamma=1e-4,
                   background=1e-3, near=0.1, far=100.0, cutoff=1e-4,
                   constant_labels=True):
    """Renders labels softly; see `SoftRasterizer` for the arguments, shapes and errors."""
    height, width = image_size
    vertices_camera = tf.convert_to_tensor(vertices_camera)
    dtype = vertices_camera.dtype
    faces, labels = tf.convert_to_tensor(faces), tf.convert_to_tensor(labels)
    intrinsics = tf.cast(intrinsics, dtype)
    _check_shapes(vertices_camera, faces, labels, intrinsics)
    batch, channels = tf.shape(vertices_camera)[0], labels.shape[-1]
    entries = _entries(faces, tf.cast(labels, dtype), constant_labels)

    depth = vertices_camera[..., 2]
    seen = (depth > near) & (depth < far)
    middle = _middle(depth, seen, near, far)  # [B]
    corners = tf.gather(_project(vertices_camera, seen, intrinsics), entries.corners, axis=1)
    shown = tf.reduce_all(tf.gather(seen, entries.corners, axis=1), axis=-1)
    reach = np.sqrt(sigma * np.log(1.0 / cutoff - 1.0))
    first, side = _windows(tf.stop_gradient(corners), shown, reach, height, width)

    # rows of one face in one picture: N of them, picture after picture
    count = tf.shape(entries.corners)[0]
    corners = tf.reshape(corners, tf.stack([batch * count, 9]))
    first, side = tf.reshape(first, [-1, 2]), tf.reshape(side, [-1])
    scalars = tf.constant([sigma, np.log(1.0 / cutoff - 1.0), 1.0 / ((far - near) * gamma)], dtype)
    largest, previous, touched = max(height, width), 0, []
    for window in [size for size in _WINDOWS if size < largest] + [largest]:
        numbers = tf.constant([previous, window, height, width, channels])
        touched.append(_touch(corners, first, side, middle, entries, numbers, scalars))
        previous = window
    pixel, missed, place, weighted = (
        tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=-1), *touched))

    shape = tf.stack([batch, height, width])
    log_missed = _scatter(pixel, missed, tf.reduce_prod(shape))
    if entries.label is None:
        totals = [_scatter(pixel, values, tf.reduce_prod(shape)) for values in weighted]
        total, whole = tf.stack(totals[:-1], axis=-1), totals[-1]
    else:
        total = _scatter(place, weighted[0], tf.reduce_prod(shape) * channels)
        whole = tf.reduce_sum(tf.reshape(total, [-1, channels]), axis=-1)
    total = tf.reshape(total, tf.concat([shape, [channels]], axis=0))
    whole = tf.reshape(whole, tf.concat([shape, [1]], axis=0))
    alpha = tf.reshape(1.0 - tf.exp(-log_missed), tf.concat([shape, [1]], axis=0))
    ground = tf.cast(middle, tf.float64) - far + background * (far - near)
    ground = tf.exp(tf.clip_by_value(ground / ((far - near) * gamma), -2.0 * _MAX_LOGIT, 2.0 * _MAX_LOGIT))
    picture = total / (whole + ground[:, None, None, None])
    return tf.concat([tf.cast(picture, dtype), tf.cast(alpha, dtype)], axis=-1)


@keras.saving.register_keras_serializable("hund_tf")
class SoftRasterizer(keras.layers.Layer):
    """Renders per-vertex labels softly, with gradients to every vertex near or behind the surface.

    Letters: B batch, V vertices, F faces, C label channels, H x W picture.

    Args:
        image_size: int, side of a square picture, or `(H, W)`.
        sigma: float, squared pixels; how soft the border is. D is 0.73 at sqrt(sigma) inside.
        gamma: float, softness in depth, of depth scaled to 0..1 between far and near: with the
            defaults 1 cm is one unit of the exponent.
        background: float, scaled depth of the background, epsilon of the source.
        near, far: float, metres; a face with a corner beyond either is left out.
        cutoff: float; pixels where D is less count as untouched by a face.
        constant_labels: bool; one-hot labels and faces that are known when the graph is built take
            a path that is about twice as fast. It has no gradient to the labels: False gives one.

    Call arguments:
        vertices_camera: `[B, V, 3]`, metres, camera frame.
        faces: int `[F, 3]`.
        labels: `[V, C]`, one vector a vertex, usually one-hot.
        intrinsics: `[B, 4]`, (fx, fy, cx, cy), pixels of the small picture.

    Returns:
        `[B, H, W, C + 1]`: the labels, summing to 1 wherever any face has D >= cutoff and to 0
        elsewhere, then alpha. Labels do not fade towards the border of a person, alpha does:
        `labels * alpha` is the probability to see a part.

    Raises:
        ValueError: if a setting or a shape is impossible.

    Source: Liu et al., ICCV 2019. Two choices differ from its code: outside weights are held at 0
    from below (there also at 1 from above) before they are divided by their sum, and sums of
    weights are float64 about the middle depth of the scene, exact over 6.4 m of depth at the
    default gamma; a greater distance in depth counts as that.
    """

    def __init__(self, image_size, sigma=0.25, gamma=1e-4, background=1e-3, near=0.1, far=100.0,
                 cutoff=1e-4, constant_labels=True, **kwargs):
        super().__init__(**kwargs)
        size = (image_size, image_size) if np.ndim(image_size) == 0 else tuple(image_size)
        if len(size) != 2 or min(size) < 1:
            raise ValueError("`image_size` must be a positive side or (height, width). "
                             f"Received: {image_size}.")
        if min(sigma, gamma) <= 0 or not 0 < near < far or not 0 < cutoff < 0.5:
            raise ValueError(
                "`sigma` and `gamma` must be positive, 0 < near < far, 0 < cutoff < 0.5. "
                f"Received: sigma={sigma}, gamma={gamma}, near={near}, far={far}, cutoff={cutoff}.")
        self.image_size = image_size
        self._settings = dict(sigma=sigma, gamma=gamma, background=background, near=near, far=far,
                              cutoff=cutoff, constant_labels=constant_labels)
        self._size = size

    def call(self, vertices_camera, faces, labels, intrinsics):
        return soft_rasterize(vertices_camera, faces, labels, intrinsics, self._size,
                              **self._settings)

    def get_config(self):
        return {**super().get_config(), "image_size": self.image_size, **self._settings}


class _Entries(NamedTuple):
    """Faces, or parts of faces that have one label: E >= F rows.

    A face whose corners have several labels appears once for each, with the corners of that label
    marked; only its first row counts for alpha.
    """

    corners: tf.Tensor  # [E, 3], vertex numbers
    share: tf.Tensor  # [E, 3], 1 where the corner has the row's label
    label: tf.Tensor  # [E]
    counts: tf.Tensor  # [E], 1 in the first row of a face
    vectors: tf.Tensor  # [E, 3, C], labels of the corners, where they are not constant and one-hot


def _entries(faces, labels, constant_labels):
    constant_faces, constant = tf.get_static_value(faces), tf.get_static_value(labels)
    if not constant_labels or constant_faces is None or constant is None or not _is_one_hot(constant):
        ones = tf.ones_like(faces[:, 0])
        return _Entries(faces, None, None, ones, tf.gather(labels, faces))
    of_corner = constant.argmax(axis=1)[constant_faces]  # [F, 3]
    index, label, share, counts = [], [], [], []
    for corner in range(3):
        new = np.flatnonzero(np.all(of_corner[:, :corner] != of_corner[:, corner, None], axis=1))
        index.append(new)
        label.append(of_corner[new, corner])
        share.append(of_corner[new] == of_corner[new, corner, None])
        counts.append(np.full(len(new), corner == 0))
    return _Entries(tf.constant(constant_faces[np.concatenate(index)]),
                    tf.constant(np.concatenate(share), labels.dtype),
                    tf.constant(np.concatenate(label), tf.int32),
                    tf.constant(np.concatenate(counts), tf.int32), None)


def _is_one_hot(labels):
    return bool(np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all())


@tf.function(autograph=False, reduce_retracing=True)  # traced once, not once for each window size
def _touch(corners, first, side, middle, entries, numbers, scalars):
    """What the faces with windows of one size do to the P pixels of those windows.

    Args:
        corners: `[B * E, 9]`, (x, y, 1/z) of three corners.
        first, side: int `[B * E, 2]` and `[B * E]`, see `_windows`.
        middle: `[B]`, metres, the depth of weight 1.
        entries: `_Entries`.
        numbers: int (side to exceed, largest side, H, W, C).
        scalars: (sigma, score below which a pixel is untouched negated, exponent per metre).

    Returns:
        pixel number `[P]`; -log(1 - D) `[P]`; bin of the label sums `[P]`; list of float64 `[P]`,
        softmax weights times label shares, one if labels are one-hot, else one a channel and their
        sum.
    """
    previous, window, height, width, channels = tf.unstack(numbers, num=5)
    sigma, limit, per_metre = tf.unstack(scalars, num=3)
    chosen = tf.cast(tf.where((side > previous) & (side <= window))[:, 0], tf.int32)
    image, entry = chosen // tf.shape(entries.corners)[0], chosen % tf.shape(entries.corners)[0]
    rows, columns = tf.minimum(window, height), tf.minimum(window, width)
    # a window at the border is moved inwards and never leaves the picture
    x, y = tf.unstack(tf.transpose(tf.gather(first, chosen)), num=2)
    x, y = tf.minimum(x, width - columns), tf.minimum(y, height - rows)
    pixel = (tf.range(rows)[:, None] * width + tf.range(columns))[:, :, None] + (
        (image * height + y) * width + x)

    planes = tf.unstack(tf.transpose(tf.gather(corners, chosen)), num=9)
    x, y = tf.cast(x, corners.dtype) + 0.5, tf.cast(y, corners.dtype) + 0.5
    fields = triangles.pixel_fields([(planes[i] - x, planes[i + 1] - y) for i in (0, 3, 6)],
                                    columns, rows)
    score = fields.signed_distance / sigma
    score = tf.where(score >= -limit, score, tf.cast(-1e4, score.dtype))
    # outside weights sum to more than 1: they are divided by their sum in all that follows
    u, v, w = fields.weights
    whole = u + v + w
    distance = whole / (u * planes[2] + v * planes[5] + w * planes[8])
    logit = tf.cast((tf.gather(middle, image) - distance) * per_metre, tf.float64)
    strength = tf.cast(tf.sigmoid(score) / whole, tf.float64) * tf.exp(
        tf.clip_by_value(logit, -_MAX_LOGIT, _MAX_LOGIT))
    missed = tf.math.softplus(score) * tf.cast(tf.gather(entries.counts, entry), score.dtype)

    if entries.label is None:
        place = pixel
        vectors = tf.transpose(tf.gather(entries.vectors, entry), [1, 2, 0])  # [3, C, N]
        shares = [*tf.unstack(vectors, axis=1), tf.ones_like(vectors[:, 0])]
    else:
        place = pixel * channels + tf.gather(entries.label, entry)
        shares = [tf.transpose(tf.gather(entries.share, entry))]  # [3, N]
    weighted = []
    for share in shares:
        a, b, c = tf.unstack(share, num=3)
        weighted.append(strength * tf.cast(u * a + v * b + w * c, strength.dtype))
    flat = [-1]
    return (tf.reshape(pixel, flat), tf.reshape(missed, flat), tf.reshape(place, flat),
            [tf.reshape(values, flat) for values in weighted])


@tf.custom_gradient
def _scatter(index, values, size):
    """Sums `values` `[P]` into `[size]` bins: a bin count is 10 times as fast as a segment sum."""
    total = tf.raw_ops.DenseBincount(input=index, size=size, weights=values, binary_output=False)
    return total, lambda upstream: (None, tf.gather(upstream, index), None)


def _project(vertices_camera, seen, intrinsics):
    """(x, y) pixels and 1/z of each vertex `[B, V, 3]`, with a finite gradient for those not seen."""
    x, y, z = tf.unstack(vertices_camera, axis=-1)
    inverse = 1.0 / tf.where(seen, z, tf.ones_like(z))
    fx, fy, cx, cy = tf.unstack(intrinsics[:, None], num=4, axis=-1)
    return tf.stack([fx * x * inverse + cx, fy * y * inverse + cy, inverse], axis=-1)


def _middle(depth, seen, near, far):
    """Half way between the nearest and the farthest vertex seen, metres: `[B, V]` -> `[B]`."""
    low = tf.reduce_min(tf.where(seen, depth, tf.cast(far, depth.dtype)), axis=1)
    high = tf.reduce_max(tf.where(seen, depth, tf.cast(near, depth.dtype)), axis=1)
    return tf.stop_gradient(0.5 * (low + high))  # a softmax is the same for any such shift


def _windows(corners, shown, reach, height, width):
    """First pixel (x, y) and side of the square of pixels that a face can touch; side 0: none."""
    position = corners[..., :2]
    first = tf.math.ceil(tf.reduce_min(position, axis=2) - (0.5 + reach))
    last = tf.math.floor(tf.reduce_max(position, axis=2) - (0.5 - reach))
    limit = tf.constant([width - 1, height - 1], corners.dtype)
    first, last = tf.maximum(first, 0), tf.minimum(last, limit)
    kept = shown & triangles.proper(
        [(position[:, :, corner, 0], position[:, :, corner, 1]) for corner in range(3)])
    kept &= tf.reduce_all(last >= first, axis=-1)
    side = tf.where(kept, tf.reduce_max(last - first, axis=-1) + 1, tf.zeros_like(first[..., 0]))
    return tf.cast(tf.where(kept[..., None], first, tf.zeros_like(first)), tf.int32), tf.cast(
        side, tf.int32)


def _check_shapes(vertices, faces, labels, intrinsics):
    for name, tensor, rule, ok in (
            ("vertices_camera", vertices, "[B, V, 3]", vertices.shape[2:] == [3]),
            ("faces", faces, "[F, 3]", faces.shape.rank == 2 and faces.shape[1] == 3),
            ("labels", labels, "[V, C]", labels.shape.rank == 2 and labels.shape[1] is not None),
            ("intrinsics", intrinsics, "[B, 4]",
             intrinsics.shape.rank == 2 and intrinsics.shape[1] == 4)):
        if not ok:
            raise ValueError(f"`{name}` must be {rule}. Received: {tuple(tensor.shape)}.")
