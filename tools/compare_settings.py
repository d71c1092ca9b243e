"""Trains variants of the body network on the same batches, each from random weights, and compares them on held-out scenes.

    python tools/compare_settings.py --scenes 'scenes/train-*.npz' --validation 'scenes/validation-*.npz' \\
        --parts runs/parts/parts.h5 --json settings.json

Scenes must be of the Gaussian pose prior's codes. What a thousand steps tell is which way a setting pulls, not what it is worth
after a long run.
"""

import argparse
import dataclasses
import glob
import json
import os
import time
from typing import Callable, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from hund_tf import cli_values
from hund_tf.body.generative_body import GenerativeBody
from hund_tf.config import BodyConfig, HundConfig, ObjectiveConfig, TrainingConfig
from hund_tf.evaluation import metrics
from hund_tf.files import write_atomically
from hund_tf.sensing import part_segmentation
from hund_tf.state import THETA_BODY, BodyStateCodec
from hund_tf.training import regimes, runs, synthetic

_FEATURES = 256
_HIPS = (6, 7)  # of the limb joints
_SIX_SCALE = 0.3  # about the spread of a 6D rotation's numbers over motion capture


class RotationCodec(BodyStateCodec):
    """The packed state with 6D rotations of the joints in place of the pose prior's codes."""

    def __init__(self, body):
        self._flow = body.pose_flow_body
        self._rest = self._flow.forward(tf.zeros([1, THETA_BODY]))

    def unpack(self, packed, intrinsics, crop_size):
        six = self._rest + _SIX_SCALE * packed[:, :THETA_BODY]
        return super().unpack(tf.concat([self._flow.inverse(six), packed[:, THETA_BODY:]], -1), intrinsics, crop_size)


class Variant(NamedTuple):
    """One way to train: settings, and how it sees the common batches."""

    training: TrainingConfig = TrainingConfig(stage_weights=(0, 0.1, 0.3, 0.6, 1))
    num_stages: int = 5
    pose_prior: str = "gaussian"
    rotations: bool = False
    see: Callable = lambda summary: _features(summary, summary.feature_maps[..., :_FEATURES])


