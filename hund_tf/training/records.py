"""The schema of training records: one person's crop, evidence and labels to bytes, and files to a `tf.data.Dataset`.

A record is a `tf.train.Example`, version 1. Always there: `version`, `source`, `intrinsics`, `image_bounds`. There
whole or not at all: the image; the evidence (what `LandmarkNetworks` saw); 2D labels; 3D labels; the state with the
`coding` that its codes belong to; part labels. Shapes and units stand at `encode`.
"""

import numpy as np
import tensorflow as tf

from hund_tf.sensing.heatmaps import CROP_SIZE, MAP_SIZE
from hund_tf.state import EXPRESSION, FACING_ROTATION, SHAPE, THETA
from hund_tf.training import orders, record_files

VERSION = 1
PARTS = 15
_ALWAYS = {"intrinsics": (4,), "image_bounds": (4,)}
_EVIDENCE = {"keypoints": (137, 2), "confidence": (137,), "landmarks3d": (25, 3), "landmarks3d_confidence": (25,)}
_LABELS2D = {"label_keypoints": (137, 2), "label_keypoints_weight": (137,)}
_LABELS3D = {"joints3d": (137, 3), "joints3d_weight": (137,)}
_STATE = {"theta": (THETA,), "shape": (SHAPE,), "expression": (EXPRESSION,), "rotation": (6,), "translation": (3,)}
FLOATS = {**_ALWAYS, **_EVIDENCE, **_LABELS2D, **_LABELS3D, **_STATE}
_MAPS = ("person_mask", "part_labels")  # PNG
_GROUPS = (("image",), (*_EVIDENCE, "person_mask"), tuple(_LABELS2D), tuple(_LABELS3D), (*_STATE, "coding"),
           ("part_labels",))
_BATCH = 32  # records parsed at a time where single ones are asked for


def encode(source, **values):
    """Serializes one record.

    Args:
        source: str, data set and what it is in there, such as "coco/train2017/000000000009.jpg/1".
        **values: `intrinsics` `[4]` of the crop, pixels; `image_bounds` `[4]`, x0, y0, x1, y1 of the photo in crop
            pixels; `image`, bytes of a JPEG or PNG of 480 x 480 pixels; `keypoints` `[137, 2]` crop pixels,
            `confidence` `[137]`, `person_mask` `[60, 60]` in [0, 1], `landmarks3d` `[25, 3]` metres and
            `landmarks3d_confidence` `[25]`; `label_keypoints` `[137, 2]` crop pixels and `label_keypoints_weight`
            `[137]`; `joints3d` `[137, 3]` metres in the crop's camera and `joints3d_weight` `[137]`; the parts of
            `ModelState` without batch, and `coding`, str, `GenerativeBody.coding`; `part_labels` `[60, 60]`, 0 to 14.

    Returns:
        bytes.

    Raises:
        ValueError: if a value is unknown, of another shape or not finite, or a group is not whole.
    """
    feature = {"version": _ints([VERSION]), "source": _bytes(source.encode())}
    for name, value in values.items():
        if name in FLOATS:
            feature[name] = _floats(name, value)
        elif name in _MAPS:
            feature[name] = _png(name, value)
        elif name == "image":
            feature[name] = _bytes(value)
        elif name == "coding":
            feature[name] = _bytes(value.encode())
        else:
            raise ValueError(f"A record's values must be of {sorted({*FLOATS, *_MAPS, 'image', 'coding'})}. "
                             f"Received: {name!r}.")
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    problem = _problem(example)
    if problem:
        raise ValueError(f"{problem} Source: {source}.")
    return example.SerializeToString()


