"""A shard's results in, its files out, each whole or not at all; the last one says that the shard is done.

states-SHARD.parquet (or .tfrecord)   one row a person
dead_letters-SHARD.jsonl              one line a record that gave no result; absent if there is none
meshes/SHARD/NUMBER-NAME.glb          one scene a record with people, if asked for
done/SHARD.json                       counts; without it the other files of the shard are not yet valid
"""

import contextlib
import json
import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from hund_tf import __version__, outputs
from hund_tf.visualization import mesh_export
from serving.batch import model, storage

KEYS = ("source", "frame", "name", "person", "num_people")  # columns before those of the model's outputs
DONE = "done"
_STEM_BYTES = 80  # of a record's own name in that of a file, which may have 255 in most file systems


def write(result, output, columns, format="parquet", meshes=False):
    """Writes the files of a shard.

    Args:
        result: `model.ShardResult`.
        output: str, folder.
        columns: list of `model.Column`.
        format: str, parquet or tfrecord.
        meshes: bool, whether to write GLB files; the result must then have vertices and faces.

    Returns:
        dict, what done/SHARD.json holds: counts of inputs, people and dead_letters.
    """
    name = result.name
    writers = {"parquet": _write_parquet, "tfrecord": _write_tfrecord}
    storage.write_whole(storage.join(output, f"states-{name}.{format}"),
                        lambda path: writers[format](path, result.results, columns))
    dead_letters = storage.join(output, f"dead_letters-{name}.jsonl")
    if result.dead_letters:
        lines = [json.dumps(letter._asdict(), ensure_ascii=False) + "\n" for letter in result.dead_letters]
        storage.write_bytes(dead_letters, "".join(lines).encode())
    else:
        storage.remove(dead_letters)  # of a try that was killed
    if meshes:
        _write_scenes(result, storage.join(output, "meshes", name))
    done = {"inputs": len(result.results) + len(result.dead_letters), "people": sum(one.number for one in result.results),
            "dead_letters": len(result.dead_letters)}
    storage.write_bytes(storage.join(output, DONE, f"{name}.json"), json.dumps(done).encode())
    return done


def finished(output):
    """What the finished shards of an output folder hold: dict, counts by shard name. A mark without counts marks nothing."""
    marks = {}
    for path, _ in storage.inside(storage.join(output, DONE)):
        if path.endswith(".json"):
            content = storage.read(path)
            with contextlib.suppress(ValueError):
                counts = json.loads(content)
                if isinstance(counts, dict):
                    marks[os.path.basename(path)[:-len(".json")]] = counts
    return marks


def schema(columns):
    """Arrow schema of the rows; a column's metadata gives the `shape` of a value, which is stored flat."""
    fields = [pa.field("source", pa.string()), pa.field("frame", pa.int64()), pa.field("name", pa.string()),
              pa.field("person", pa.int32()), pa.field("num_people", pa.int32())]
    for column in columns:
        kind = pa.from_numpy_dtype(np.dtype(column.dtype))
        if column.shape:
            item = pa.field("element", kind)  # Parquet's own name of it
            kind = pa.list_(item) if None in column.shape else pa.list_(item, int(np.prod(column.shape)))
        fields.append(pa.field(column.name, kind, metadata={"shape": json.dumps(column.shape)}))
    return pa.schema(fields, metadata={"software": f"{outputs.SOFTWARE} {__version__}", "units": json.dumps(outputs.UNITS),
                                       "frames": json.dumps(outputs.FRAMES)})


def _write_scenes(result, folder):
    names = set()
    for i, one in enumerate(result.results):
        if one.number:
            path = storage.join(folder, f"{i:05d}-{_stem(one.name)}-{one.frame}.glb")
            scene = [(vertices, result.faces) for vertices in one.outputs[model.VERTICES]]
            storage.write_whole(path, lambda temporary, scene=scene: mesh_export.export_scene(temporary, scene))
            names.add(os.path.basename(path))
    for path, _ in storage.inside(folder):
        if os.path.basename(path) not in names:
            storage.remove(path)  # of a try that was killed


def _stem(name):
    """A record's name as part of a file's: letters, digits, `.`, `-` and `_`, not too long; `_` for the others."""
    stem = re.sub(r"[^\w.-]", "_", os.path.splitext(os.path.basename(name))[0])
    return stem.encode()[:_STEM_BYTES].decode("utf-8", "ignore")


def _write_parquet(path, results, columns):
    wanted, rows = schema(columns), [(one, person) for one in results for person in range(one.number)]
    keys = [[one.source for one, _ in rows], [one.frame for one, _ in rows], [one.name for one, _ in rows],
            [person for _, person in rows], [one.number for one, _ in rows]]
    arrays = [pa.array(values, field.type) for values, field in zip(keys, wanted)]
    for column, field in zip(columns, list(wanted)[len(KEYS):]):
        arrays.append(_array([_value(one, person, column) for one, person in rows], column, field.type))
    pq.write_table(pa.Table.from_arrays(arrays, schema=wanted), path)


def _array(values, column, kind):
    flat = np.concatenate([np.ravel(value) for value in values]) if values else np.zeros(0, column.dtype)
    flat = pa.array(flat.astype(column.dtype))
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(flat, kind.list_size).cast(kind)
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(np.cumsum([0, *map(np.size, values)]).astype(np.int32), flat).cast(kind)
    return flat


def _write_tfrecord(path, results, columns):
    with tf.io.TFRecordWriter(path) as writer:
        for one in results:
            for person in range(one.number):
                features = dict(zip(KEYS, map(_feature, (one.source, one.frame, one.name, person, one.number))))
                features.update((column.name, _feature(_value(one, person, column))) for column in columns)
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString(deterministic=True))


def _value(one, person, column):
    values = one.outputs[column.name]
    return values if column.name in model.PER_PHOTO else values[person]


def _feature(value):
    if isinstance(value, str):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
    flat = np.ravel(value)
    if np.issubdtype(flat.dtype, np.integer):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=flat))
    return tf.train.Feature(float_list=tf.train.FloatList(value=flat))
