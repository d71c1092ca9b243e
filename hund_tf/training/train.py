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
from hund_tf.training import callbacks, examples, recorded, regimes, runs, strategies, synthetic
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
        FloatingPointError: if the loss became infinite or NaN; the last checkpoint is kept.
    """
    runs.check_unfinished(run_dir, "parts.h5")
    keras.utils.set_random_seed(seed)
    body, model = GenerativeBody(**dataclasses.asdict(body)), _PartLearner(new_segmentation(start_from))
    model.compile(optimizer=runs.optimizer(learning_rate, epochs * steps_per_epoch, ema))
    scenes, held_out = _load(scenes, body), _load(validation, body)
    start = _start(run_dir, steps_per_epoch)
    history = model.fit(
        synthetic.part_dataset(scenes, body, batch_size, seed, start=start), epochs=epochs, steps_per_epoch=steps_per_epoch,
        validation_data=synthetic.part_dataset(held_out, body, batch_size, seed, shuffle=False),
        callbacks=callbacks.make(run_dir, steps_per_epoch, _scene_names(scenes, batch_size, seed), patience, tensorboard),
        verbose=2)
    runs.save_finished(model.segmentation, history, run_dir, "parts.h5")
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
        patience: optional int, epochs without a better validation loss before the run stops.
        tensorboard: bool, whether to write scalars and pictures of the stages.
        compile_geometry: bool; see `TrainableHund`.

    Returns:
        `keras.callbacks.History`.

    Raises:
        FileExistsError: if the run is finished.
        FloatingPointError: if the loss became infinite or NaN; the last checkpoint is kept.
        ValueError: if the examples lack the labels that the regime needs, or there are none.
    """
    runs.check_unfinished(run_dir, "weights.h5")
    if scenes is None and records is None:
        raise ValueError("`scenes` or `records` must name what to learn from. Received: neither.")
    if isinstance(strategy, str):
        strategy = strategies.make(strategy)
    workers = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    chief = not workers or strategies.is_chief()
    if chief:
        runs.keep_settings(run_dir, config.to_dict())
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        model = regimes.TrainableHund(config, training=training, compile_geometry=compile_geometry)
        model.build_weights()
        if start_from is not None:
            model.load_weights(start_from)
        model.compile(optimizer=runs.optimizer(learning_rate, epochs * steps_per_epoch, ema))
    source = _Examples(model.body, new_segmentation(parts), batch_size, seed)
    source.check(scenes, records, training.regime)
    start = _start(run_dir, steps_per_epoch)
    dataset, describe = source.training(scenes, records, start)
    held_out = source.validation(validation)
    for _, labels in held_out.take(1):
        regimes.check_labels(labels, training.regime)
    panels = StagePanels(_first(held_out, _PANELS), os.path.join(run_dir, "tensorboard", "stages")) if tensorboard else None
    validation_steps = None
    if workers:
        validation_steps = sum(1 for _ in held_out)
        dataset, held_out = (examples.for_workers(data, strategy, batch_size) for data in (dataset, held_out))
        panels = None  # a picture is drawn by one process, a distributed network is run by all
    history = model.fit(
        dataset, epochs=epochs, steps_per_epoch=steps_per_epoch, validation_data=held_out, validation_steps=validation_steps,
        callbacks=callbacks.make(run_dir, steps_per_epoch, describe, patience, tensorboard, panels, chief),
        verbose=2 if chief else 0)
    if chief:
        runs.save_finished(model, history, run_dir, "weights.h5")
    return history


class _Examples:
    """Batches for the body network, of scene files and of records."""

    def __init__(self, body, segmentation, batch_size, seed):
        self._body, self._segmentation, self._batch_size, self._seed = body, segmentation, batch_size, seed

    def training(self, scenes, records, start):
        """Endless batches from step `start`, and what names the examples of a step."""
        makers = []
        if scenes is not None:
            makers.append(self._of_scenes(_load(scenes, self._body)))
        if records is not None:
            makers.append(self._of_records(self._read(records, True)))
        count = len(makers)
        datasets = [make(examples.turns_before(start, turn, count)) for turn, (make, _) in enumerate(makers)]
        dataset = datasets[0] if count == 1 else examples.alternate(*datasets, start=start)
        return dataset, lambda step: makers[step % count][1](step // count)

    def check(self, scenes, records, regime):
        """Refuses what cannot teach under a regime, by the first batch of records; scenes have 3D labels alone."""
        if regime == "ws" and scenes is not None:
            raise ValueError("Regime 'ws' needs labelled 2D keypoints, which records may have. Received: scenes.")
        if records is not None and regime in ("ws", "fs"):
            for _, labels in recorded.body_dataset(self._read(records, False), self._segmentation).take(1):
                regimes.check_labels(labels, regime)

    def validation(self, pattern):
        """One ordered pass."""
        if pattern.endswith(".npz"):
            return synthetic.body_dataset(_load(pattern, self._body), self._body, self._segmentation, self._batch_size,
                                          self._seed, shuffle=False)
        return recorded.body_dataset(self._read(pattern, False), self._segmentation)

    def _of_scenes(self, scenes):
        return (lambda start: synthetic.body_dataset(scenes, self._body, self._segmentation, self._batch_size, self._seed,
                                                     start=start), _scene_names(scenes, self._batch_size, self._seed))

    def _of_records(self, dataset):
        return (lambda start: recorded.body_dataset(dataset, self._segmentation, start),
                lambda step: recorded.sources_of(dataset, step))

    def _read(self, pattern, shuffle):
        from hund_tf.training import records

        return records.read(pattern, self._body.coding, batch_size=self._batch_size, shuffle=shuffle, seed=self._seed,
                            repeat=shuffle, drop_remainder=True)


def _scene_names(scenes, batch_size, seed):
    return lambda step: "scenes " + ", ".join(
        map(str, synthetic.examples_of(step, len(scenes["theta"]), batch_size, seed)))


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
    """`PartSegmentation` with its loss and the mean intersection over union."""

    def __init__(self, segmentation):
        super().__init__()
        self.segmentation = segmentation
        self._loss = keras.metrics.Mean(name="loss")
        self._iou = keras.metrics.MeanIoU(15, sparse_y_pred=False, name="mean_iou")

    @property
    def metrics(self):
        return [self._loss, self._iou]

    def call(self, inputs):
        return self.segmentation(*inputs)

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss, logits = self._compare(data)
            average = tf.nn.compute_average_loss(loss)
        self.optimizer.minimize(average, self.trainable_variables, tape)
        return self._track(loss, logits, data[1])

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
        return {m.name: m.result() for m in self.metrics}


def trainable_count(model):
    """Number of trainable parameters."""
    return int(sum(np.prod(v.shape) for v in model.trainable_variables))
