"""A part's network as it learns: scenes of hands or faces in, weights and a curve of validation error out."""

import functools
import glob

import keras
import numpy as np
import tensorflow as tf

from hund_tf.config import PartConfig
from hund_tf.geometry import camera, rotations
from hund_tf.losses import alignment, priors, supervision
from hund_tf.losses.procrustes import align
from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.training import callbacks, part_scenes, runs, synthetic
from hund_tf.training.part_evidence import detect
from hund_tf.whole_body.hund_part import HundPart
from hund_tf.whole_body.part_objective import PartObjective
from hund_tf.whole_body.part_shapes import FACE, HAND

TIPS = (4, 8, 12, 16, 20)  # of a hand's 21 keypoints
_POINTS_WEIGHT, _PLACE_WEIGHT, _PIXELS_WEIGHT, _PRIOR_WEIGHT = 40.0, 2.0, 10.0, 2e-4
_OWN_WEIGHT = {HAND: 0.0, FACE: 80.0}  # of points in the part's own frame: an expression moves them less than the head's turn


class TrainablePart(HundPart):
    """`HundPart` that learns from `(PartEvidence, PartState, keypoints)` batches with full supervision.

    Every stage loses the error of the keypoints about the root and that of the root over its depth, of the keypoints in the
    image, and the prior of the codes; of a face also that of the keypoints in its own frame. Metrics are `loss`, `error_mm`
    (fingertips of a hand, all points of a face, about the
    root), in validation `pa_mm` (all points after Procrustes alignment), and `loss_u_first` and `loss_u_last`.

    Args:
        compile_geometry: bool, whether posing and projection are compiled by XLA, which takes a minute at the start.
        Others as `HundPart`.
    """

    def __init__(self, config=PartConfig(), body=None, compile_geometry=True, **kwargs):
        self._wrap = functools.partial(tf.function, jit_compile=True, autograph=False) if compile_geometry else _as_it_is
        super().__init__(config, body, **kwargs)
        names = ("loss", "error_mm", "pa_mm", "loss_u_first", "loss_u_last", "gradient_norm")
        self._means = {name: keras.metrics.Mean(name=name) for name in names}
        self._lost = self._wrap(self._stage_losses)

    def _make_objective(self):
        return PartObjective(self.part_shape, self.codec, self.config.keypoint_weight, self.config.prior_weight, self._wrap)

    @property
    def metrics(self):
        return list(self._means.values())

    @tf.autograph.experimental.do_not_convert
    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss, values, _ = self._compare(*data)
            average = tf.nn.compute_average_loss(loss)
        values["gradient_norm"] = runs.learn(self, average, tape)
        return self._track(values)

    @tf.autograph.experimental.do_not_convert
    def test_step(self, data):
        _, values, (found, points) = self._compare(*data)
        aligned = tf.norm(align(found, points) - points, axis=-1)
        return self._track({**values, "pa_mm": 1000 * tf.reduce_mean(aligned, -1)})

    def _compare(self, evidence, truth, keypoints):
        """Loss `[B]`, the errors of the last stage, and its points and the true ones about the root."""
        descent = self(evidence)
        reports = [(report.state, report.keypoints) for report in descent.reports[1:]]
        loss = self._lost(reports, truth, keypoints, evidence.intrinsics)
        (state, found), points = reports[-1], keypoints - truth.translation[:, None]
        found -= state.translation[:, None]
        error = tf.norm(found - points, axis=-1)
        if self.config.kind == HAND:
            error = tf.gather(error, TIPS, axis=1)
        return loss, {"loss": loss, "error_mm": 1000 * tf.reduce_mean(error, -1),
                      "loss_u_first": descent.losses[0], "loss_u_last": descent.losses[-1]}, (found, points)

    def _stage_losses(self, reports, truth, keypoints, intrinsics):
        losses, own = [], _OWN_WEIGHT[self.config.kind]
        for state, found in reports:
            about, true_about = found - state.translation[:, None], keypoints - truth.translation[:, None]
            points = supervision.mean_point_error(about, true_about)
            away = alignment.safe_norm(state.translation - truth.translation) / truth.translation[:, 2]
            pixels, true_pixels = (camera.project(p, intrinsics) / CROP_SIZE for p in (found, keypoints))
            image = alignment.keypoint_alignment(pixels, true_pixels, tf.ones_like(pixels[..., 0]), limit=1.0)
            if own:
                losses.append(own * supervision.mean_point_error(_in_own_frame(state, about), _in_own_frame(truth, true_about)))
            losses.append(_POINTS_WEIGHT * points + _PLACE_WEIGHT * away + _PIXELS_WEIGHT * image
                          + _PRIOR_WEIGHT * priors.gaussian_prior(state.codes))
        return tf.add_n(losses)

    def _track(self, values):
        for name, value in values.items():
            self._means[name].update_state(value)
        return {name: self._means[name].result() for name in values}


