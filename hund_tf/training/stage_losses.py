"""What one stage of the descent loses against each kind of label: a posed state and labels in, `[B]` out."""

import tensorflow as tf

from hund_tf.geometry import camera
from hund_tf.losses import alignment, priors, supervision
from hund_tf.losses.objective import FAR
from hund_tf.networks.context_encoder import READ_KEYPOINTS
from hund_tf.sensing.heatmaps import CROP_SIZE

BODY_JOINTS = 22
_HIPS = (9, 12)  # BODY_25


def against_state(state, body, truth, target, intrinsics, config):
    """L_f without L_m: joints about the root, the root's place, clean 2D keypoints, priors.

    Args:
        state, body: `ModelState` of the stage and its `BodyOutput`.
        truth, target: those of the labels.
        intrinsics: `[B, 4]`, pixels.
        config: `TrainingConfig`.

    Returns:
        `[B]`.

    Source: Zanfir et al., CVPR 2021, Sec. 2.2, L_f.
    """
    points, true_points = (
        tf.concat([b.joints[:, :BODY_JOINTS], tf.gather(b.keypoints, READ_KEYPOINTS, axis=1)], 1)
        - s.translation[:, None] for b, s in ((body, state), (target, truth)))
    joints = supervision.mean_point_error(points, true_points)
    away = alignment.safe_norm(state.translation - truth.translation) / truth.translation[:, 2]
    pixels, true_pixels = (
        camera.project(b.keypoints[:, :25], intrinsics) / CROP_SIZE for b in (body, target))
    keypoints = alignment.keypoint_alignment(pixels, true_pixels, tf.ones_like(pixels[..., 0]), limit=1.0)
    return (config.joints_weight * joints + config.translation_weight * away
            + config.keypoint_weight * keypoints + _priors(state, config))


def against_joints(state, body, labels, config):
    """L_3d against labelled joints about their root, the root's place, and the priors, as nothing else holds the codes.

    The root is the middle of the hips where both are labelled, else the weighted mean of what is.

    Args:
        state, body: `ModelState` of the stage and its `BodyOutput`.
        labels: `TrainingLabels`; 0 comes back where `joints3d_weight` is 0 on all points that the network reads.
        config: `TrainingConfig`.

    Returns:
        `[B]`.
    """
    weight = tf.gather(labels.joints3d_weight, READ_KEYPOINTS, axis=1)
    points, truth = (tf.gather(p, READ_KEYPOINTS, axis=1) for p in (body.keypoints, labels.joints3d))
    truth = tf.where(weight[..., None] > 0, truth, 0.0)
    root, true_root = (_root(p, weight) for p in (points, truth))
    joints = supervision.mean_point_error(points - root, truth - true_root, weight)
    depth = tf.maximum(true_root[:, 0, 2], camera.MIN_DEPTH_M)
    away = alignment.safe_norm(root - true_root)[:, 0] / depth
    loss = config.joints_weight * joints + config.translation_weight * away + _priors(state, config)
    return loss * has_any(weight)


def against_keypoints(state, body, part_loss, labels, intrinsics, config):
    """L_u of Eq. 3 with labelled in place of detected keypoints.

    Args:
        state, body: `ModelState` of the stage and its `BodyOutput`.
        part_loss: L_b of the stage, `[B]`.
        labels: `TrainingLabels`; 0 comes back where `keypoints_weight` is 0 on all points that the network reads.
        intrinsics: `[B, 4]`, pixels.
        config: `ObjectiveConfig`.

    Returns:
        `[B]`.
    """
    weight = tf.gather(labels.keypoints_weight, READ_KEYPOINTS, axis=1)
    truth = tf.where(weight[..., None] > 0, tf.gather(labels.keypoints, READ_KEYPOINTS, axis=1), 0.0)
    pixels = camera.project(tf.gather(body.keypoints, READ_KEYPOINTS, axis=1), intrinsics)
    keypoints = alignment.keypoint_alignment(pixels / CROP_SIZE, truth / CROP_SIZE, weight, limit=FAR)
    return has_any(weight) * (config.keypoint_weight * keypoints + config.part_weight * part_loss + _priors(state, config))


def has_joints(labels):
    """1 where an example has labelled joints among those that the network reads: `[B]`."""
    return has_any(tf.gather(labels.joints3d_weight, READ_KEYPOINTS, axis=1))


def has_any(weight):
    """1 where any point of an example has weight: `[B, N]` -> `[B]`."""
    return tf.cast(tf.reduce_any(weight > 0, -1), tf.float32)


def _priors(state, config):
    return (config.pose_prior_weight * priors.gaussian_prior(state.theta)
            + config.shape_prior_weight * priors.gaussian_prior(state.shape))


def _root(points, weight):
    """`[B, N, 3]` and weights `[B, N]` -> `[B, 1, 3]`."""
    hips = tf.reduce_sum(tf.one_hot([READ_KEYPOINTS.index(i) for i in _HIPS], len(READ_KEYPOINTS)), 0)
    both = tf.reduce_sum(tf.cast(weight > 0, tf.float32) * hips, -1, keepdims=True) > 1.5
    weight = tf.where(both, hips, weight)
    total = tf.maximum(tf.reduce_sum(weight, -1, keepdims=True), 1e-8)
    return tf.reduce_sum(points * (weight / total)[..., None], 1, keepdims=True)
