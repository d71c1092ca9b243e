"""Training runs: scene files or records in, weights and a curve of validation error out, with `model.fit`.

A run keeps everything in its folder: checkpoints, `curve.csv`, `best.h5`, TensorBoard logs, `weights.h5`. Started again after
it was cut off, it goes on at its last checkpoint with the batches it would have had; a finished run is not started again.
"""

import dataclasses
import glob
import os

import keras
import numpy as np
import tensorflow as tf

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.config import BodyConfig, HundConfig, TrainingConfig
from hund_tf.sensing.part_segmentation import new as new_segmentation
from hund_tf.sensing.part_segmentation import weights_sha256
from hund_tf.training import callbacks, examples, recorded, regimes, runs, strategies, synthetic
from hund_tf.training import records as record_reader
from hund_tf.training.panels import StagePanels

_PANELS = 4  # validation examples drawn after each epoch


def train_parts(scenes, validation, run_dir, epochs=8, steps_per_epoch=400, batch_size=32, seed=0, learning_rate=1.5e-3,
                body=BodyConfig(), start_from=None, ema=None, patience=None, tensorboard=True):
    """Trains the part CNN on rendered scenes and writes `parts.h5` in `run_dir`.

    Args:
        scenes, validation: patterns of scene files.
        run_dir: str, folder of the run.
        epochs, steps_per_epoch, batch_size, seed: int.
        learning_rate: float, the highest of the cosine schedule.
        body: `BodyConfig` that the scenes were made with.
        start_from: optional str, weights to start from.
        ema, patience, tensorboard: as in `train_body`.

    Returns:
        `keras.callbacks.History`.

    Raises:
        FileExistsError: if the run is finished.
        FloatingPointError: if the loss or its gradient became infinite or NaN; the last checkpoint is kept.
        ValueError: if the run began with other settings.
    """
    runs.check_unfinished(run_dir, "parts.h5")
    runs.begin(run_dir, epochs=epochs, steps_per_epoch=steps_per_epoch, batch_size=batch_size, seed=seed,
               learning_rate=learning_rate, ema=ema, body=dataclasses.asdict(body), scenes=scenes)
    keras.utils.set_random_seed(seed)
    body, model = GenerativeBody(**dataclasses.asdict(body)), _PartLearner(new_segmentation(start_from))
    model.compile(optimizer=runs.optimizer(learning_rate, epochs * steps_per_epoch, ema))
    model.optimizer.build(model.trainable_variables)
    scenes, held_out = _load(scenes, body), _load(validation, body)
    start = _start(run_dir, steps_per_epoch)
    history = model.fit(
        synthetic.part_dataset(scenes, body, batch_size, seed, start=start), steps_per_epoch=steps_per_epoch,
        epochs=callbacks.epochs_to_do(run_dir, steps_per_epoch, epochs, patience),
        validation_data=synthetic.part_dataset(held_out, body, batch_size, seed, shuffle=False),
        callbacks=callbacks.make(run_dir, steps_per_epoch, _scene_names(scenes, batch_size, seed), patience, tensorboard),
        verbose=2)
    runs.save_finished(model, history, run_dir, "parts.h5", patience)
    return history