def _in_own_frame(state, points):
    return tf.einsum("bji,bnj->bni", rotations.matrix_from_6d(state.rotation), points)


def _as_it_is(function):
    return function


def load_scenes(pattern, coding, kind):
    """Reads scene files of `tools/make_part_scenes.py` into one dict of arrays.

    Raises:
        ValueError: if there is none, one lacks a field, or one is of another body or part.
    """
    paths, parts = sorted(glob.glob(pattern)), []
    for path in paths:
        with np.load(path, allow_pickle=False) as data:
            missing = [name for name in (*part_scenes.FIELDS, "coding", "kind") if name not in data]
            if missing:
                raise ValueError(f"A scene file must hold {part_scenes.FIELDS}, coding and kind. {path} lacks {missing}.")
            made = str(data["coding"]), str(data["kind"])
            if made != (coding, kind):
                raise ValueError(f"Scenes must be of {(coding, kind)}. Received: {made} in {path}.")
            parts.append({name: data[name] for name in part_scenes.FIELDS})
    if not parts:
        raise ValueError(f"There must be a scene file. Received: {pattern!r}, which names none; "
                         "tools/make_part_scenes.py makes them.")
    return {name: np.concatenate([part[name] for part in parts]) for name in part_scenes.FIELDS}


def dataset(scenes, part_shape, batch_size=32, seed=0, noise=1.0, shuffle=True, start=0):
    """Batches `(PartEvidence, PartState, keypoints)`; as `synthetic.body_dataset` else."""
    def prepare(scene, seed):
        return detect(part_shape, scene, seed, noise)

    return synthetic.batches(scenes, batch_size, seed, shuffle, start).map(prepare, num_parallel_calls=1).prefetch(2)


def train_part(scenes, validation, run_dir, epochs=20, steps_per_epoch=1000, batch_size=32, seed=0, learning_rate=6e-4,
               config=PartConfig(), start_from=None, ema=None, patience=None, tensorboard=True):
    """Trains the network of a part and writes `weights.h5` in `run_dir`; arguments and errors as `train.train_body`."""
    runs.check_unfinished(run_dir, "weights.h5")
    keras.utils.set_random_seed(seed)
    model = TrainablePart(config)
    data, held_out = (load_scenes(pattern, model.body.coding, config.kind) for pattern in (scenes, validation))
    runs.begin(run_dir, epochs=epochs, steps_per_epoch=steps_per_epoch, batch_size=batch_size, seed=seed,
               learning_rate=learning_rate, ema=ema, network=config.to_dict(), scenes=scenes)
    model.build_weights()
    if start_from is not None:
        model.load_weights(start_from)
    model.compile(optimizer=runs.optimizer(learning_rate, epochs * steps_per_epoch, ema))
    model.optimizer.build(model.trainable_variables)
    epoch, step = callbacks.resume_point(run_dir, steps_per_epoch)
    history = model.fit(
        dataset(data, model.part_shape, batch_size, seed, start=epoch * steps_per_epoch + step),
        steps_per_epoch=steps_per_epoch, epochs=callbacks.epochs_to_do(run_dir, steps_per_epoch, epochs, patience),
        validation_data=dataset(held_out, model.part_shape, batch_size, seed, shuffle=False),
        callbacks=callbacks.make(run_dir, steps_per_epoch, None, patience, tensorboard), verbose=2)
    runs.save_finished(model, history, run_dir, "weights.h5", patience)
    return history
