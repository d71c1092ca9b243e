"""Perspective camera: points in metres to pixels and back, and the ray through a crop's centre.

Frames: camera +x right, +y down, +z forward; pixels (x, y) with the origin at the corner of the
top-left pixel. Intrinsics are `(fx, fy, cx, cy)` in pixels. Source: paper, Sec. 2.1, camera model.

All functions keep the dtype that they are given. float32 cannot hold a pixel of a large photo to 1e-4 (its step
at 8000 px is 5e-4 px): where that matters, give float64.
"""

import keras
import tensorflow as tf

from hund_tf.geometry.graphics import perspective

MIN_DEPTH_M = 0.05  # a point nearer than this, or behind the camera, is projected as if it were here


def default_intrinsics(height, width):
    """`(fx, fy, cx, cy)` of an uncalibrated image: `f = max(H, W)`, centre in the middle (paper, Sec. 2.1).

    Raises:
        ValueError: if a side is not positive.
    """
    if not (height > 0 and width > 0):
        raise ValueError(f"`height` and `width` must be positive. Received: {height}, {width}.")
    focal = float(max(height, width))
    return focal, focal, width / 2.0, height / 2.0


def project(points_camera, intrinsics):
    """Projects points: `[B, N, 3]` metres and `[B, 4]` pixels -> `[B, N, 2]` pixels.

    Depth is held at `MIN_DEPTH_M` from below, so that a point behind the camera gets a finite answer.

    Raises:
        ValueError: if `points_camera` is not `[B, N, 3]` or `intrinsics` not `[B, 4]`.
    """
    points_camera = _checked("points_camera", points_camera, "[B, N, 3]")
    intrinsics = tf.cast(_checked("intrinsics", intrinsics, "[B, 4]"), points_camera.dtype)
    depth = tf.maximum(points_camera[..., 2:], MIN_DEPTH_M)
    points = tf.concat([points_camera[..., :2], depth], axis=-1)
    return perspective.project(points, intrinsics[:, None, :2], intrinsics[:, None, 2:])


def unproject(pixels, depth, intrinsics):
    """Pixels `[B, N, 2]` at `depth` `[B, N, 1]` metres -> points `[B, N, 3]` in the camera frame.

    Raises:
        ValueError: if a shape is another one.
    """
    pixels, depth = _checked("pixels", pixels, "[B, N, 2]"), _checked("depth", depth, "[B, N, 1]")
    intrinsics = tf.cast(_checked("intrinsics", intrinsics, "[B, 4]"), pixels.dtype)
    rays = (pixels - intrinsics[:, None, 2:]) / intrinsics[:, None, :2]
    return tf.concat([rays * depth, depth], axis=-1)


def depth_unit(intrinsics, crop_size):
    """Depth in metres at which one metre spans the whole crop: `[B, 4]` -> `[B, 1]`."""
    return tf.reduce_mean(intrinsics[:, :2], axis=-1, keepdims=True) / crop_size


def camera_from_ray(intrinsics, crop_size):
    """Rotation that carries +z onto the ray through the crop's centre: `[B, 4]` -> `[B, 3, 3]`.

    A person far from the optical axis is seen along that ray; relative to it they look as they
    would in the middle of the image. The ray frame's x axis stays in the camera's xz plane.
    """
    x = (crop_size / 2 - intrinsics[:, 2]) / intrinsics[:, 0]
    y = (crop_size / 2 - intrinsics[:, 3]) / intrinsics[:, 1]
    forward = tf.math.l2_normalize(tf.stack([x, y, tf.ones_like(x)], -1), -1)
    right = tf.math.l2_normalize(tf.stack([tf.ones_like(x), tf.zeros_like(x), -x], -1), -1)
    down = tf.linalg.cross(forward, right)
    return tf.stack([right, down, forward], axis=-1)


@keras.saving.register_keras_serializable("hund_tf")
class PerspectiveProjection(keras.layers.Layer):
    """`project` as a layer.

    Call arguments:
        points_camera: `[B, N, 3]`, metres.
        intrinsics: `[B, 4]`, pixels.

    Returns:
        `[B, N, 2]`, pixels.

    Raises:
        ValueError: if a shape is another one.

    Source: Zanfir et al., CVPR 2021, Sec. 2.1, `x_2d = Pi(x_3d, C)`.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def call(self, points_camera, intrinsics):
        return project(points_camera, intrinsics)


def _checked(name, values, form):
    """The tensor, if it has as many axes as `form` and its last axis the size that `form` ends in."""
    values = tf.convert_to_tensor(values)
    sizes = form.strip("[]").split(", ")
    if values.shape.rank not in (None, len(sizes)) or (
            values.shape.rank is not None and values.shape[-1] not in (None, int(sizes[-1]))):
        raise ValueError(f"`{name}` must be {form}. Received: {tuple(values.shape)}.")
    return values
