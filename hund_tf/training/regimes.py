"""The body network as it learns: batches of evidence and labels in, by one of four regimes, with `model.fit`."""

import functools

import keras
import tensorflow as tf

from hund_tf.config import TrainingConfig
from hund_tf.hund import HundBody
from hund_tf.losses import meta_losses, supervision
from hund_tf.losses.objective import BodyObjective
from hund_tf.losses.procrustes import align
from hund_tf.networks.context_encoder import EvidenceSummary
from hund_tf.training import stage_losses
from hund_tf.training.examples import no_labels, readable_state

LIMBS = (16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8)  # joints: shoulders, elbows, wrists, hips, knees, ankles
_LIMB_KEYPOINTS = (5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11)  # the same in BODY_25
_HAND_LABELS = (2, 3)
_HAND_WEIGHT = 0.1  # the body network does not see fingers


class TrainableHund(HundBody):
    """`HundBody` that learns from `(EvidenceSummary, TrainingLabels)` batches, under "ss" also from `EvidenceSummary` alone.

    The regime of the config says which labels teach, the weights in the batch say which there are; an example without
    one adds nothing. `compile(optimizer=...)` and `fit(dataset)` as any Keras model. Metrics are `loss`,
    `mpjpe_mm` and `pa_mpjpe_mm` of the last stage over 12 limb joints of the examples with 3D labels (under any regime),
    `loss_u_first` and `loss_u_last`, what the descent minimises, and in training `gradient_norm`.

    Args:
        config: `HundConfig`.
        body: `GenerativeBody`; that of the config if None.
        training: `TrainingConfig`.
        compile_geometry: bool, whether posing, projection and losses are compiled by XLA: ten times faster, and a minute or
            two of compilation at the start.
        Others as `HundBody`; `training.precision` is the policy of the layers.

    Raises:
        ValueError: if there is not one stage weight for each stage.
    """

    def __init__(self, config, body=None, training=TrainingConfig(), compile_geometry=True, **kwargs):
        self._teaches_parts = training.regime != "fs"  # where 3D labels alone teach, L_b is only read
        self._wrap = functools.partial(tf.function, jit_compile=True, autograph=False) if compile_geometry else _as_it_is
        super().__init__(config, body, **{"dtype": training.precision, **kwargs})
        self.training_config = training
        self._stage_weights = _stage_weights(training, config.num_stages)
        self._meta_loss = meta_losses.by_name(training.meta_loss)
        labels = tf.constant(self.body.part_labels("low"))
        is_hand = tf.reduce_any(labels[:, None] == tf.constant(_HAND_LABELS, labels.dtype), -1)
        self._vertex_weights = tf.where(is_hand, _HAND_WEIGHT, 1.0)
        names = ("loss", "mpjpe_mm", "pa_mpjpe_mm", "loss_u_first", "loss_u_last", "gradient_norm")
        self._means = {name: keras.metrics.Mean(name=name) for name in names}
        self._scored = self._wrap(self._score)

    def _make_objective(self, rasterizer):
        return BodyObjective(self.body, self.codec, self.config.objective, rasterizer, part_gradient=self._teaches_parts,
                             wrap=self._wrap)

    def compile(self, optimizer="rmsprop", **kwargs):
        """As any Keras model; the optimizer's variables are made at once, else the first step would be traced twice."""
        super().compile(optimizer, **kwargs)
        if not self.built:
            self.build_weights()
        self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self):
        return list(self._means.values())

    @tf.autograph.experimental.do_not_convert
    def train_step(self, data):
        summary, labels = self._checked(data)
        with tf.GradientTape() as tape:
            loss, report = self._compare(summary, labels)
            average = tf.nn.compute_average_loss(loss)
        gradients = self.optimizer.compute_gradients(average, self.trainable_variables, tape)
        self.optimizer.apply_gradients(gradients)
        report["gradient_norm"] = self._norm([gradient for gradient, _ in gradients])
        return self._track(loss, report)

    @tf.autograph.experimental.do_not_convert
    def test_step(self, data):
        return self._track(*self._compare(*self._checked(data)))

    def _checked(self, data):
        """Evidence and labels of a batch; where it has no labels at all, the regime must need none."""
        data, regime = (data[0] if isinstance(data, tuple) and len(data) == 1 else data), self.training_config.regime
        if isinstance(data, EvidenceSummary):
            data = data, None
        summary, labels = data
        if labels is None:
            if regime in ("ws", "fs"):
                raise ValueError(f"Batches of regime {regime!r} must be (EvidenceSummary, TrainingLabels). Received: no labels.")
            labels = no_labels(tf.shape(summary.intrinsics)[0])
        return summary, labels

    def _compare(self, summary, labels):
        descent = self.descend(summary)
        reports = [(report.state, report.body) for report in descent.reports]
        part_losses = tf.stack([report.part_loss for report in descent.reports])
        loss, points, true_points, known = self._scored(reports, descent.losses, part_losses, labels, summary.intrinsics)
        return loss, {"points": points, "true_points": true_points, "known": known, "states": descent.states,
                      "loss_u_first": descent.losses[0], "loss_u_last": descent.losses[-1]}

    def _score(self, reports, losses_u, part_losses, labels, intrinsics):
        """Meta-loss `[B]`; limb joints about the hips of the last stage and of the labels `[B, 12, 3]`, where known `[B]`."""
        truth, regime = readable_state(labels), self.training_config.regime
        target = self.body(truth, mesh="low" if "fs" in regime else None)
        losses = [self._stage_loss(*report, loss_u, part_loss, labels, truth, target, intrinsics)
                  for report, loss_u, part_loss in zip(reports, tf.unstack(losses_u), tf.unstack(part_losses))]
        used = [weight * loss for weight, loss in zip(self._stage_weights, losses) if weight > 0]
        loss = self._meta_loss(tf.stack(used))
        state, body = reports[-1]
        if "fs" in regime:
            drawn = self.config.objective.part_map_size > 0  # then the objective has posed the low mesh already
            vertices = body.vertices if drawn else self.body(state, mesh="low").vertices
            mesh = supervision.mean_point_error(
                vertices - state.translation[:, None], target.vertices - truth.translation[:, None], self._vertex_weights)
            loss += self.training_config.mesh_weight * mesh * labels.has_state
        return loss, *_limbs(body, target, labels)

    def _stage_loss(self, state, body, loss_u, part_loss, labels, truth, target, intrinsics):
        config = self.training_config
        if config.regime == "ss":
            return loss_u
        if config.regime == "ws":
            return stage_losses.against_keypoints(state, body, part_loss, labels, intrinsics, self.config.objective)
        loss = labels.has_state * stage_losses.against_state(state, body, truth, target, intrinsics, config)
        loss += (1.0 - labels.has_state) * stage_losses.against_joints(state, body, labels, config)
        if config.regime == "fs":
            return loss
        taught = tf.maximum(labels.has_state, stage_losses.has_joints(labels))
        return loss + (1.0 - taught) * config.self_weight * loss_u

    def _norm(self, gradients):
        """Norm of all gradients; float16 overflows now and then, which the loss scale mends by itself."""
        norm = tf.linalg.global_norm(gradients)
        if self.training_config.precision == "mixed_float16":
            norm = tf.where(tf.math.is_finite(norm), norm, 0.0)
        return norm

    def _track(self, loss, report):
        points, truth = report["points"], report["true_points"]
        values = {"loss": loss, "loss_u_first": report["loss_u_first"], "loss_u_last": report["loss_u_last"],
                  "mpjpe_mm": 1000 * tf.reduce_mean(tf.norm(points - truth, axis=-1), -1),
                  "pa_mpjpe_mm": 1000 * tf.reduce_mean(tf.norm(align(points, truth) - truth, axis=-1), -1)}
        if "gradient_norm" in report:
            values["gradient_norm"] = report["gradient_norm"]
        for name, value in values.items():
            self._means[name].update_state(value, sample_weight=report["known"] if name.endswith("_mm") else None)
        return {name: self._means[name].result() for name in values}