def train_body(scenes, validation, parts, run_dir, epochs=20, steps_per_epoch=1000, batch_size=32, seed=0,
               learning_rate=6e-4, config=HundConfig(), training=TrainingConfig(), start_from=None, records=None,
               strategy="none", ema=None, patience=None, tensorboard=True, compile_geometry=True):
    """Trains the body network and writes `weights.h5` in `run_dir`.

    The paper trains with batches of 32 at a fixed learning rate of 1e-4 for 50 epochs. Ours is higher, with warm-up and cosine
    decay: from random weights it reaches the same error in fewer steps, and on two cores steps are what is scarce.

    Args:
        scenes: pattern of scene files, or None where records alone teach.
        validation: pattern of scene files, or of records (`.tfrecord`).
        parts: str, weights of the part CNN.
        run_dir: str, folder of the run.
        epochs, steps_per_epoch, batch_size, seed: int; the batch is that of all replicas together.
        learning_rate: float, the highest of the cosine schedule.
        config: `HundConfig`.
        training: `TrainingConfig`.
        start_from: optional str, weights to start from.
        records: optional pattern of record files; with scenes too, batches of both take turns.
        strategy: str or `tf.distribute.Strategy`; see `strategies.make`.
        ema: optional float, momentum of averaged weights; these are validated and saved.
        patience: optional int, epochs without a better validation loss before the run stops; it then leaves the weights of
            its best epoch.
        tensorboard: bool, whether to write scalars and pictures of the stages.
        compile_geometry: bool; see `TrainableHund`.

    Returns:
        `keras.callbacks.History`.

    Raises:
        FileExistsError: if the run is finished.
        FloatingPointError: if the loss or its gradient became infinite or NaN; the last checkpoint is kept.
        ValueError: if the examples lack the labels that the regime needs, or there are none; if the run began with other
            settings.
    """
    runs.check_unfinished(run_dir, "weights.h5")
    if scenes is None and records is None:
        raise ValueError("`scenes` or `records` must name what to learn from. Received: neither.")
    if isinstance(strategy, str):
        strategy = strategies.make(strategy)
    workers = strategies.several_workers(strategy)
    chief = not workers or strategies.is_chief()
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        model = regimes.TrainableHund(config, training=training, compile_geometry=compile_geometry)
        model.build_weights()
        if start_from is not None:
            model.load_weights(start_from)
        model.compile(optimizer=runs.optimizer(learning_rate, epochs * steps_per_epoch, ema))
    segmentation = new_segmentation(parts)
    source = _Examples(model.body, segmentation, batch_size, seed, scenes, records)
    source.check(training.regime)
    start = _start(run_dir, steps_per_epoch)
    dataset, held_out = source.training(start), source.validation(validation)
    for _, labels in held_out.take(1):
        regimes.check_labels(labels, training.regime)
    panels, validation_steps = None, None
    if workers:  # a picture is drawn by one process, a distributed network is run by all: no panels
        validation_steps = len(held_out)
        dataset, held_out = (examples.for_workers(make, strategy, batch_size) for make in (
            lambda rows: source.training(start, rows), lambda rows: source.validation(validation, rows)))
    elif tensorboard:
        panels = StagePanels(_first(held_out, _PANELS), os.path.join(run_dir, "tensorboard", "stages"))
    if chief:
        runs.begin(run_dir, epochs=epochs, steps_per_epoch=steps_per_epoch, batch_size=batch_size, seed=seed,
                   learning_rate=learning_rate, ema=ema, network=config.to_dict(), training=dataclasses.asdict(training),
                   scenes=scenes, records=records, parts_sha256=weights_sha256(segmentation))
    history = model.fit(
        dataset, epochs=callbacks.epochs_to_do(run_dir, steps_per_epoch, epochs, patience), steps_per_epoch=steps_per_epoch,
        validation_data=held_out, validation_steps=validation_steps,
        callbacks=callbacks.make(run_dir, steps_per_epoch, source.describe, patience, tensorboard, panels, chief),
        verbose=2 if chief else 0)
    runs.save_finished(model, history, run_dir, "weights.h5", patience, strategy)
    return history


