"""Full supervision of the body network: the loss of each stage against the truth, with `model.fit`."""

import os

import keras
import tensorflow as tf

from hund_tf.config import SupervisionConfig
from hund_tf.geometry import camera
from hund_tf.hund import HundBody
from hund_tf.losses import alignment, meta_losses, priors, supervision
from hund_tf.losses.objective import BodyObjective
from hund_tf.networks.context_encoder import READ_KEYPOINTS
from hund_tf.sensing.heatmaps import CROP_SIZE

BODY_JOINTS = 22
LIMBS = (16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8)  # shoulders, elbows, wrists, hips, knees, ankles
_HAND_LABELS = (2, 3)
_HAND_WEIGHT = 0.1  # the body network does not see fingers


class SupervisedHund(HundBody):
    """`HundBody` that learns from `(EvidenceSummary, ModelState)` batches.

    `compile(optimizer=...)` and `fit(dataset)` as any Keras model; metrics are `loss`, `mpjpe_mm` and `pa_mpjpe_mm` of the
    last stage over 12 limb joints and `loss_u_first`, `loss_u_last`, what the descent minimises.

    Args:
        supervision: `SupervisionConfig`.
        Others as `HundBody`.
    """

    def __init__(self, *args, supervision_config=SupervisionConfig(), **kwargs):
        super().__init__(*args, **kwargs)
        self.supervision_config = supervision_config
        self.stage_weights = tuple(float(x) for x in os.environ['STAGE_WEIGHTS'].split(','))
        self._meta_loss = meta_losses.by_name(supervision_config.meta_loss)
        labels = tf.constant(self.body.part_labels("low"))
        is_hand = tf.reduce_any(labels[:, None] == tf.constant(_HAND_LABELS, labels.dtype), -1)
        self._vertex_weights = tf.where(is_hand, _HAND_WEIGHT, 1.0)
        names = ("loss", "mpjpe_mm", "pa_mpjpe_mm", "loss_u_first", "loss_u_last")
        self._means = {name: keras.metrics.Mean(name=name) for name in names}

    def _make_objective(self, rasterizer):
        return BodyObjective(self.body, self.codec, self.config.objective, rasterizer, part_gradient=False,
                             compile_geometry=True)

    @property
    def metrics(self):
        return list(self._means.values())

    def train_step(self, data):
        summary, truth = data
        with tf.GradientTape() as tape:
            loss, report = self._compare(summary, truth)
            average = tf.nn.compute_average_loss(loss)
        self.optimizer.minimize(average, self.trainable_variables, tape)
        return self._track(loss, report)

    def test_step(self, data):
        loss, report = self._compare(*data)
        return self._track(loss, report)

    def _compare(self, summary, truth):
        mean = self.codec.initial(tf.shape(summary.intrinsics)[0])
        context, first = self.context_encoder(summary, mean)
        return self._descend(first, context, summary, truth)

    def _descend(self, first, context, summary, truth):
        descent = self.neural_descent(first, context, summary)
        reports = [(report.state, report.body) for report in descent.reports]
        loss, points, true_points = self._score(reports, truth, summary.intrinsics)
        return loss, {"points": points, "true_points": true_points, "loss_u_first": descent.reports[0].loss,
                      "loss_u_last": descent.reports[-1].loss}

    @tf.function(jit_compile=True, autograph=False)
    def _score(self, reports, truth, intrinsics):
        """Meta-loss `[B]`, and the limb joints of the last stage and of the truth, `[B, 12, 3]`."""
        target = self.body(truth, mesh="low")
        weights = self.stage_weights
        losses = tf.stack([w * self._stage_loss(*report, truth, target, intrinsics) for w, report in zip(weights, reports) if w > 0])
        state, body = reports[-1]
        vertices = self.body(state, mesh="low").vertices
        mesh = supervision.mean_point_error(
            vertices - state.translation[:, None], target.vertices - truth.translation[:, None],
            self._vertex_weights)
        points, true_points = (tf.gather(b.joints, LIMBS, axis=1) - _root(b.joints) for b in (body, target))
        return self._meta_loss(losses) + self.supervision_config.mesh_weight * mesh, points, true_points

    def _stage_loss(self, state, body, truth, target, intrinsics):
        c = self.supervision_config
        points, true_points = (
            tf.concat([b.joints[:, :BODY_JOINTS], tf.gather(b.keypoints, READ_KEYPOINTS, axis=1)], 1)
            - s.translation[:, None] for b, s in ((body, state), (target, truth)))
        joints = supervision.mean_point_error(points, true_points)
        away = alignment.safe_norm(state.translation - truth.translation) / truth.translation[:, 2]
        pixels, true_pixels = (
            camera.project(b.keypoints[:, :25], intrinsics) / CROP_SIZE for b in (body, target))
        keypoints = alignment.keypoint_alignment(pixels, true_pixels, tf.ones_like(pixels[..., 0]), limit=1.0)
        return (c.joints_weight * joints + c.translation_weight * away
                + c.keypoint_weight * keypoints + c.pose_prior_weight * priors.gaussian_prior(state.theta)
                + c.shape_prior_weight * priors.gaussian_prior(state.shape))

    def _track(self, loss, report):
        points, truth = report["points"], report["true_points"]
        values = {"loss": loss, "loss_u_first": report["loss_u_first"], "loss_u_last": report["loss_u_last"],
                  "mpjpe_mm": 1000 * tf.reduce_mean(tf.norm(points - truth, axis=-1), -1),
                  "pa_mpjpe_mm": 1000 * tf.reduce_mean(tf.norm(_procrustes(points, truth) - truth, axis=-1), -1)}
        for name, metric in self._means.items():
            metric.update_state(values[name])
        return {name: metric.result() for name, metric in self._means.items()}


def _root(joints):
    return tf.reduce_mean(joints[:, 1:3], axis=1, keepdims=True)  # between the hips


def _procrustes(points, truth):
    """Points moved, turned and scaled onto the truth: `[B, N, 3]`."""
    centre = tf.reduce_mean(truth, 1, keepdims=True)
    points, truth = points - tf.reduce_mean(points, 1, keepdims=True), truth - centre
    s, u, v = tf.linalg.svd(tf.matmul(points, truth, transpose_a=True))
    sign = tf.sign(tf.linalg.det(tf.matmul(u, v, transpose_b=True)))
    flip = tf.stack([tf.ones_like(sign), tf.ones_like(sign), sign], -1)
    rotation = tf.matmul(u * flip[:, None], v, transpose_b=True)
    scale = tf.reduce_sum(s * flip, -1) / tf.maximum(tf.reduce_sum(tf.square(points), [1, 2]), 1e-9)
    return scale[:, None, None] * points @ rotation + centre
