"""A piece of work in, its encoded images out; what cannot be read comes out as a dead letter."""

import itertools
import math
import os
import tempfile
from typing import NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError

from hund_tf import images
from hund_tf.training import record_files
from serving.batch import plan, storage

ENCODED, NAME = "image/encoded", "image/filename"  # the names that TensorFlow's own data sets use
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")  # the model reads JPEG and PNG


class Record(NamedTuple):
    """One image.

    Attributes:
        source: str, path of the file it is in.
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
    """How many records an `Input` has, of a video each `every`-th frame by its header; None if that cannot be said."""
    if source.kind == plan.PHOTO:
        return 1
    with storage.local_copy(source.path) as local:
        if source.kind == plan.VIDEO:
            return math.ceil(_frames(images.opencv().VideoCapture(local)) / every) or None
        try:
            return record_files.count(local)
        except ValueError:  # cut short: the reader takes what is whole
            return None


def read(piece, every=1):
    """Reads the records of a piece.

    Args:
        piece: `plan.Piece`.
        every: int, of a video each so many-th frame is taken.

    Yields:
        `Record` or `DeadLetter`.
    """
    if piece.kind == plan.PHOTO:
        yield _photo(piece.path)
        return
    with storage.local_copy(piece.path) as local:
        yield from _video(piece, local, every) if piece.kind == plan.VIDEO else _tfrecord(piece, local)


def _photo(path):
    name = os.path.basename(path)
    try:
        return Record(path, 0, name, _readable(storage.read(path), path))
    except (OSError, images.ImageError) as error:
        return DeadLetter(path, 0, name, str(error))


def _video(piece, local, every):
    cv2 = images.opencv()
    name, capture = os.path.basename(piece.path), cv2.VideoCapture(local)
    try:
        promised = math.ceil(_frames(capture) / every)
        at = _go_to(capture, piece.start * every)
        for i in itertools.count(piece.start) if piece.stop is None else range(piece.start, piece.stop):
            while at < i * every and capture.grab():
                at += 1
            good, pixels = capture.read() if at == i * every else (False, None)
            if not good:
                if i < max(promised, 1):
                    yield DeadLetter(piece.path, i * every, name, "A video must hold the frames that its header tells of, at "
                                     f"least one. Received: {_frames(capture)} frames, of which {i * every} cannot be read.")
                return
            at += 1
            yield Record(piece.path, i * every, name, _png(pixels))
    finally:
        capture.release()


def _go_to(capture, frame):
    """Moves to a frame; returns the one it is at, an earlier one where the file cannot be searched."""
    cv2 = images.opencv()
    if frame and not (capture.set(cv2.CAP_PROP_POS_FRAMES, frame) and round(capture.get(cv2.CAP_PROP_POS_FRAMES)) == frame):
        capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
        return 0
    return frame


def _frames(capture):
    return max(0, round(capture.get(images.opencv().CAP_PROP_FRAME_COUNT))) if capture.isOpened() else 0


def _tfrecord(piece, local):
    name = os.path.basename(piece.path)
    wanted = -1 if piece.stop is None else piece.stop - piece.start
    contents = tf.data.TFRecordDataset(local).skip(piece.start).take(wanted).as_numpy_iterator()
    for i in itertools.count(piece.start):
        try:
            content = next(contents)
        except StopIteration:
            return
        except tf.errors.OpError as error:
            yield DeadLetter(piece.path, i, name, f"A TFRecord file must be whole. Received: {error.message}; the records from "
                             "here on are lost.")
            return
        yield _example(piece.path, i, name, content)


def _example(path, i, name, content):
    try:
        features = tf.train.Example.FromString(content).features.feature
    except DecodeError:
        return DeadLetter(path, i, name, "A record must be a tf.train.Example. Received: other bytes.")
    given = features[NAME].bytes_list.value if NAME in features else ()
    name = given[0].decode("utf-8", "replace") if given else name
    encoded = features[ENCODED].bytes_list.value if ENCODED in features else ()
    if len(encoded) != 1:
        return DeadLetter(path, i, name, f"A record must have one {ENCODED}. Received: {sorted(features)}.")
    try:
        return Record(path, i, name, _readable(encoded[0], name))
    except images.ImageError as error:
        return DeadLetter(path, i, name, str(error))


def _readable(content, name):
    """The bytes themselves if the model reads them, else the photo as PNG."""
    if content.startswith(_MAGIC):
        return content
    with tempfile.TemporaryDirectory(prefix="hund-") as folder:
        path = os.path.join(folder, "photo")
        with open(path, "wb") as file:
            file.write(content)
        try:
            return _png(images.read_image(path)[..., ::-1])
        except images.ImageError as error:
            raise images.ImageError(str(error).replace(path, name)) from None


def _png(pixels_bgr):
    cv2 = images.opencv()
    return cv2.imencode(".png", pixels_bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()  # quick, and loses nothing