class _Examples:
    """Batches for the body network, of scene files and of records; where both are given, they take turns."""

    def __init__(self, body, segmentation, batch_size, seed, scenes, records):
        self._body, self._segmentation, self._batch_size, self._seed = body, segmentation, batch_size, seed
        self._records, self._scenes = records, None if scenes is None else _load(scenes, body)
        self._makers, self._names = [], []
        if scenes is not None:
            self._makers.append(lambda start, rows: self._of_scenes(self._scenes, start=start, rows=rows))
            self._names.append(_scene_names(self._scenes, batch_size, seed))
        if records is not None:
            self._makers.append(lambda start, rows: self._of_records(records, True, start=start, rows=rows))
            self._names.append(_record_names(records, batch_size, seed))

    def check(self, regime):
        """Refuses what cannot teach under a regime, by the first batch of records; scenes have 3D labels alone."""
        if regime == "ws" and self._scenes is not None:
            raise ValueError("Regime 'ws' needs labelled 2D keypoints, which records may have. Received: scenes.")
        if self._records is not None and regime in ("ws", "fs"):
            for _, labels in self._of_records(self._records, False).take(1):
                regimes.check_labels(labels, regime)

    def training(self, start, rows=slice(None)):
        """Endless batches from step `start`; of each these rows."""
        count = len(self._makers)
        datasets = [make(examples.turns_before(start, turn, count), rows) for turn, make in enumerate(self._makers)]
        return datasets[0] if count == 1 else examples.alternate(*datasets, start=start)

    def describe(self, step):
        """Which examples the batch of a step holds, as one text."""
        count = len(self._names)
        return self._names[step % count](step // count)

    def validation(self, pattern, rows=slice(None)):
        """One ordered pass over a pattern of scene files or of records."""
        if pattern.endswith(".npz"):
            return self._of_scenes(_load(pattern, self._body), shuffle=False, rows=rows)
        return self._of_records(pattern, False, rows=rows)

    def _of_scenes(self, scenes, **settings):
        return synthetic.body_dataset(scenes, self._body, self._segmentation, self._batch_size, self._seed, **settings)

    def _of_records(self, pattern, shuffle, **settings):
        return recorded.body_dataset(record_reader.read(
            pattern, self._body.coding, batch_size=self._batch_size, shuffle=shuffle, seed=self._seed, repeat=shuffle,
            drop_remainder=True, **settings), self._segmentation)


def _scene_names(scenes, batch_size, seed):
    return lambda step: "scenes " + ", ".join(
        map(str, synthetic.examples_of(step, len(scenes["theta"]), batch_size, seed)))


def _record_names(paths, batch_size, seed):
    return lambda step: "records " + ", ".join(record_reader.sources_of(paths, step, batch_size, seed))


def _first(dataset, count):
    """`EvidenceSummary` of the first examples."""
    for summary, _ in dataset.take(1):
        return tf.nest.map_structure(lambda value: value[:count], summary)
    raise ValueError("Validation must hold at least one whole batch. Received: fewer examples.")


def _start(run_dir, steps_per_epoch):
    epoch, step = callbacks.resume_point(run_dir, steps_per_epoch)
    return epoch * steps_per_epoch + step


def _load(pattern, body):
    return synthetic.load_scenes(sorted(glob.glob(pattern)), body)


class _PartLearner(keras.Model):
    """`PartSegmentation` with its loss and the mean intersection over union; files of weights are of the former alone."""

    def __init__(self, segmentation):
        super().__init__()
        self.segmentation = segmentation
        self._loss = keras.metrics.Mean(name="loss")
        self._iou = keras.metrics.MeanIoU(15, sparse_y_pred=False, name="mean_iou")
        self._norm = keras.metrics.Mean(name="gradient_norm")

    @property
    def metrics(self):
        return [self._loss, self._iou, self._norm]

    def call(self, inputs):
        return self.segmentation(*inputs)

    def save_weights(self, *args, **kwargs):
        return self.segmentation.save_weights(*args, **kwargs)

    def load_weights(self, *args, **kwargs):
        return self.segmentation.load_weights(*args, **kwargs)

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss, logits = self._compare(data)
            average = tf.nn.compute_average_loss(loss)
        self._norm.update_state(runs.learn(self, average, tape))
        return {**self._track(loss, logits, data[1]), "gradient_norm": self._norm.result()}

    def test_step(self, data):
        loss, logits = self._compare(data)
        return self._track(loss, logits, data[1])

    def _compare(self, data):
        (heatmaps, mask), labels = data
        _, logits = self.segmentation(heatmaps, mask)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        weight = tf.where(labels > 0, 2.0, 1.0)  # most pixels are background
        return tf.reduce_mean(loss * weight, [1, 2]), logits

    def _track(self, loss, logits, labels):
        self._loss.update_state(loss)
        self._iou.update_state(labels, logits)
        return {"loss": self._loss.result(), "mean_iou": self._iou.result()}


def trainable_count(model):
    """Number of trainable parameters."""
    return int(sum(np.prod(v.shape) for v in model.trainable_variables))
