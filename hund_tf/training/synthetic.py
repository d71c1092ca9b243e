"""Scenes to batches: degraded evidence of each scene, drawn anew, as the network reads it."""

import numpy as np
import tensorflow as tf

from hund_tf.geometry import camera
from hund_tf.sensing import heatmaps
from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.sensing.landmark_sensing import describe_summary
from hund_tf.state import ModelState
from hund_tf.training import evidence as degraded

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


def _batches(scenes, batch_size, seed, shuffle):
    count = len(scenes["theta"])
    dataset = tf.data.Dataset.from_tensor_slices({name: scenes[name] for name in FIELDS})
    if shuffle:
        dataset = dataset.shuffle(min(count, 20000), seed=seed).repeat()
    dataset = dataset.batch(batch_size, drop_remainder=True)
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=shuffle).batch(2, drop_remainder=True)
    return tf.data.Dataset.zip((dataset, seeds))


def body_dataset(scenes, body, segmentation, batch_size=32, seed=0, noise=1.0, shuffle=True):
    """Batches for the body network: `(EvidenceSummary, ModelState)`.

    Endless and shuffled for training, one ordered pass with fixed noise otherwise.
    """

    def prepare(scene, seed):
        detected = detect(body, scene, tf.cast(seed, tf.int64), noise)
        return describe_summary(segmentation, detected, scene["intrinsics"]), truth_of(scene)

    return _batches(scenes, batch_size, seed, shuffle).map(prepare, num_parallel_calls=1).prefetch(2)


def part_dataset(scenes, body, batch_size=32, seed=0, noise=1.0, shuffle=True):
    """Batches for the part CNN: `((K averaged, mask), labels)`, labels int32 `[B, 60, 60]`."""

    def prepare(scene, seed):
        detected = detect(body, scene, tf.cast(seed, tf.int64), noise)
        maps = heatmaps.paint_pooled_heatmaps(detected.keypoints, detected.confidence)
        return (maps, detected.person_mask), detected.part_labels

    return _batches(scenes, batch_size, seed, shuffle).map(prepare, num_parallel_calls=1).prefetch(2)
