"""A soft picture of a mesh: vertices with labels in, label probabilities and visibility out.

Every face j adds to every pixel i with probability D = sigmoid(+-d^2 / sigma), d the distance to
the face in pixels, positive inside. Labels are a softmax over D exp(-depth / gamma), so that the
nearest face wins and those behind it still get a gradient; visibility is alpha = 1 - prod(1 - D).

The work grows with the covered pixels, not with faces times pixels: each face is worked out on the tiles of pixels
that hold every pixel with D >= cutoff, and weighted bin counts sum over faces (`footprints`). The gradient is written
by hand and works the tiles out anew, so a step keeps no more than the pictures.

Source: Liu et al., Soft Rasterizer, ICCV 2019, Eqs. 1 to 5; paper, Eq. 5.
"""

import math
import numbers

import keras
import numpy as np
import tensorflow as tf

from hund_tf.geometry import footprints


def soft_rasterize(vertices_camera, faces, labels, intrinsics, image_size, sigma=0.25, gamma=1e-4,
                   background=1e-3, near=0.1, far=100.0, cutoff=1e-4,
                   constant_labels=True):
    """Renders labels softly; see `SoftRasterizer` for the arguments, shapes and errors."""
    height, width = _checked_settings(image_size, sigma, gamma, background, near, far, cutoff)
    vertices_camera = tf.convert_to_tensor(vertices_camera)
    dtype = vertices_camera.dtype
    constant_labels &= not isinstance(labels, tf.Variable)
    faces, labels, intrinsics = (tf.convert_to_tensor(values) for values in (faces, labels, intrinsics))
    _check_shapes(vertices_camera, faces, labels, intrinsics)
    _check_values(vertices_camera, faces)
    faces, labels, intrinsics = tf.cast(faces, tf.int32), tf.cast(labels, dtype), tf.cast(intrinsics, dtype)
    per_metre = 1.0 / ((far - near) * gamma)
    reach = float(np.sqrt(sigma * np.log(1.0 / cutoff - 1.0)))
    raster = footprints.Raster(height, width, labels.shape[-1], sigma, cutoff, reach, per_metre,
                               far - background * (far - near))

    @tf.custom_gradient
    def render(vertices_camera, faces, labels, intrinsics):
        given = vertices_camera, labels, intrinsics
        entries = _entries(faces, labels, constant_labels)
        vertices_camera, intrinsics = tf.stop_gradient(vertices_camera), tf.stop_gradient(intrinsics)
        depth = vertices_camera[..., 2]
        seen = (depth > near) & (depth < far) & tf.reduce_all(tf.math.is_finite(vertices_camera), axis=-1)
        vertices_camera = tf.where(seen[..., None], vertices_camera, tf.ones_like(vertices_camera))  # finite, unused
        scene = footprints.Scene(_project(vertices_camera, intrinsics), seen, _middle(depth, seen, near, far))
        rendered, scale = footprints.render(scene, entries, raster)

        def gradient(upstream):
            nothing = _nothing(upstream, *given)
            arguments = scene, entries, raster, rendered, scale, tf.stop_gradient(upstream)
            to_scene = footprints.vertex_gradient(*arguments) + nothing
            to_vertices, to_intrinsics = _project_gradient(vertices_camera, intrinsics, to_scene)
            to_labels = None if entries.vectors is None else footprints.label_gradient(*arguments) + nothing
            return to_vertices, None, to_labels, to_intrinsics

        return rendered, gradient

    return render(vertices_camera, faces, labels, intrinsics)


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
        near, far: float, metres; a face with a corner beyond either, or nowhere (not finite), is left out.
        cutoff: float; pixels where D is less count as untouched by a face.
        constant_labels: bool; one-hot labels and faces that are known when the graph is built take
            a path that is about twice as fast. It has no gradient to the labels: False, or labels in
            a `tf.Variable`, give one.

    Call arguments:
        vertices_camera: float32 or float64 `[B, V, 3]`, metres, camera frame; all work is done in its dtype, and a
            mixed precision policy does not change it.
        faces: int `[F, 3]`, 0 to V - 1.
        labels: `[V, C]`, one vector a vertex, usually one-hot.
        intrinsics: `[B, 4]`, (fx, fy, cx, cy), pixels of the small picture.

    Returns:
        `[B, H, W, C + 1]`: the labels, summing to 1 wherever any face has D >= cutoff and to 0
        elsewhere, then alpha. Labels do not fade towards the border of a person, alpha does:
        `labels * alpha` is the probability to see a part. There are gradients to vertices, labels
        and intrinsics; asking for a gradient of those is a LookupError.

    Raises:
        ValueError: if a setting, a shape, a dtype or a known vertex number is impossible.
        tf.errors.InvalidArgumentError: if batch sizes that are known only at run time differ.

    It does not run under XLA (`jit_compile=True`): how many tiles there are depends on the vertices, and XLA wants
    the bounds of a `Range` when it compiles.

    Source: Liu et al., ICCV 2019. Two choices differ from its code: outside weights are held at 0
    from below (there also at 1 from above) before they are divided by their sum, and sums of
    weights are float64 about the middle depth of the scene, exact over 6.4 m of depth at the
    default gamma; a greater distance in depth counts as that.
    """

    def __init__(self, image_size, sigma=0.25, gamma=1e-4, background=1e-3, near=0.1, far=100.0,
                 cutoff=1e-4, constant_labels=True, **kwargs):
        super().__init__(autocast=False, **kwargs)  # float16 is too coarse for pixels and depths
        self._size = _checked_settings(image_size, sigma, gamma, background, near, far, cutoff)
        self.image_size = image_size
        self._settings = dict(sigma=sigma, gamma=gamma, background=background, near=near, far=far,
                              cutoff=cutoff, constant_labels=constant_labels)

    def call(self, vertices_camera, faces, labels, intrinsics):
        return soft_rasterize(vertices_camera, faces, labels, intrinsics, self._size,
                              **self._settings)

    def get_config(self):
        return {**super().get_config(), "image_size": self.image_size, **self._settings}


def _entries(faces, labels, constant_labels):
    constant_faces, constant = tf.get_static_value(faces), tf.get_static_value(labels)
    if not constant_labels or constant_faces is None or constant is None or not _is_one_hot(constant):
        vectors = tf.gather(tf.stop_gradient(labels), faces)  # [F, 3, C]
        return footprints.Entries(tf.cast(faces, tf.int32), None, None, tf.transpose(vectors, [0, 2, 1]))
    of_corner = constant.argmax(axis=1)[constant_faces]  # [F, 3]
    index, label, share = [], [], []
    for corner in range(3):
        new = np.flatnonzero(np.all(of_corner[:, :corner] != of_corner[:, corner, None], axis=1))
        index.append(new)
        label.append(of_corner[new, corner])
        first = np.full([len(new), 1], corner == 0)
        share.append(np.concatenate([of_corner[new] == of_corner[new, corner, None], first], axis=1))
    index, label, share = (np.concatenate(parts) for parts in (index, label, share))
    return footprints.Entries(tf.constant(constant_faces[index], tf.int32), tf.constant(label, tf.int32),
                              tf.constant(share, labels.dtype), None)


def _is_one_hot(labels):
    return bool(np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all())


def _project(vertices_camera, intrinsics):
    """(x, y) pixels and 1/z of each vertex, `[B, V, 3]`."""
    x, y, z = tf.unstack(vertices_camera, axis=-1)
    inverse = 1.0 / z
    fx, fy, cx, cy = tf.unstack(intrinsics[:, None], num=4, axis=-1)
    return tf.stack([fx * x * inverse + cx, fy * y * inverse + cy, inverse], axis=-1)


def _project_gradient(vertices_camera, intrinsics, upstream):
    """Gradient through `_project`: `[B, V, 3]` -> `[B, V, 3]` to vertices and `[B, 4]` to intrinsics."""
    x, y, z = tf.unstack(vertices_camera, axis=-1)
    inverse = 1.0 / z
    to_x, to_y, to_inverse = tf.unstack(upstream, num=3, axis=-1)
    fx, fy = intrinsics[:, None, 0], intrinsics[:, None, 1]
    x, y = to_x * x, to_y * y
    to_inverse += fx * x + fy * y
    to_intrinsics = [x * inverse, y * inverse, to_x, to_y]
    return (tf.stack([to_x * fx * inverse, to_y * fy * inverse, -inverse * inverse * to_inverse], axis=-1),
            tf.stack([tf.reduce_sum(values, axis=-1) for values in to_intrinsics], axis=-1))


def _middle(depth, seen, near, far):
    """Half way between the nearest and the farthest vertex seen, metres: `[B, V]` -> `[B]`."""
    low = tf.reduce_min(tf.where(seen, depth, tf.cast(far, depth.dtype)), axis=1)
    high = tf.reduce_max(tf.where(seen, depth, tf.cast(near, depth.dtype)), axis=1)
    return tf.stop_gradient(0.5 * (low + high))  # a softmax is the same for any such shift


def _nothing(*tensors):
    """A zero whose gradient is an error: sums of no elements."""
    nothing = tf.concat([tf.reshape(tensor[:0], [-1]) for tensor in tensors], axis=0)
    return tf.reduce_sum(tf.raw_ops.PreventGradient(
        input=nothing, message="the soft rasterizer has no gradient of its gradient"))


def _checked_settings(image_size, sigma, gamma, background, near, far, cutoff):
    """(height, width), if these and the other settings are possible."""
    size = (image_size, image_size) if np.ndim(image_size) == 0 else tuple(image_size)
    if len(size) != 2 or not all(isinstance(side, numbers.Integral) and side >= 1 for side in size):
        raise ValueError("`image_size` must be a positive side or (height, width), whole numbers. "
                         f"Received: {image_size!r}.")
    settings = dict(sigma=sigma, gamma=gamma, background=background, near=near, far=far, cutoff=cutoff)
    finite = all(isinstance(value, numbers.Real) and math.isfinite(value) for value in settings.values())
    if not finite or min(sigma, gamma) <= 0 or not 0 < near < far or not 0 < cutoff < 0.5:
        received = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        raise ValueError("`sigma` and `gamma` must be positive, 0 < near < far, 0 < cutoff < 0.5, all of them and "
                         f"`background` finite numbers. Received: {received}.")
    return tuple(int(side) for side in size)


def _check_shapes(vertices, faces, labels, intrinsics):
    for name, tensor, rule, ok in (
            ("vertices_camera", vertices, "[B, V, 3]", vertices.shape[2:] == [3]),
            ("faces", faces, "[F, 3]", faces.shape.rank == 2 and faces.shape[1] == 3),
            ("labels", labels, "[V, C]", labels.shape.rank == 2 and labels.shape[1] is not None),
            ("intrinsics", intrinsics, "[B, 4]",
             intrinsics.shape.rank == 2 and intrinsics.shape[1] == 4)):
        if not ok:
            raise ValueError(f"`{name}` must be {rule}. Received: {tensor.shape}.")
    for name, tensor, what, size in (("labels", labels, "one row a vertex", vertices.shape[1]),
                                     ("intrinsics", intrinsics, "one row an image", vertices.shape[0])):
        if None not in (tensor.shape[0], size) and tensor.shape[0] != size:
            raise ValueError(f"`{name}` must have {what} of `vertices_camera`. "
                             f"Received: {tensor.shape} with vertices {vertices.shape}.")
    if None in (vertices.shape[0], intrinsics.shape[0]):
        tf.debugging.assert_equal(tf.shape(intrinsics)[0], tf.shape(vertices)[0],
                                  "`intrinsics` must have one row an image of `vertices_camera`.")


def _check_values(vertices, faces):
    if vertices.dtype not in (tf.float32, tf.float64):
        raise ValueError(f"`vertices_camera` must be float32 or float64. Received: {vertices.dtype.name}.")
    if not faces.dtype.is_integer:
        raise ValueError(f"`faces` must be of an integer dtype. Received: {faces.dtype.name}.")
    known, count = tf.get_static_value(faces), vertices.shape[1]
    if known is None or not known.size:
        return
    low, high = known.min(), known.max()
    if low < 0 or (count is not None and high >= count):
        raise ValueError("`faces` must be vertex numbers, 0 to V - 1. "
                         f"Received: {low} to {high}, of {'unknown' if count is None else count} vertices.")
