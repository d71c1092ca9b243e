"""L_u of Eq. 3: one packed state and the evidence in, its loss and what the loss is made of out."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hund_tf.geometry import camera
from hund_tf.losses import alignment, priors
from hund_tf.networks.context_encoder import READ_KEYPOINTS
from hund_tf.sensing.heatmaps import CROP_SIZE, MAP_SIZE

_TERMS = 5  # L_u and what it is made of
_MID_HIP = 8
LANDMARKS = 25  # BODY_25 points of the landmark network's 3D estimate
FAR = 2.0  # crop widths; a keypoint further off counts as this far


class ObjectiveReport(NamedTuple):
    """The objective at one state.

    Attributes:
        loss: L_u, `[B]`.
        feedback: `[B, L]`, loss, its terms, the keypoints' residuals in the image and those of the landmark network's
            3D estimate, for the descent cell.
        keypoint_loss: L_k, `[B]`, in crop widths.
        part_loss: L_b, `[B]`.
        state: `ModelState` of the packed state.
        body: `BodyOutput` of the state.
    """

    loss: tf.Tensor
    feedback: tf.Tensor
    keypoint_loss: tf.Tensor
    part_loss: tf.Tensor
    state: tuple
    body: tuple


class BodyObjective:
    """`L_u = lambda_k L_k + lambda_b L_b + l(theta) + l(beta)` of a packed body state (Eq. 3).

    Args:
        body: `GenerativeBody`.
        codec: `BodyStateCodec`.
        config: `ObjectiveConfig`.
        rasterizer: `SoftRasterizer` of `config.part_map_size`, or None for an objective without L_b.
        part_gradient: bool, whether L_b passes a gradient to the state. Where 3D truth teaches the network, it only reads
            the value of L_b, and training without this gradient is several times faster.
        wrap: callable put around posing and projection, such as a `tf.function` compiled by XLA: for training, where that
            makes them ten times faster; the first call takes longer.

    Attributes:
        feedback_size: int, L.
    """

    def __init__(self, body, codec, config, rasterizer=None, part_gradient=True, wrap=lambda function: function):
        self.body, self.codec, self.config, self.rasterizer = body, codec, config, rasterizer
        self.feedback_size = _TERMS + 2 * len(READ_KEYPOINTS) + 3 * LANDMARKS
        self._part_gradient = part_gradient
        self._pose = wrap(self._geometry)
        if rasterizer is not None:
            self._faces = body.faces("low")
            self._labels = np.eye(15, dtype=np.float32)[body.part_labels("low")]

    def __call__(self, packed, summary):
        config = self.config
        state, body, residual, weight, lean = self._pose(
            packed, summary.keypoints, summary.confidence, summary.intrinsics, summary.landmarks3d,
            summary.landmarks3d_confidence)
        keypoint_loss = alignment.keypoint_alignment(residual, tf.zeros_like(residual), weight, limit=FAR)
        part_loss = self._part_loss(body.vertices, summary)
        pose_prior = priors.gaussian_prior(state.theta)
        shape_prior = priors.gaussian_prior(state.shape)
        loss = (config.keypoint_weight * keypoint_loss + config.part_weight * part_loss
                + config.pose_prior_weight * pose_prior + config.shape_prior_weight * shape_prior)
        terms = tf.stack([loss, keypoint_loss * 10.0, part_loss, tf.math.log1p(pose_prior) * 0.2,
                          tf.math.log1p(shape_prior) * 0.2], axis=-1)
        pull = tf.clip_by_value(residual * 8.0, -3.0, 3.0) * weight[..., None]
        pull = tf.reshape(pull, [-1, 2 * len(READ_KEYPOINTS)])
        return ObjectiveReport(loss, tf.concat([terms, pull, lean], axis=-1), keypoint_loss, part_loss, state, body)

    def _geometry(self, packed, keypoints, confidence, intrinsics, landmarks3d, landmarks3d_confidence):
        """State, posed body, keypoint residuals in crop widths, their weights, and the residuals of the 3D estimate."""
        state = self.codec.unpack(packed, intrinsics, CROP_SIZE)
        body = self.body(state, mesh=None if self.rasterizer is None else "low")
        projected = camera.project(tf.gather(body.keypoints, READ_KEYPOINTS, axis=1), intrinsics)
        weight = confidence * tf.cast(confidence > 0.05, tf.float32)
        lean = self._lean(body.keypoints, landmarks3d, landmarks3d_confidence, intrinsics)
        return state, body, (projected - keypoints) / CROP_SIZE, weight, lean

    @staticmethod
    def _lean(keypoints, landmarks3d, confidence, intrinsics):
        """Where the body differs from the landmark network's 3D estimate, in the frame of the ray through the crop:
        `[B, 75]`. The loss does not count it: that estimate is too rough to fit, and good enough to show the way."""
        points = keypoints[:, :LANDMARKS] - keypoints[:, _MID_HIP:_MID_HIP + 1]
        points_ray = tf.einsum("bji,bkj->bki", camera.camera_from_ray(intrinsics, CROP_SIZE), points)
        known = confidence * tf.cast(confidence > 0.05, tf.float32)
        lean = tf.clip_by_value((points_ray - landmarks3d) * 4.0, -3.0, 3.0) * known[..., None]
        return tf.reshape(lean, [-1, 3 * LANDMARKS])

    def _part_loss(self, vertices, summary):
        if self.rasterizer is None:
            return tf.zeros_like(summary.intrinsics[:, 0])
        if not self._part_gradient:
            vertices = tf.stop_gradient(vertices)
        size = self.config.part_map_size
        step = MAP_SIZE // size
        part_maps = tf.nn.avg_pool2d(summary.part_maps, step, step, "VALID")
        rendered = self.rasterizer(vertices, self._faces, self._labels, summary.intrinsics * (size / CROP_SIZE))
        alpha = rendered[..., -1:]
        rendered = tf.concat([1.0 - alpha, rendered[..., 1:-1] * alpha, alpha], axis=-1)
        return alignment.part_alignment(rendered, part_maps)
