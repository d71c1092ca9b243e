"""How the first CNN learns: records with pictures and evidence in, weights of a `MultitaskCNN` and a curve out.

Records of renders hold exact evidence and part labels; those of photos hold what the landmark networks saw, and B is
then what the part CNN makes of it: the network learns to say the same from the pixels alone. Where the part CNN is at
hand its F is learned too, so that a body network that was trained on it reads the new F as it did the old.
"""

import os

import keras
import numpy as np
import tensorflow as tf

from hund_tf.losses.maps import feature_loss, heatmap_loss, part_loss
from hund_tf.sensing import heatmaps
from hund_tf.sensing.heatmaps import CROP_SIZE, STRIDE
from hund_tf.sensing.multitask_cnn import MultitaskCNN
from hund_tf.sensing.part_segmentation import NUM_PARTS, weights_sha256
from hund_tf.training import callbacks, record_files, records, runs

# A bell covers 2 pi sigma^2 of the map's pixels: with the inverse as weight, a missed bell costs a few nats, as missed
# parts do.
WEIGHTS = "sensing.h5"  # in the folder of a finished run
FEATURES_OF = "features_of_parts_sha256"  # in a run's settings: the part CNN whose F it learned; null: it learned none
HEATMAP_WEIGHT = heatmaps.MAP_SIZE**2 / (2 * np.pi * heatmaps.SIGMA**2)
PART_WEIGHT = FEATURE_WEIGHT = 1.0
_STATISTICS_BATCH, _STATISTICS_BATCHES = 8, 8  # crops a batch, and batches, that fixed statistics are taken of
IN_SIGHT = 0.75  # keypoints labelled with more confidence count in `keypoint_error_px`