def read(paths, coding, images=False, batch_size=None, shuffle=True, seed=0, repeat=False, buffer=2048,
         drop_remainder=False, start=0, rows=slice(None)):
    """Records as dense tensors; what a record lacks is zero, with weight 0 or a flag of 0.

    The same files, arguments and seed give the same order, each time the dataset is gone through; see `orders.records`.

    Args:
        paths: str, path or pattern, or a list of paths; see `record_files.find`.
        coding: str, `GenerativeBody.coding` of the body in use; states must be of it.
        images: bool, whether to decode images.
        batch_size: int; None for single records.
        shuffle: bool; False gives file after file, record after record.
        seed: int.
        repeat: bool, endless or one pass.
        buffer: int, records.
        drop_remainder: bool, whether a smaller last batch is left out.
        start: int, batches (records, if single) to leave out at the start; nothing of them is decoded.
        rows: slice, which part of each batch is wanted; nothing of the rest is decoded.

    Returns:
        `tf.data.Dataset` of dicts, float32 unless said: all that `encode` takes; `source` string; `part_labels` int32;
        `image` `[480, 480, 3]` in [0, 1] if `images`; flags `has_image`, `has_evidence`, `has_state`,
        `has_part_labels`, 0 or 1. A missing rotation is that of a person who faces the camera, since a zero is none.

    Raises:
        FileNotFoundError: if no file matches or a shard is missing.
        ValueError: if a file is not complete, or its first record has another version, another coding or lacks a
            feature. The same in a later record is an `InvalidArgumentError` while reading.
    """
    paths, counts = _counted(paths)
    for path in (path for path, count in zip(paths, counts) if count):
        _check_first(path, coding)
    total, size = sum(counts), batch_size or 1
    dataset = orders.records(paths, total, shuffle, seed, repeat, buffer, start * size)
    drop_remainder = drop_remainder and bool(batch_size)
    dataset = dataset.batch(batch_size or _BATCH, drop_remainder=drop_remainder)
    dataset = dataset.map(lambda path, record: parse(record[rows], path[rows], coding, images), num_parallel_calls=1,
                          deterministic=True)
    dataset = dataset if batch_size else dataset.unbatch()
    left = tf.data.INFINITE_CARDINALITY if repeat else max((total if drop_remainder else total + size - 1) // size - start, 0)
    return dataset.apply(tf.data.experimental.assert_cardinality(left)).prefetch(1)


def sources_of(paths, step, batch_size, seed=0):
    """Where the records of batch number `step` of an endless shuffled reading come from: list of str."""
    paths, counts = _counted(paths)
    chosen = orders.records(paths, sum(counts), seed=seed, repeat=True, skip=step * batch_size).take(batch_size)
    return [_text(tf.train.Example.FromString(record.numpy()), "source") for _, record in chosen]


def _counted(paths):
    """Record files and how many records each holds; refuses files that are all empty."""
    paths = record_files.find(paths)
    counts = [record_files.count(path) for path in paths]
    if not sum(counts):
        raise ValueError(f"Record files must hold records. Received: {paths[0]} and {len(paths) - 1} more, all empty.")
    return paths, counts


def parse(serialized, path, coding, images=False):
    """Serialized records `[B]` and the files they are of `[B]` -> dict of batched tensors, see `read`."""
    spec = {"version": tf.io.FixedLenFeature([], tf.int64), "source": tf.io.FixedLenFeature([], tf.string)}
    for name, shape in FLOATS.items():
        default = None if name in _ALWAYS else list(FACING_ROTATION) if name == "rotation" else np.zeros(shape).tolist()
        spec[name] = tf.io.FixedLenFeature(shape, tf.float32, default)
    for name in ("image", "coding", *_MAPS):
        spec[name] = tf.io.FixedLenFeature([], tf.string, "")
    values = tf.io.parse_example(serialized, spec)
    version, found = values.pop("version"), values.pop("coding")
    wrong = tf.not_equal(version, VERSION)
    foreign = tf.not_equal(found, "") & tf.not_equal(found, coding)
    tf.debugging.Assert(~tf.reduce_any(wrong), [
        f"Records must be of version {VERSION}. Received, with their files:", version[wrong], path[wrong]])
    tf.debugging.Assert(~tf.reduce_any(foreign), [
        f"States must be of the codes {coding!r}. Received, with their files:", found[foreign], path[foreign]])
    present = {"image": values["image"], "evidence": values["person_mask"], "state": found,
               "part_labels": values["part_labels"]}
    flags = {f"has_{name}": tf.cast(tf.not_equal(value, ""), tf.float32) for name, value in present.items()}
    image = values.pop("image")
    if images:
        values["image"] = _decoded(image, (CROP_SIZE, CROP_SIZE, 3)) / 255
    values["person_mask"] = _decoded(values["person_mask"], (MAP_SIZE, MAP_SIZE, 1))[..., 0] / 255
    values["part_labels"] = tf.cast(_decoded(values["part_labels"], (MAP_SIZE, MAP_SIZE, 1))[..., 0], tf.int32)
    return {**values, **flags}


def _decoded(encoded, shape):
    """Pictures `[B]` -> float32 `[B, *shape]` in 0..255, zeros where there is none."""

    def one(picture):
        return tf.cond(tf.equal(picture, ""), lambda: tf.zeros(shape, tf.uint8), lambda: tf.ensure_shape(
            tf.io.decode_image(picture, channels=shape[-1], expand_animations=False), shape))

    return tf.cast(tf.map_fn(one, encoded, fn_output_signature=tf.TensorSpec(shape, tf.uint8)), tf.float32)


def _check_first(path, coding):
    """ValueError unless the first record of a file keeps the rules and its state, if any, is of `coding`."""
    try:
        record = next(iter(tf.data.TFRecordDataset(path).take(1))).numpy()
        example = tf.train.Example.FromString(record)
    except Exception as error:  # TensorFlow's DataLossError and protobuf's DecodeError
        raise ValueError(f"{path} must hold training records. Received: a file whose first record cannot be read "
                         f"({type(error).__name__}).") from None
    problem = _problem(example)
    if problem:
        raise ValueError(f"{path}: {problem}")
    found = _text(example, "coding")
    if found and found != coding:
        raise ValueError(f"{path}: states must be of the network's body and codes, {coding!r}. Received: {found!r}.")


def _problem(example):
    """The rule that an example breaks and what came, or None."""
    feature = example.features.feature
    version = list(feature["version"].int64_list.value) if "version" in feature else []
    if version != [VERSION]:
        return f"A record must be of version {VERSION}. Received: {version or 'a record without one'}."
    missing = [name for name in ("source", *_ALWAYS) if name not in feature]
    for group in _GROUPS:
        if any(name in feature for name in group):
            missing += [name for name in group if name not in feature]
    if missing:
        return f"A record must have `source`, {', '.join(_ALWAYS)}, and its groups whole. Missing: {missing}."
    for name, shape in FLOATS.items():
        value = np.array(feature[name].float_list.value) if name in feature else np.zeros(shape)
        if value.size != np.prod(shape) or not np.all(np.isfinite(value)):
            return f"`{name}` must be {list(shape)} finite numbers. Received: {value.size}, {value[:4].tolist()}..."
    return None


def _text(example, name):
    values = example.features.feature[name].bytes_list.value if name in example.features.feature else ()
    return values[0].decode() if values else ""


def _ints(values):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _bytes(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _floats(name, value):
    value = np.asarray(value, np.float32)
    if value.shape != FLOATS[name]:
        raise ValueError(f"`{name}` must be {list(FLOATS[name])}. Received: {value.shape}.")
    return tf.train.Feature(float_list=tf.train.FloatList(value=value.ravel()))


def _png(name, value):
    value, top = np.asarray(value), 1 if name == "person_mask" else PARTS - 1
    if value.shape != (MAP_SIZE, MAP_SIZE) or not np.all((value >= 0) & (value <= top)):
        raise ValueError(f"`{name}` must be [{MAP_SIZE}, {MAP_SIZE}], 0 to {top}. Received: {value.shape}, "
                         f"{value.min() if value.size else None} to {value.max() if value.size else None}.")
    scale = 255 if name == "person_mask" else 1
    return _bytes(tf.io.encode_png(np.round(value * scale).astype(np.uint8)[..., None]).numpy())