def check_labels(labels, regime):
    """Refuses a batch that cannot teach under a regime.

    Args:
        labels: `TrainingLabels` with values, or None.
        regime: str, of `TrainingConfig`.

    Raises:
        ValueError: if no example of the batch carries a label that the regime needs.
    """
    needs = {"ws": ("keypoints_weight", "keypoint"), "fs": ("has_state or joints3d_weight", "3D")}
    if regime not in needs:
        return
    field, kind = needs[regime]
    weights = [] if labels is None else {"ws": [labels.keypoints_weight],
                                         "fs": [labels.has_state, labels.joints3d_weight]}[regime]
    if not any(bool(tf.reduce_any(weight > 0)) for weight in weights):
        raise ValueError(f"A batch of regime {regime!r} must hold {kind} labels, with {field} above 0. Received: none.")


def _as_it_is(function):
    return function


def _stage_weights(training, num_stages):
    """Weights of the losses of s_0 ... s_M."""
    weights = training.stage_weights or (1.0,) * num_stages
    if len(weights) != num_stages:
        raise ValueError(f"`stage_weights` must be {num_stages} numbers, one for each stage. Received: {weights}.")
    return (training.first_weight, *weights)


def _limbs(body, target, labels):
    """Limb joints of the last stage and of the labels, each about the middle of its hips, and where there are any."""
    from_state, by_state = labels.has_state[:, None, None] > 0, labels.has_state
    weight = tf.reduce_min(tf.gather(labels.joints3d_weight, _LIMB_KEYPOINTS, axis=1), -1)
    keypoints, true_keypoints = (tf.gather(p, _LIMB_KEYPOINTS, axis=1) for p in (body.keypoints, labels.joints3d))
    true_keypoints = tf.where(weight[:, None, None] > 0, true_keypoints, tf.stop_gradient(keypoints))
    joints, true_joints = (tf.gather(b.joints, LIMBS, axis=1) for b in (body, target))
    points = tf.where(from_state, joints - _root(joints), keypoints - _root(keypoints))
    truth = tf.where(from_state, true_joints - _root(true_joints), true_keypoints - _root(true_keypoints))
    return points, truth, tf.maximum(by_state, tf.cast(weight > 0, tf.float32))


def _root(limbs):
    return tf.reduce_mean(limbs[:, 6:8], axis=1, keepdims=True)  # between the hips