@keras.saving.register_keras_serializable("hund_tf")
class TrainableCNN(MultitaskCNN):
    """`MultitaskCNN` with its losses and metrics, for `compile` and `fit`; its weights are those of a `MultitaskCNN`.

    A batch is `(crops, targets)` as `dataset` gives it. Metrics: `loss`; `heatmap_loss` and `part_loss`, nats a pixel;
    `feature_loss`, 0 where there are no features to learn; `keypoint_error_px`, mean distance in pixels of the 480 crop
    over keypoints in sight; `mean_iou` of the parts and the background over all pixels so far; in training `gradient_norm`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._means = {name: keras.metrics.Mean(name=name)
                       for name in ("loss", "heatmap_loss", "part_loss", "feature_loss", "keypoint_error_px")}
        self._iou = keras.metrics.MeanIoU(NUM_PARTS, name="mean_iou")
        self._norm = keras.metrics.Mean(name="gradient_norm")

    @property
    def metrics(self):
        return [*self._means.values(), self._iou, self._norm]

    def train_step(self, data):
        with tf.GradientTape() as tape:
            losses, logits = self._compare(data, training=True)
            average = tf.nn.compute_average_loss(losses["loss"])
        self._norm.update_state(runs.learn(self, average, tape))
        return {**self._track(losses, logits, data[1]), "gradient_norm": self._norm.result()}

    def test_step(self, data):
        return self._track(*self._compare(data, training=False), data[1])

    def _compare(self, data, training):
        crops, targets = data
        logits = self(crops, training=training)
        maps = heatmaps.paint_heatmaps(targets["keypoints"], targets["confidence"], logits.keypoints.shape[1])
        heatmap = heatmap_loss(logits.keypoints, maps, targets["weight"])
        part = part_loss(logits.parts, targets["part_maps"])
        feature = feature_loss(logits.features, targets["features"]) if "features" in targets else tf.zeros_like(part)
        total = HEATMAP_WEIGHT * heatmap + PART_WEIGHT * part + FEATURE_WEIGHT * feature
        return {"loss": total, "heatmap_loss": heatmap, "part_loss": part, "feature_loss": feature}, logits

    def _track(self, losses, logits, targets):
        for name, value in losses.items():
            self._means[name].update_state(value)
        found, _ = heatmaps.read_keypoints(tf.sigmoid(logits.keypoints))
        self._means["keypoint_error_px"].update_state(
            tf.norm(found - targets["keypoints"], axis=-1), sample_weight=in_sight(targets))
        self._iou.update_state(tf.argmax(targets["part_maps"], -1), tf.argmax(logits.parts, -1))
        return {metric.name: metric.result() for metric in (*self._means.values(), self._iou)}


def in_sight(targets):
    """Which keypoints count as seen: float `[B, 137]`, 0 or 1."""
    return tf.cast((targets["confidence"] > IN_SIGHT) & (targets["weight"] > 0), tf.float32)


def dataset(paths, coding, batch_size=32, seed=0, segmentation=None, crop_side=CROP_SIZE, shuffle=True, start=0):
    """Batches for the first CNN.

    Args:
        paths: record files, as `records.read` takes them; each record must hold its image and evidence.
        coding: str, `GenerativeBody.coding`.
        batch_size, seed: int.
        segmentation: `PartSegmentation`, with weights; it says B where a record has no part labels.
        crop_side: int, a multiple of 32; less than 480 for pre-training.
        shuffle: bool; False: one ordered pass, the last batch may be smaller.
        start: int, batches to leave out; nothing of them is decoded.

    Returns:
        `tf.data.Dataset` of `(crops, targets)`: crops `[B, S, S, 3]` in [0, 1]; targets a dict with `keypoints`
        `[B, 137, 2]`, pixels of the 480 crop, `confidence` and `weight` `[B, 137]`, `part_maps` `[B, S/8, S/8, 15]`, and
        with `segmentation` and crops of 480 `features` `[B, 15, 15, 256]`.

    Raises:
        ValueError: if the first batch holds a record without image or evidence, or one without part labels and there
            is no `segmentation`.
    """
    read = records.read(paths, coding, images=True, batch_size=batch_size, shuffle=shuffle, seed=seed, repeat=shuffle,
                        drop_remainder=shuffle, start=start)
    needed = ("image", "evidence") + (() if segmentation else ("part_labels",))
    for first in read.take(1):
        for name in needed:
            for source, there in zip(first["source"].numpy(), first[f"has_{name}"].numpy()):
                if not there:
                    raise ValueError(f"Records must hold {', '.join(needed)} to train the first CNN. Received: "
                                     f"{source.decode()} without {name}.")
    batches = read.map(lambda record: examples(record, segmentation, crop_side), num_parallel_calls=1)
    return batches.prefetch(2)


def examples(record, segmentation=None, crop_side=CROP_SIZE):
    """A batch of records as a dict -> `(crops, targets)`, see `dataset`."""
    keypoints, confidence = record["keypoints"], record["confidence"]
    parts, features = tf.one_hot(record["part_labels"], NUM_PARTS), None
    if segmentation is not None:
        pooled = heatmaps.paint_pooled_heatmaps(keypoints, confidence)
        features, said = segmentation(pooled, record["person_mask"])
        parts = tf.where(record["has_part_labels"][:, None, None, None] > 0, parts, tf.nn.softmax(said))
    crops = record["image"]
    if crop_side != CROP_SIZE:
        crops = tf.image.resize(crops, [crop_side, crop_side], method="area")
        parts = tf.image.resize(parts, [crop_side // STRIDE, crop_side // STRIDE], method="area")
        features = None  # theirs are of another scale
    weight = tf.tile(record["has_evidence"][:, None], [1, keypoints.shape[1]])
    targets = {"keypoints": keypoints, "confidence": confidence, "weight": weight, "part_maps": parts}
    return crops, targets if features is None else {**targets, "features": features}


def train_sensing(paths, validation, run_dir, coding, epochs=50, steps_per_epoch=1000, batch_size=32, seed=0,
                  learning_rate=1e-3, segmentation=None, start_from=None, trunk_weights=None, batch_statistics=True,
                  frozen_stages=0, crop_side=CROP_SIZE, ema=None, patience=None, tensorboard=True):
    """Trains a `MultitaskCNN` on records and writes `sensing.h5` in `run_dir`; a run that was cut off goes on.

    Args:
        paths, validation: record files, see `dataset`.
        run_dir: str, folder of the run.
        coding: str, `GenerativeBody.coding`.
        epochs, steps_per_epoch, batch_size, seed: int.
        learning_rate: float, the highest of a cosine schedule with warm-up.
        segmentation, crop_side: see `dataset`.
        start_from: optional str, weights of a `MultitaskCNN` to start from.
        trunk_weights, batch_statistics: see `MultitaskCNN`. Without batch statistics those of the first crops are
            taken once, at the start.
        frozen_stages: int, stages of the trunk that keep what `start_from` or `trunk_weights` gave them, see
            `MultitaskCNN.freeze_trunk`.
        ema, patience, tensorboard: as in `train.train_body`.

    Returns:
        `keras.callbacks.History`.

    Raises:
        FileExistsError: if the run is finished.
        FloatingPointError: if the loss or its gradient became infinite or NaN; the last checkpoint is kept.
        ValueError: if records lack what there is to learn from, see `dataset`, or the run began with other settings.
    """
    runs.check_unfinished(run_dir, WEIGHTS)
    if frozen_stages and start_from is None and trunk_weights is None:
        raise ValueError("`frozen_stages` needs `start_from` or `trunk_weights`: random stages must learn. Received: neither.")
    features_of = None if segmentation is None or crop_side != CROP_SIZE else weights_sha256(segmentation)
    runs.begin(run_dir, epochs=epochs, steps_per_epoch=steps_per_epoch, batch_size=batch_size, seed=seed,
               learning_rate=learning_rate, ema=ema, records=_as_kept(paths, run_dir), coding=coding, crop_side=crop_side,
               batch_statistics=batch_statistics, frozen_stages=frozen_stages, **{FEATURES_OF: features_of})
    keras.utils.set_random_seed(seed)
    model = TrainableCNN(trunk_weights=trunk_weights, batch_statistics=batch_statistics)
    model(tf.zeros([1, 64, 64, 3]))
    if start_from is not None:
        model.load_weights(start_from)
    epoch, step = callbacks.resume_point(run_dir, steps_per_epoch)
    common = dict(coding=coding, batch_size=batch_size, segmentation=segmentation, crop_side=crop_side)
    batches = dataset(paths, seed=seed, start=epoch * steps_per_epoch + step, **common)
    if not batch_statistics and epoch + step == 0:
        first = dataset(paths, seed=seed, **{**common, "batch_size": _STATISTICS_BATCH})
        estimate_statistics(model, (crops for crops, _ in first.take(_STATISTICS_BATCHES)))
    model.freeze_trunk(frozen_stages)
    model.compile(optimizer=runs.optimizer(learning_rate, epochs * steps_per_epoch, ema))
    model.optimizer.build(model.trainable_variables)

    def describe(step):
        return "records " + ", ".join(records.sources_of(paths, step, batch_size, seed))

    history = model.fit(
        batches, epochs=callbacks.epochs_to_do(run_dir, steps_per_epoch, epochs, patience), steps_per_epoch=steps_per_epoch,
        validation_data=dataset(validation, shuffle=False, **common),
        callbacks=callbacks.make(run_dir, steps_per_epoch, describe, patience, tensorboard), verbose=2)
    runs.save_finished(model, history, run_dir, WEIGHTS, patience)
    return history


def _as_kept(paths, run_dir):
    """Record files as a run keeps them: its own by their place in its folder, which may move; others as they were named."""
    own = os.path.join(os.path.abspath(run_dir), "")
    return [os.path.relpath(path, run_dir) if os.path.abspath(path).startswith(own) else path
            for path in record_files.find(paths)]


def estimate_statistics(model, batches):
    """Sets a `MultitaskCNN`'s moving statistics to the mean of those of some batches of crops; other weights stay."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    before, model.batch_statistics = ([layer.momentum for layer in layers], model.batch_statistics), True
    for count, crops in enumerate(batches):
        for layer in layers:
            layer.momentum = count / (count + 1)
        model(crops, training=True)
    for layer, momentum in zip(layers, before[0]):
        layer.momentum = momentum
    model.batch_statistics = before[1]
