"""A piece of work in, its encoded images out; a record whose content is at fault comes out as a dead letter.

What is the machine's fault, such as a disk that does not answer, is raised: another run may find it mended.
"""

import itertools
import math
import os
import re
import tempfile
from typing import NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError

from hund_tf import images
from hund_tf.training import record_files
from serving.batch import plan, storage

ENCODED, NAME = "image/encoded", "image/filename"  # the names that TensorFlow's own data sets use
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")  # the model reads JPEG and PNG
_GZIP = b"\x1f\x8b\x08"  # RFC 1952, with its one method
_NO_FILE = (FileNotFoundError, IsADirectoryError)  # true of the record, whoever reads it
_TRACES = ("Detected at", "<stack traces", "[[", "Graph execution error", "File ")
_NODE = re.compile(r"\{\{.*?\}\}\s*|\s*\[Op:\w+\].*")


class Record(NamedTuple):
    """One image.

    Attributes:
        source: str, path of the file it is in; bytes of it that are not UTF-8 stand as `\\xNN`, as in `name`.
        frame: int, its place there: frame of a video, record of a TFRecord, 0 for a photo.
        name: str, file name of a photo or video, or the record's own.
        encoded: bytes, JPEG or PNG.
    """

    source: str
    frame: int
    name: str
    encoded: bytes


class DeadLetter(NamedTuple):
    """A record that gave no result; `source`, `frame` and `name` as in `Record`, `reason` is a sentence."""

    source: str
    frame: int
    name: str
    reason: str


def count(source, every):
    """How many records an `Input` has, of a video each `every`-th frame; None if that cannot be said: of a remote file, which
    would have to be copied, or one that is compressed or at fault. The frames of a video are counted one by one, since its
    header tells of a length in seconds, or of frames that are not shown."""
    if source.kind == plan.PHOTO:
        return 1
    if not storage.is_local(source.path):
        return None
    with storage.local_copy(source.path) as local:
        if source.kind == plan.VIDEO:
            capture = images.opencv().VideoCapture(local)
            try:
                return math.ceil(sum(1 for _ in iter(capture.grab, False)) / every) or None
            finally:
                capture.release()
        try:
            return record_files.count(local)
        except ValueError:  # cut short: the reader takes what is whole
            return None


def read(piece, every=1):
    """Reads the records of a piece, one at a time.

    Args:
        piece: `plan.Piece`.
        every: int, of a video each so many-th frame is taken.

    Yields:
        `Record` or `DeadLetter`.

    Raises:
        OSError: if a file cannot be read now, or holds less than it did when the piece was planned.
    """
    source = storage.as_text(piece.path)
    name = os.path.basename(source)
    try:
        file = storage.opened(piece.path)
    except _NO_FILE as error:
        yield DeadLetter(source, piece.start, name, f"A file must be there. Received: {error.strerror}.")
        return
    with file:  # of the others only whether they can be opened matters: OpenCV would not say why it cannot
        content = file.read() if piece.kind == plan.PHOTO else None
    if piece.kind == plan.PHOTO:
        yield _record(source, 0, name, content)
        return
    with storage.local_copy(piece.path) as local:
        if piece.kind == plan.VIDEO:
            yield from _video(piece, local, source, name, every)
        else:
            yield from _tfrecord(piece, local, source, name)


def reason(error):
    """What a TensorFlow error says, without the names and traces of the graph."""
    lines = [_NODE.sub("", line).strip() for line in (error.message or "").splitlines()]
    said = [line for line in lines if line and not line.startswith(_TRACES)]
    return f"{type(error).__name__}: {said[0] if said else 'no message'}"


def _video(piece, local, source, name, every):
    capture = images.opencv().VideoCapture(local)
    try:
        for i in itertools.count(piece.start) if piece.stop is None else range(piece.start, piece.stop):
            # From the first frame on, one by one: a search by number or time ends at another frame in many healthy files.
            steps = i * every + 1 if i == piece.start else every
            if all(capture.grab() for _ in range(steps)):
                good, pixels = capture.retrieve()
                yield Record(source, i * every, name, _png(pixels)) if good else DeadLetter(
                    source, i * every, name, "A frame must be one that OpenCV can decode. Received: another.")
                continue
            if piece.stop is not None:
                raise OSError("A video must hold the frames that were counted when its work was planned. Received: "
                              f"{source}, whose frame {i * every} cannot be read now.")
            if i == 0:
                yield DeadLetter(source, 0, name, "A video must have frames that OpenCV reads. Received: a file without one.")
            return
    finally:
        capture.release()


def _tfrecord(piece, local, source, name):
    wanted = -1 if piece.stop is None else piece.stop - piece.start
    contents = tf.data.TFRecordDataset(local, _compression(local)).skip(piece.start).take(wanted).as_numpy_iterator()
    for i in itertools.count(piece.start):
        try:
            content = next(contents)
        except StopIteration:
            break
        except tf.errors.DataLossError as error:
            yield DeadLetter(source, i, name, f"A TFRecord file must be whole. Received: {reason(error)}; the records from "
                             "here on are lost.")
            return
        yield _example(source, i, name, content)
    if piece.stop is not None and i != piece.stop:
        raise OSError("A TFRecord file must hold the records that were counted when its work was planned. Received: "
                      f"{source}, which ends before record {i}.")


def _compression(local):
    """What TensorFlow calls it; lengths that fit together make a plain file, whatever its first bytes."""
    with open(local, "rb") as file:
        start = file.read(len(_GZIP))
    if start != _GZIP:
        return ""
    try:
        record_files.count(local)
    except ValueError:
        return "GZIP"
    return ""


def _example(source, i, name, content):
    try:
        features = tf.train.Example.FromString(content).features.feature
    except DecodeError:
        return DeadLetter(source, i, name, "A record must be a tf.train.Example. Received: other bytes.")
    given = features[NAME].bytes_list.value if NAME in features else ()
    name = storage.as_text(given[0]) if given else name
    encoded = features[ENCODED].bytes_list.value if ENCODED in features else ()
    if len(encoded) != 1:
        return DeadLetter(source, i, name, f"A record must have one {ENCODED}. Received: {sorted(features)}.")
    return _record(source, i, name, encoded[0])


def _record(source, i, name, content):
    """The bytes themselves if the model reads them, else the photo as PNG."""
    if content.startswith(_MAGIC):
        return Record(source, i, name, content)
    with tempfile.TemporaryDirectory(prefix="hund-") as folder:
        path = os.path.join(folder, "photo")
        with open(path, "wb") as file:
            file.write(content)
        try:
            return Record(source, i, name, _png(images.read_image(path)[..., ::-1]))
        except images.ImageError as error:
            return DeadLetter(source, i, name, str(error).replace(path, name))


def _png(pixels_bgr):
    cv2 = images.opencv()
    return cv2.imencode(".png", pixels_bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()  # quick, and loses nothing
