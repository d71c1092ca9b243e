"""The state of the generative body and the evidence of one crop, as named tensors."""

from typing import NamedTuple

import tensorflow as tf

from hund_tf.geometry import camera, rotations

THETA_BODY = 126  # 21 joints x 6D rotation
THETA_HAND = 90  # 15 finger joints x 6D rotation
THETA = THETA_BODY + 2 * THETA_HAND
SHAPE = 16
EXPRESSION = 20
# An upright person who faces the camera: body +y is image -y, body +z looks at the camera.
FACING_ROTATION = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
REFERENCE_HEIGHT_M = 1.7  # scale of the packed depth: zero means a person of this height fills the crop


class ModelState(NamedTuple):
    """State `s = [theta, beta, r, t]` of the generative body (paper, Sec. 2.2).

    Attributes:
        theta: `[B, 306]`, pose codes of body, left and right hand, prior N(0, I).
        shape: `[B, 16]`, body shape code, prior N(0, I).
        expression: `[B, 20]`, facial expression code, prior N(0, I).
        rotation: `[B, 6]`, camera-from-body rotation, first two columns one after the other; orthonormal as `unpack`
            gives it.
        translation: `[B, 3]`, the pelvis in the camera frame, metres.
    """

    theta: tf.Tensor
    shape: tf.Tensor
    expression: tf.Tensor
    rotation: tf.Tensor
    translation: tf.Tensor


class ImageEvidence(NamedTuple):
    """What the first CNN says of one crop.

    Attributes:
        features: F, `[B, 60, 60, 256]`.
        keypoint_heatmaps: K, `[B, 60, 60, 137]`, peaks in [0, 1] = confidence.
        part_maps: B, `[B, 60, 60, 15]`, probabilities, channel 0 is the background.
        landmarks3d: `[B, 25, 3]`, the landmark network's own 3D estimate, metres, BODY_25 order,
            mid-hip centred, camera axes; zero where unknown.
        landmarks3d_confidence: `[B, 25]` in [0, 1].
        intrinsics: `[B, 4]`, of the crop, pixels.
    """

    features: tf.Tensor
    keypoint_heatmaps: tf.Tensor
    part_maps: tf.Tensor
    landmarks3d: tf.Tensor
    landmarks3d_confidence: tf.Tensor
    intrinsics: tf.Tensor


class BodyStateCodec:
    """Packs the part of the state that the body network estimates into one vector and back.

    The packed vector is `[theta_b 126 | shape 16 | rotation 6 | placement 3]`, S = 151. Rotation and placement
    are relative to the crop: the rotation to the ray through the crop's centre, the placement as the
    pelvis' pixel (in units of half a crop from its centre) and the log of its depth, so that zero is a
    person who fills the crop whatever the lens. The paper keeps camera-space values; both say the
    same, and a crop-relative state need not be learned anew for each focal length.
    """

    size = THETA_BODY + SHAPE + 6 + 3

    def initial(self, batch):
        """The mean body, upright, facing the camera, filling the crop: `[batch, S]`."""
        mean = tf.constant((0.0,) * (THETA_BODY + SHAPE) + FACING_ROTATION + (0.0,) * 3)
        return tf.tile(mean[None], [batch, 1])

    def unpack(self, packed, intrinsics, crop_size):
        """`[B, S]` and crop intrinsics `[B, 4]` -> `ModelState` in the camera frame."""
        theta_body, shape, rotation, placement = tf.split(packed, [THETA_BODY, SHAPE, 6, 3], axis=-1)
        camera_from_ray = camera.camera_from_ray(intrinsics, crop_size)  # [B, 3, 3]
        rotation = rotations.matrix_to_6d(camera_from_ray @ rotations.matrix_from_6d(rotation))
        depth = camera.depth_unit(intrinsics, crop_size) * REFERENCE_HEIGHT_M * tf.exp(
            tf.clip_by_value(placement[:, 2:], -3.0, 5.0))
        pixel = (placement[:, :2] + 1.0) * (crop_size / 2)
        translation = camera.unproject(pixel[:, None], depth[:, None], intrinsics)[:, 0]
        batch = tf.shape(packed)[0]
        return ModelState(
            theta=tf.concat([theta_body, tf.zeros([batch, 2 * THETA_HAND])], axis=-1),
            shape=shape, expression=tf.zeros([batch, EXPRESSION]), rotation=rotation, translation=translation)

    def pack(self, state, intrinsics, crop_size):
        """Inverse of `unpack` for the estimated parts: `ModelState` -> `[B, S]`."""
        camera_from_ray = camera.camera_from_ray(intrinsics, crop_size)
        columns = tf.stack([state.rotation[:, :3], state.rotation[:, 3:]], axis=-1)
        columns = tf.matmul(camera_from_ray, columns, transpose_a=True)
        rotation = tf.concat([columns[..., 0], columns[..., 1]], axis=-1)
        pixel = camera.project(state.translation[:, None], intrinsics)[:, 0]
        unit = camera.depth_unit(intrinsics, crop_size)[:, 0] * REFERENCE_HEIGHT_M
        log_depth = tf.math.log(tf.maximum(state.translation[:, 2], camera.MIN_DEPTH_M) / unit)
        placement = tf.concat([pixel / (crop_size / 2) - 1.0, log_depth[:, None]], axis=-1)
        return tf.concat([state.theta[:, :THETA_BODY], state.shape, rotation, placement], axis=-1)
