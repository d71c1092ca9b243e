"""Inputs in, numbered shards of work out: the same inputs give the same shards, so that finished ones can be skipped.

Inputs are taken in the order photos, videos, TFRecords, each by path; a shard is the next so many records of them.
"""

import dataclasses
import hashlib
import json
import math
import os
from typing import NamedTuple, Optional

from hund_tf import images
from serving.batch import storage

PHOTO, VIDEO, TFRECORD = "photo", "video", "tfrecord"
_PLAN = "plan.json"


class Input(NamedTuple):
    """A file: `kind` is photo, video or tfrecord; `size` is in bytes."""

    kind: str
    path: str
    size: int


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some records of one file: `start` to `stop` (None: to its end), counted in records, of a video in frames taken."""

    kind: str
    path: str
    start: int = 0
    stop: Optional[int] = None


@dataclasses.dataclass(frozen=True)
class Shard:
    """Shard `index` of `total`, a tuple of `Piece`."""

    index: int
    total: int
    pieces: tuple

    @property
    def name(self):
        return f"{self.index:05d}-of-{self.total:05d}"

    def to_json(self):
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text):
        values = json.loads(text)
        return cls(values["index"], values["total"], tuple(Piece(**piece) for piece in values["pieces"]))


def find(photos, videos, tfrecords):
    """Lists the files that patterns name, each once.

    Args:
        photos: sequence of str, patterns, or local folders, of which every photo is taken.
        videos: sequence of str, patterns.
        tfrecords: sequence of str, patterns.

    Returns:
        list of `Input`.

    Raises:
        FileNotFoundError: if a pattern names no file.
    """
    found = []
    for kind, patterns in ((PHOTO, photos), (VIDEO, videos), (TFRECORD, tfrecords)):
        paths = {}
        for pattern in patterns:
            matched = _photos_in(pattern) if kind == PHOTO and os.path.isdir(pattern) else storage.match(pattern)
            if not matched:
                raise FileNotFoundError(f"A pattern must name a file. Received: {pattern!r}, which names none.")
            paths.update(matched)
        found += [Input(kind, path, size) for path, size in sorted(paths.items())]
    return found


def cut(inputs, counts, shard_size):
    """Cuts inputs into shards.

    Args:
        inputs: list of `Input`.
        counts: list of int or None, how many records each has; None: unknown, it becomes the last piece of its shard.
        shard_size: int, records a shard.

    Returns:
        list of `Shard`.
    """
    shards, pieces, room = [], [], shard_size
    for (kind, path, _), count in zip(inputs, counts):
        start = 0
        while count is None or start < count:
            stop = None if count is None else min(start + room, count)
            room = 0 if stop is None else room - (stop - start)
            pieces.append(Piece(kind, path, start, stop))
            if not room:
                shards.append(tuple(pieces))
                pieces, room = [], shard_size
            if stop == count:
                break
            start = stop
    if pieces:
        shards.append(tuple(pieces))
    return [Shard(index, len(shards), content) for index, content in enumerate(shards)]


def size_for(shards, counts):
    """Records a shard, so that there are at most `shards` of them."""
    return max(1, math.ceil(sum(count or 1 for count in counts) / shards))


def fingerprint(inputs, counts):
    """Digest of the names, sizes and counts of inputs, str."""
    lines = [f"{kind}\t{path}\t{size}\t{count}\n" for (kind, path, size), count in zip(inputs, counts)]
    return hashlib.sha256(os.fsencode("".join(lines))).hexdigest()


def keep(output, settings):
    """Writes what an output folder is for, or checks that it is for this.

    Args:
        output: str, folder.
        settings: dict of plain values that decide what the shards hold.

    Raises:
        ValueError: if the folder was begun with other settings or inputs.
    """
    path = storage.join(output, _PLAN)
    if not storage.exists(path):
        storage.write_bytes(path, json.dumps(settings, indent=1).encode())
        return
    before = json.loads(storage.read(path))
    for name in settings:
        if before.get(name) != settings[name]:
            raise ValueError("An output folder must be gone on with by the same inputs and settings; others need a new one. "
                             f"Received: {output}, begun with {name} {before.get(name)!r}, now {settings[name]!r}.")


def _photos_in(folder):
    return [(path, size) for path, size in storage.inside(folder) if path.lower().endswith(images.SUFFIXES)]
