"""Sharded TFRecord files: written whole or not at all, found by pattern, checked to be complete by their lengths.

A set NAME of N shards is NAME-00000-of-0000N.tfrecord and so on.
"""

import glob
import os
import re
import struct
import tempfile

import numpy as np
import tensorflow as tf

_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.tfrecord$", re.DOTALL)
_LENGTH, _LENGTH_CHECK, _DATA_CHECK = 8, 4, 4  # bytes round each record (TensorFlow, TFRecord format)


class ShardWriter:
    """Writes records into shards; to be used in a `with` statement.

    Shards are written under other names and get their own when the block ends well; if it ends with an error, or no
    record came, nothing is left. Each record goes to a shard drawn by `seed`.

    Args:
        name: str, path and first part of the names of the shards; its folder is made.
        shards: int, how many.
        seed: int.

    Raises:
        ValueError: if `shards` is not from 1 to 99999; at the end of the block, if no record was written.
        FileExistsError: if there are shards of that name.
    """

    def __init__(self, name, shards=1, seed=0):
        if not 1 <= shards <= 99999:
            raise ValueError(f"`shards` must be from 1 to 99999. Received: {shards}.")
        self.paths = [f"{name}-{i:05d}-of-{shards:05d}.tfrecord" for i in range(shards)]
        self.count = 0
        self._name, self._rng = name, np.random.default_rng(seed)
        self._folder, self._writers = None, []

    def __enter__(self):
        there = sorted(glob.glob(glob.escape(self._name) + "-*-of-*.tfrecord"))
        if there:
            raise FileExistsError("A set of records must get a new name, or the old one must be removed first. "
                                  f"Received: {self._name}, of which there is {there[0]}.")
        folder = os.path.dirname(os.path.abspath(self._name))
        os.makedirs(folder, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(prefix=".hund-", dir=folder)  # same disk, so that a move is one step
        self._writers = [tf.io.TFRecordWriter(self._hidden(path)) for path in self.paths]
        return self

    def write(self, record):
        """Adds one record, bytes."""
        self._writers[self._rng.integers(len(self._writers))].write(record)
        self.count += 1

    def __exit__(self, kind, error, trace):
        with self._folder:
            for writer in self._writers:
                writer.close()
            if kind is not None:
                return
            if not self.count:
                raise ValueError(f"A set of records must hold at least one. Received: none for {self._name}.")
            placed = []
            try:
                for path in self.paths:
                    os.replace(self._hidden(path), path)
                    placed.append(path)
            except BaseException:
                for path in placed:
                    os.remove(path)
                raise

    def _hidden(self, path):
        return os.path.join(self._folder.name, os.path.basename(path))


def find(paths):
    """The record files that a pattern or a list of paths names, sorted.

    A pattern must match whole sets; a list may name some shards of one.

    Args:
        paths: str, a path or pattern (`*`, `?`, `[...]`), or a list of paths.

    Returns:
        list of str.

    Raises:
        FileNotFoundError: if nothing is there, or shards of a set are missing.
    """
    if not isinstance(paths, (str, os.PathLike)):
        paths = [os.fspath(path) for path in paths]
        missing = [path for path in paths if not os.path.isfile(path)]
        if missing or not paths:
            raise FileNotFoundError("`paths` must name record files. Received: "
                                    + (f"{missing[0]}, which is not there." if missing else "an empty list."))
        return sorted(paths)
    pattern = os.fspath(paths)
    found = [pattern] if os.path.isfile(pattern) else sorted(filter(os.path.isfile, glob.glob(pattern)))
    if not found:
        raise FileNotFoundError(f"A pattern must match record files, such as 'records/train-*.tfrecord'. Received: "
                                f"{pattern}, which matches none; tools/convert_dataset.py makes them.")
    for path in found if glob.has_magic(pattern) else ():
        name, _, total = _SHARD.match(path).groups() if _SHARD.match(path) else (None, None, 0)
        for i in range(int(total)):
            shard = f"{name}-{i:05d}-of-{total}.tfrecord"
            if not os.path.isfile(shard):
                raise FileNotFoundError(f"A set of records must have all its shards. Received: {path} without {shard}.")
    return found


def count(path):
    """How many records a file holds, by their lengths alone.

    Raises:
        ValueError: if the file ends inside a record, or is no TFRecord file.
    """
    size, place, number = os.path.getsize(path), 0, 0
    with open(path, "rb") as file:
        while place < size:
            file.seek(place)
            start = file.read(_LENGTH)
            end = place + _LENGTH + _LENGTH_CHECK + _DATA_CHECK
            end += struct.unpack("<Q", start)[0] if len(start) == _LENGTH else 0
            if end > size:
                raise ValueError(f"{path} must be a complete TFRecord file. Received: {size} bytes that end inside "
                                 f"record {number}, which begins at byte {place}.")
            place, number = end, number + 1
    return number
