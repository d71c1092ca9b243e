"""L_u of a part: one packed state and the evidence in, its loss and what the loss is made of out."""

from typing import NamedTuple

import tensorflow as tf

from hund_tf.geometry import camera, rotations
from hund_tf.losses import alignment, priors
from hund_tf.losses.objective import FAR
from hund_tf.sensing.heatmaps import CROP_SIZE

_TERMS = 3  # L_u and what it is made of
_SMOOTH = 0.02  # crop widths: distances under it count by their square


class PartReport(NamedTuple):
    """The objective at one state.

    Attributes:
        loss: L_u, `[B]`.
        feedback: `[B, L]`, loss, its terms, the keypoints' residuals in the image and in depth, for the descent cell.
        keypoint_loss: L_k, `[B]`, in crop widths.
        state: `PartState` of the packed state.
        keypoints: `[B, N, 3]`, camera frame, metres.
    """

    loss: tf.Tensor
    feedback: tf.Tensor
    keypoint_loss: tf.Tensor
    state: tuple
    keypoints: tf.Tensor


class PartObjective:
    """`L_u = lambda_k L_k + l(codes)` of a packed state of a part (Eq. 3 without L_b: a part's crop has no part maps).

    Args:
        shape: `PartShape`.
        codec: `PartStateCodec`.
        keypoint_weight: float, lambda_k; L_k in crop widths.
        prior_weight: float, on the squared codes.
        wrap: callable put around posing and projection, such as a `tf.function` compiled by XLA.

    Attributes:
        feedback_size: int, L.
    """

    def __init__(self, shape, codec, keypoint_weight=10.0, prior_weight=1e-3, wrap=lambda function: function):
        self.shape, self.codec = shape, codec
        self.feedback_size = _TERMS + 3 * shape.num_keypoints
        self._keypoint_weight, self._prior_weight = keypoint_weight, prior_weight
        self._pose = wrap(self._geometry)

    def __call__(self, packed, evidence):
        state, keypoints, residual, lean, weight = self._pose(packed, evidence)
        keypoint_loss = alignment.keypoint_alignment(residual, tf.zeros_like(residual), weight, limit=FAR)
        prior = priors.gaussian_prior(state.codes)
        loss = self._keypoint_weight * keypoint_loss + self._prior_weight * prior
        terms = tf.stack([loss, keypoint_loss * 10.0, tf.math.log1p(prior) * 0.2], -1)
        pull = tf.concat([residual, lean[..., None]], -1) * weight[..., None]
        pull = tf.reshape(tf.clip_by_value(pull * 8.0, -3.0, 3.0), [-1, 3 * self.shape.num_keypoints])
        return PartReport(loss, tf.concat([terms, pull], -1), keypoint_loss, state, keypoints)

    def smooth(self, packed, evidence):
        """`L_u` without its kinks, `[B]`: distances that are small count by their square (pseudo-Huber).

        Where points lie on each other, the slope of L_u jumps, and steps down it follow the last bit of the input.
        """
        state, _, residual, _, weight = self._pose(packed, evidence)
        distance = tf.sqrt(tf.reduce_sum(tf.square(residual), -1) + _SMOOTH**2) - _SMOOTH
        distance = tf.reduce_sum(weight * distance, -1) / tf.maximum(tf.reduce_sum(weight, -1), 1e-6)
        return self._keypoint_weight * distance + self._prior_weight * priors.gaussian_prior(state.codes)

    def _geometry(self, packed, evidence):
        """State, posed keypoints, their residuals in crop widths in the image and in depth, and their weights."""
        state = self.codec.unpack(packed, evidence.intrinsics)
        keypoints = pose(self.shape, state, evidence.shape)
        residual = (camera.project(keypoints, evidence.intrinsics) - evidence.keypoints) / CROP_SIZE
        depths = relative_depths(keypoints, evidence.intrinsics)
        known = tf.cast(tf.reduce_any(evidence.depths != 0, -1, keepdims=True), tf.float32)
        weight = evidence.confidence * tf.cast(evidence.confidence > 0.05, tf.float32)
        return state, keypoints, residual, (depths - evidence.depths) * known, weight


def pose(shape, state, body_shape):
    """Keypoints `[B, N, 3]` of a `PartState` in the camera frame, metres."""
    points = tf.einsum("bij,bnj->bni", rotations.matrix_from_6d(state.rotation), shape(state.codes, body_shape))
    return points + state.translation[:, None]


def relative_depths(keypoints, intrinsics):
    """How much farther than their mean keypoints are, in crop widths at its distance: `[B, N]`."""
    depths = keypoints[..., 2]
    mean = tf.reduce_mean(depths, -1, keepdims=True)
    return (depths - mean) / tf.maximum(mean, camera.MIN_DEPTH_M) * camera.depth_unit(intrinsics, CROP_SIZE)
