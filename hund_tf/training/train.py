"""Training runs: scene files in, weights and a curve of validation error out, with `model.fit`.

A run keeps everything in its folder: checkpoints, `curve.csv`, `weights.h5`. Started again after it was cut off, it
goes on at its last checkpoint; a finished run is not started again.
"""

import dataclasses
import glob
import os

import keras
import numpy as np
import tensorflow as tf

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.config import BodyConfig, HundConfig, SupervisionConfig
from hund_tf.sensing.part_segmentation import PartSegmentation
from hund_tf.training import synthetic
from hund_tf.training.supervised import SupervisedHund

_SAVE_EVERY = 200  # steps between checkpoints
_EMPTY_K = (1, 30, 30, 137)


def train_parts(scenes, validation, run_dir, epochs=8, steps_per_epoch=400, batch_size=32, seed=0, learning_rate=1.5e-3,
                body=BodyConfig(), start_from=None):
    """Trains the part CNN on rendered scenes and writes `parts.h5` in `run_dir`.

    Args:
        scenes, validation: patterns of scene files.
        run_dir: str, folder of the run.
        epochs, steps_per_epoch, batch_size, seed: int.
        learning_rate: float, the highest of the cosine schedule.
        body: `BodyConfig` that the scenes were made with.
        start_from: optional str, weights to start from.

    Returns:
        `keras.callbacks.History`.

    Raises:
        FileExistsError: if the run is finished.
        FloatingPointError: if the loss became infinite or NaN; nothing is written then.
    """
    _check_unfinished(run_dir, "parts.h5")
    keras.utils.set_random_seed(seed)
    body, model = GenerativeBody(**dataclasses.asdict(body)), _PartLearner(new_segmentation(start_from))
    model.compile(optimizer=_optimizer(learning_rate, epochs * steps_per_epoch))
    history = model.fit(
        synthetic.part_dataset(_load(scenes, body), body, batch_size, seed), epochs=epochs, steps_per_epoch=steps_per_epoch,
        validation_data=synthetic.part_dataset(_load(validation, body), body, batch_size, seed, shuffle=False),
        callbacks=_callbacks(run_dir, steps_per_epoch), verbose=2)
    _save_finished(model.segmentation, history, run_dir, "parts.h5")
    return history


def train_body(scenes, validation, parts, run_dir, epochs=20, steps_per_epoch=1000, batch_size=32, seed=0,
               learning_rate=6e-4, config=HundConfig(), supervision=SupervisionConfig(), start_from=None):
    """Trains the body network on rendered scenes and writes `weights.h5` in `run_dir`.

    Args:
        scenes, validation: patterns of scene files.
        parts: str, weights of the part CNN.
        run_dir: str, folder of the run.
        epochs, steps_per_epoch, batch_size, seed: int.
        learning_rate: float, the highest of the cosine schedule.
        config: `HundConfig`.
        supervision: `SupervisionConfig`.
        start_from: optional str, weights to start from.

    Returns:
        `keras.callbacks.History`.

    Raises:
        FileExistsError: if the run is finished.
        FloatingPointError: if the loss became infinite or NaN; nothing is written then.
    """
    _check_unfinished(run_dir, "weights.h5")
    keras.utils.set_random_seed(seed)
    segmentation = new_segmentation(parts)
    model = SupervisedHund(config, supervision_config=supervision)
    model.build_weights()
    if start_from is not None:
        model.load_weights(start_from)
    model.compile(optimizer=_optimizer(learning_rate, epochs * steps_per_epoch))
    history = model.fit(
        synthetic.body_dataset(_load(scenes, model.body), model.body, segmentation, batch_size, seed),
        epochs=epochs, steps_per_epoch=steps_per_epoch,
        validation_data=synthetic.body_dataset(_load(validation, model.body), model.body, segmentation, batch_size, seed, shuffle=False),
        callbacks=_callbacks(run_dir, steps_per_epoch), verbose=2)
    _save_finished(model, history, run_dir, "weights.h5")
    return history


def new_segmentation(weights=None):
    """A built part CNN, with weights from a file if given."""
    model = PartSegmentation()
    maps = tf.zeros(_EMPTY_K)
    model(maps, tf.zeros([1, 60, 60]))
    if weights is not None:
        model.load_weights(weights)
    return model


def _load(pattern, body):
    return synthetic.load_scenes(sorted(glob.glob(pattern)), body)


def _optimizer(learning_rate, steps):
    warmup = max(min(500, steps // 10), 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 20, max(steps - warmup, 1), alpha=0.01, warmup_target=learning_rate, warmup_steps=warmup)
    return keras.optimizers.Adam(schedule, clipnorm=1.0, use_ema=True, ema_momentum=0.999)


def _check_unfinished(run_dir, weights):
    path = os.path.join(run_dir, weights)
    if os.path.exists(path):
        raise FileExistsError(f"A run must be new or unfinished. Received: {path}, which a finished run left.")


def _callbacks(run_dir, steps_per_epoch):
    os.makedirs(run_dir, exist_ok=True)
    return [
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.BackupAndRestore(os.path.join(run_dir, "backup"), save_freq=min(_SAVE_EVERY, steps_per_epoch)),
        keras.callbacks.CSVLogger(os.path.join(run_dir, "curve.csv"), append=True),
        keras.callbacks.ModelCheckpoint(os.path.join(run_dir, "best.h5"), save_weights_only=True, save_best_only=True)]


def _save_finished(model, history, run_dir, name):
    losses = history.history.get("loss", [])
    if not np.all(np.isfinite(losses)) or not all(np.all(np.isfinite(v)) for v in model.get_weights()):
        raise FloatingPointError(f"The loss must stay finite. Received: {losses[-1]} in the last epoch of {run_dir}; "
                                 "best.h5 holds the weights before. A lower learning rate may help.")
    model.save_weights(os.path.join(run_dir, name))


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
