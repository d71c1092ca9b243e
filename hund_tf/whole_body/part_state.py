"""The state of one part of a person, a hand or a face, and its packing for the descent."""

from typing import NamedTuple

import tensorflow as tf

from hund_tf.geometry import camera, rotations
from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.state import FACING_ROTATION

_SIDES = 0.1, 30.0  # times the reference size: how far from the camera a part may be


class PartState(NamedTuple):
    """State `s = [codes, r, t]` of a part.

    Attributes:
        codes: `[B, C]`, theta_lh of a hand or the expression of a face, prior N(0, I).
        rotation: `[B, 6]`, camera-from-part rotation, orthonormal.
        translation: `[B, 3]`, the part's root (wrist, head joint) in the camera frame, metres.
    """

    codes: tf.Tensor
    rotation: tf.Tensor
    translation: tf.Tensor


class PartStateCodec:
    """Packs a `PartState` into a vector `[codes C | rotation 6 | placement 3]` and back, relative to the crop.

    As `BodyStateCodec`: zero placement is a root in the middle of the crop, at the distance at which a part of the
    reference size fills it.

    Args:
        num_codes: int, C.
        reference_size: float, metres.

    Attributes:
        size: int, S = C + 9.
    """

    def __init__(self, num_codes, reference_size):
        self.num_codes, self.reference_size, self.size = num_codes, reference_size, num_codes + 9

    def initial(self, batch):
        """Mean codes, upright, facing the camera: `[batch, S]`."""
        mean = tf.constant((0.0,) * self.num_codes + FACING_ROTATION + (0.0,) * 3)
        return tf.tile(mean[None], [batch, 1])

    def natural_steps(self):
        """Length of a step of each packed unknown, `[S]`: codes have a deviation of 1, rotation and placement are stiffer."""
        return tf.constant((1.0,) * self.num_codes + (0.1,) * 9)

    def unpack(self, packed, intrinsics):
        """`[B, S]` and crop intrinsics `[B, 4]` -> `PartState` in the camera frame."""
        codes, rotation, placement = tf.split(packed, [self.num_codes, 6, 3], axis=-1)
        rotation = camera.camera_from_ray(intrinsics, CROP_SIZE) @ rotations.matrix_from_6d(rotation)
        low, high = (tf.math.log(side) for side in _SIDES)
        depth = self._unit(intrinsics) * tf.exp(tf.clip_by_value(placement[:, 2:], low, high))
        pixel = (placement[:, :2] + 1.0) * (CROP_SIZE / 2)
        return PartState(codes, rotations.matrix_to_6d(rotation),
                         camera.unproject(pixel[:, None], depth[:, None], intrinsics)[:, 0])

    def pack(self, state, intrinsics):
        """Inverse of `unpack`: `PartState` -> `[B, S]`."""
        rotation = tf.matmul(camera.camera_from_ray(intrinsics, CROP_SIZE), rotations.matrix_from_6d(state.rotation),
                             transpose_a=True)
        pixel = camera.project(state.translation[:, None], intrinsics)[:, 0]
        log_depth = tf.math.log(tf.maximum(state.translation[:, 2:], camera.MIN_DEPTH_M) / self._unit(intrinsics))
        return tf.concat([state.codes, rotations.matrix_to_6d(rotation), pixel / (CROP_SIZE / 2) - 1.0, log_depth], -1)

    def _unit(self, intrinsics):
        return camera.depth_unit(intrinsics, CROP_SIZE) * self.reference_size
