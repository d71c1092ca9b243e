"""Scenes to batches: degraded evidence of each scene, drawn anew, as the network reads it."""

import numpy as np
import tensorflow as tf

from hund_tf.geometry import camera
from hund_tf.sensing import heatmaps
from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.sensing.landmark_sensing import describe_summary
from hund_tf.state import ModelState
from hund_tf.training import evidence as degraded
from hund_tf.training import orders
from hund_tf.training.examples import state_labels

FIELDS = ("theta", "shape", "expression", "rotation", "translation", "intrinsics", "image_bounds",
          "part_labels")


def load_scenes(paths, body):
    """Reads scene files (`.npz`) into one dict of arrays.

    Raises:
        ValueError: if there is none, one lacks a field, or one was made with codes of another meaning than `body`'s.
    """
    parts = []
    for path in paths:
        with np.load(path, allow_pickle=False) as data:
            missing = [name for name in (*FIELDS, "coding") if name not in data]
            if missing:
                raise ValueError(f"A scene file must hold {FIELDS} and coding. {path} lacks {missing}.")
            if str(data["coding"]) != body.coding:
                raise ValueError(f"Scenes must be made with the network's body and codes, {body.coding!r}. Received: "
                                 f"{str(data['coding'])!r} in {path}.")
            parts.append({name: data[name] for name in FIELDS})
    if not parts:
        raise ValueError("`paths` must name at least one scene file. Received none; tools/make_scenes.py makes them.")
    return {name: np.concatenate([part[name] for part in parts]) for name in FIELDS}


def truth_of(scene):
    """`ModelState` of a batch of scenes."""
    return ModelState(*(scene[name] for name in ModelState._fields))


def detect(body, scene, seed, noise):
    """Degraded detections of a batch of scenes; see `evidence.detect`."""
    posed = body(truth_of(scene), mesh=None)
    scene = {**scene, "keypoints": camera.project(posed.keypoints, scene["intrinsics"])}
    camera_from_ray = camera.camera_from_ray(scene["intrinsics"], CROP_SIZE)
    points_ray = tf.einsum("bji,bkj->bki", camera_from_ray, posed.keypoints[:, :25])
    return degraded.detect(scene, points_ray, seed, noise)


def examples_of(step, count, batch_size, seed):
    """Which scenes shuffled batch number `step` holds: int array `[batch_size]`."""
    places = step * batch_size + np.arange(batch_size)
    orders = {epoch: _order(epoch, count, seed).numpy() for epoch in np.unique(places // count)}
    return np.array([orders[place // count][place % count] for place in places])


def _order(epoch, count, seed):
    """The scenes of one pass, shuffled: int `[count]`."""
    return orders.shuffled(count, tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)]))


def batches(scenes, batch_size, seed, shuffle, start):
    """Batches of scenes and a seed for what detectors say of them: endless from step `start`, or one pass in order.

    Shuffled, each pass over the scenes has an order of its own that follows from its number, so that a resumed run goes on
    with the very batches that it would have had.
    """
    values = {name: tf.constant(value) for name, value in scenes.items()}
    count = len(next(iter(scenes.values())))
    chosen = tf.data.Dataset.range(count)
    if shuffle:
        epoch, done = divmod(start * batch_size, count)
        chosen = tf.data.Dataset.range(epoch, tf.int64.max).flat_map(
            lambda epoch: tf.data.Dataset.from_tensor_slices(_order(epoch, count, seed))).skip(done)
    chosen = chosen.batch(batch_size, drop_remainder=True)

    def pick(step, chosen):
        return {name: tf.gather(value, chosen) for name, value in values.items()}, tf.stack([tf.constant(seed, tf.int64), step])

    return chosen.enumerate(start if shuffle else 0).map(pick)


def body_dataset(scenes, body, segmentation, batch_size=32, seed=0, noise=1.0, shuffle=True, start=0, rows=slice(None)):
    """Batches for the body network: `(EvidenceSummary, TrainingLabels)`, every state known.

    Endless and shuffled for training, from step `start` on, one ordered pass with fixed noise otherwise. A step's batch follows
    from its number and the seed alone. Of each batch `rows` are given; the costly part is done for these alone.
    """

    def prepare(scene, seed):
        detected = detect(body, scene, seed, noise)  # of all rows: what is drawn depends on their number
        detected, scene = tf.nest.map_structure(lambda value: value[rows], (detected, scene))
        return describe_summary(segmentation, detected, scene["intrinsics"]), state_labels(truth_of(scene))

    return batches(scenes, batch_size, seed, shuffle, start).map(prepare, num_parallel_calls=1).prefetch(2)


def part_dataset(scenes, body, batch_size=32, seed=0, noise=1.0, shuffle=True, start=0):
    """Batches for the part CNN: `((K averaged, mask), labels)`, labels int32 `[B, 60, 60]`; as `body_dataset` else."""

    def prepare(scene, seed):
        detected = detect(body, scene, seed, noise)
        maps = heatmaps.paint_pooled_heatmaps(detected.keypoints, detected.confidence)
        return (maps, detected.person_mask), detected.part_labels

    return batches(scenes, batch_size, seed, shuffle, start).map(prepare, num_parallel_calls=1).prefetch(2)