def variants():
    """The variants by name; the first is what the packaged preset is trained with."""
    as_packaged = Variant()

    def weighed(meta_loss, weights=None):
        return Variant(TrainingConfig(meta_loss=meta_loss, stage_weights=weights))

    return {
        "as packaged": as_packaged,
        "every stage counts alike": weighed("sum"),
        "meta-loss last": weighed("last"),
        "observable improvement, with s_1 to begin from": Variant(TrainingConfig(meta_loss="oi")),
        "3 stages": Variant(TrainingConfig(stage_weights=(0.1, 0.5, 1)), num_stages=3),
        "without the 3D estimate": as_packaged._replace(see=_without_landmarks),
        "without F": as_packaged._replace(see=lambda summary: _features(
            summary, tf.zeros_like(summary.feature_maps[..., :_FEATURES]))),
        "F of the part CNN's first layer": as_packaged._replace(see=_first_layer),
        "rotations in the state": as_packaged._replace(rotations=True),
        "flows' codes": as_packaged._replace(pose_prior="flow")}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", required=True, help="pattern of scene files to train on")
    parser.add_argument("--validation", required=True, help="pattern of held-out scene files")
    parser.add_argument("--parts", required=True, help="weights of the part CNN")
    parser.add_argument("--json", required=True, metavar="FILE", help="where the results go")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(variants()), help="variants (default: all)")
    parser.add_argument("--steps", type=cli_values.count(2), default=1200)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--held-out", type=int, default=512, help="scenes to validate on (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.held_out < options.batch_size:
        parser.error(f"--held-out must be at least --batch-size. Received: {options.held_out}, {options.batch_size}.")
    body = GenerativeBody.from_asset(pose_prior="gaussian")
    segmentation = part_segmentation.new(options.parts)
    shared = _Shared()
    learners = {name: _Learner(variant, body, shared, options) for name, variant in variants().items()
                if name in (options.only or variants())}
    started = time.time()
    for step, batch in enumerate(_batches(options.scenes, body, segmentation, options).take(options.steps)):
        for learner in learners.values():
            learner.learn(*batch)
        if step % 100 == 0:
            print(f"step {step}, {time.time() - started:.0f} s", flush=True)
    held_out = list(_batches(options.validation, body, segmentation, options, shuffle=False).take(
        options.held_out // options.batch_size))
    results = {}
    for name, learner in learners.items():
        results[name] = {**learner.measure(held_out), "ms_a_step": 1000 * learner.seconds / (options.steps - 1)}
        _write(options, results)
        print("| {} | {mpjpe_mm:.1f} / {pa_mpjpe_mm:.1f} | {ms_a_step:.0f} |".format(name, **results[name]), flush=True)


class _Shared:
    """What several variants have in common, made by the first that needs it."""

    def __init__(self):
        self._made = {}

    def get(self, key, make):
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


class _Learner:
    """A variant with its network; learns and is measured batch by batch."""

    def __init__(self, variant, body, shared, options):
        keras.utils.set_random_seed(options.seed)
        config = HundConfig(num_stages=variant.num_stages, body=BodyConfig(pose_prior=variant.pose_prior),
                            objective=ObjectiveConfig(part_map_size=0))
        if body.pose_prior != variant.pose_prior:
            own = shared.get(variant.pose_prior, lambda: GenerativeBody(**dataclasses.asdict(config.body)))
        else:
            own = body
        self._variant, self._common_body, self.seconds, self._compiled = variant, body, 0.0, False
        self._model = _SharingHund(config, own, variant, shared)
        self._model.compile(optimizer=runs.optimizer(options.learning_rate, options.steps))
        self._train_step = tf.function(self._model.train_step, autograph=False)
        self._limbs = tf.function(self._limb_joints, autograph=False)

    def learn(self, summary, labels):
        """One step; the first, which compiles, is not timed."""
        batch, started = self._seen(summary, labels), time.time()
        self._train_step(batch)
        self.seconds += (time.time() - started) * self._compiled
        self._compiled = True

    def measure(self, batches):
        """Errors of the last stage over 12 limb joints, millimetres: dict."""
        errors = [(metrics.mpjpe_mm(one, true, _HIPS), metrics.pa_mpjpe_mm(one, true))
                  for summary, labels in batches
                  for one, true in zip(*(x.numpy() for x in self._limbs(*self._seen(summary, labels))))]
        return dict(zip(("mpjpe_mm", "pa_mpjpe_mm"), np.mean(errors, axis=0).tolist()))

    def _limb_joints(self, summary, labels):
        bodies = self._model.descend(summary).reports[-1].body, self._model.body(labels.state, mesh=None)
        return tuple(tf.gather(one.joints, regimes.LIMBS, axis=1) for one in bodies)

    def _seen(self, summary, labels):
        if self._model.body is not self._common_body:
            rotations = self._common_body.rotations_from_theta(labels.state.theta)
            labels = labels._replace(state=labels.state._replace(theta=self._model.body.theta_from_rotations(rotations)))
        return self._variant.see(summary), labels


class _SharingHund(regimes.TrainableHund):
    """`TrainableHund` of a variant; what is compiled for one variant serves those that compute the same."""

    def __init__(self, config, body, variant, shared):
        self._variant, self._shared = variant, shared
        super().__init__(config, body, variant.training)
        kind = variant.training, variant.num_stages, variant.rotations, variant.pose_prior
        self._scored = shared.get(kind, lambda: self._scored)

    def _make_objective(self, rasterizer):
        if self._variant.rotations:
            self.codec = RotationCodec(self.body)
        make = super()._make_objective
        return self._shared.get((self._variant.rotations, self._variant.pose_prior), lambda: make(rasterizer))


class _TwoLayers:
    """The part CNN with two layers as F, `[B, 15, 15, 256 + 32]`: its own and, averaged, its first."""

    def __init__(self, segmentation):
        self._segmentation = segmentation

    def __call__(self, pooled_heatmaps, person_mask):
        features, logits = self._segmentation(pooled_heatmaps, person_mask)
        mask = tf.nn.space_to_depth(person_mask[..., None], 2)
        first = self._segmentation.enter(tf.concat([part_segmentation.condense(pooled_heatmaps), mask], axis=-1))
        return tf.concat([features, tf.nn.avg_pool2d(first, 2, 2, "VALID")], -1), logits


def _batches(pattern, body, segmentation, options, shuffle=True):
    scenes = synthetic.load_scenes(sorted(glob.glob(pattern)), body)
    return synthetic.body_dataset(scenes, body, _TwoLayers(segmentation), options.batch_size, options.seed, shuffle=shuffle)


def _features(summary, feature_maps):
    return summary._replace(feature_maps=feature_maps)


def _without_landmarks(summary):
    summary = _features(summary, summary.feature_maps[..., :_FEATURES])
    return summary._replace(landmarks3d=tf.zeros_like(summary.landmarks3d),
                            landmarks3d_confidence=tf.zeros_like(summary.landmarks3d_confidence))


def _first_layer(summary):
    first = summary.feature_maps[..., _FEATURES:]
    return _features(summary, tf.pad(first, [[0, 0], [0, 0], [0, 0], [0, _FEATURES - first.shape[-1]]]))


def _write(options, results):
    def write(temporary):
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump({"steps": options.steps, "batch_size": options.batch_size, "results": results}, file, indent=1)

    write_atomically(options.json, write)


if __name__ == "__main__":
    main()
