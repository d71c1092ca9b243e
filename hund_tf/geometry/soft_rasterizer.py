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
    sums = _Sums(entries, channels)
    per_metre = 1.0 / ((far - near) * gamma)
    largest, previous = max(height, width), 0
    for window in [size for size in _WINDOWS if size < largest] + [largest]:
        chosen = tf.cast(tf.where((side > previous) & (side <= window))[:, 0], tf.int32)
        previous = window
        image, entry = chosen // count, chosen % count
        rows, columns = min(window, height), min(window, width)
        # a window at the border is moved inwards and never leaves the picture
        start = tf.minimum(tf.gather(first, chosen), tf.constant([width - columns, height - rows]))
        planes = tf.unstack(tf.transpose(tf.gather(corners, chosen)), num=9)
        centre = tf.cast(start, dtype) + 0.5
        fields = triangles.pixel_fields(
            [(planes[3 * i] - centre[:, 0], planes[3 * i + 1] - centre[:, 1]) for i in range(3)],
            columns, rows)
        score = fields.signed_distance / sigma
        score = tf.where(score >= -np.log(1.0 / cutoff - 1.0), score, tf.cast(-1e4, dtype))
        pixel = (tf.range(rows)[:, None] * width + tf.range(columns))[:, :, None] + (
            (image * height + start[:, 1]) * width + start[:, 0])
        # outside weights sum to more than 1: they are divided by their sum in all that follows
        u, v, w = fields.weights
        whole = u + v + w
        distance = whole / (u * planes[2] + v * planes[5] + w * planes[8])
        logit = tf.cast((tf.gather(middle, image) - distance) * per_metre, tf.float64)
        strength = tf.cast(tf.sigmoid(score) / whole, tf.float64) * tf.exp(
            tf.clip_by_value(logit, -_MAX_LOGIT, _MAX_LOGIT))
        sums.add(entry, pixel, strength, (u, v, w), tf.math.softplus(score))

    shape = tf.stack([batch, height, width])
    total, whole, log_missed = sums.result(tf.reduce_prod(shape))
    total = tf.reshape(total, tf.concat([shape, [channels]], axis=0))
    whole = tf.reshape(whole, tf.concat([shape, [1]], axis=0))
    alpha = tf.reshape(1.0 - tf.exp(-log_missed), tf.concat([shape, [1]], axis=0))
    ground = tf.cast(middle, tf.float64) - far + background * (far - near)
    ground = tf.exp(tf.clip_by_value(ground * per_metre, -2.0 * _MAX_LOGIT, 2.0 * _MAX_LOGIT))
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


class _Sums:
    """Collects what the faces add to each pixel, and sums it at once."""

    def __init__(self, entries, channels):
        self._entries, self._channels = entries, channels
        self._pixels, self._labels, self._missed = [], [], []
        self._weighted = [[] for _ in range(channels + 1 if entries.label is None else 1)]

    def add(self, entry, pixel, strength, weights, missed):
        """Adds windows `[K, K, N]` of the entries `[N]`."""
        counts = tf.cast(tf.gather(self._entries.counts, entry), missed.dtype)
        self._pixels.append(tf.reshape(pixel, [-1]))
        self._missed.append(tf.reshape(missed * counts, [-1]))
        if self._entries.label is None:
            vectors = tf.transpose(tf.gather(self._entries.vectors, entry), [1, 2, 0])  # [3, C, N]
            shares = [*tf.unstack(vectors, num=self._channels, axis=1), tf.ones_like(vectors[:, 0])]
        else:
            pixel = pixel * self._channels + tf.gather(self._entries.label, entry)
            self._labels.append(tf.reshape(pixel, [-1]))
            shares = [tf.transpose(tf.gather(self._entries.share, entry))]  # [3, N]
        for weighted, share in zip(self._weighted, shares):
            mixed = sum(weight * share[corner] for corner, weight in enumerate(weights))
            weighted.append(tf.reshape(strength * tf.cast(mixed, strength.dtype), [-1]))

    def result(self, pixels):
        """Label weights `[pixels, C]` and their sum `[pixels]`, float64; sums of -log(1 - D)."""
        where = tf.concat(self._pixels, 0)
        missed = _scatter(where, tf.concat(self._missed, 0), pixels)
        if self._labels:
            where, pixels = tf.concat(self._labels, 0), pixels * self._channels
        totals = [_scatter(where, tf.concat(weighted, 0), pixels) for weighted in self._weighted]
        if self._labels:
            total = tf.reshape(totals[0], [-1, self._channels])
            return total, tf.reduce_sum(total, axis=-1), missed
        return tf.stack(totals[:-1], axis=-1), totals[-1], missed


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
