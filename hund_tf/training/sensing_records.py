"""Records to train the first CNN on, made once in the folder of a run: of a folder of photos, of renders, or of both.

Beside each set lies what it was made of, `NAME.json`, which is written last: a set without it is made again.
"""

import glob
import hashlib
import os
from typing import NamedTuple

from hund_tf import images as photo_files
from hund_tf.datasets import convert, photo_folder
from hund_tf.training import record_files, records, renders, runs

_VALIDATION_SEED = 1_000_003  # added to the seed for renders that are held out
_HELD_OUT_RENDERS = 0.05
_FOLDER = "photos"  # in a stamp: where they lay when the records were made
_MIDDLE = 16384  # bytes of each photo that tell it from another of the same name and size, as frames of two films may be


class RecordSets(NamedTuple):
    """Record files by use.

    Attributes:
        training: list of str.
        validation: list of str, photos if there are any, else renders; none where these were not wanted.
    """

    training: list
    validation: list


def make(run_dir, body, images=None, num_renders=0, seed=0, held_out=20, hold_renders=True, landmarks=None, detector=None):
    """Makes what is not there yet.

    Args:
        run_dir: str, folder of the run.
        body: `GenerativeBody`, for renders.
        images: optional str, folder of photos; people are found by the detector and seen by the landmark networks.
        num_renders: int.
        seed: int.
        held_out: int, one photo in so many is for validation.
        hold_renders: bool, whether to draw other renders for validation where there are no photos.
        landmarks: `LandmarkNetworks`; the packaged ones if None.
        detector: `PersonDetector`; the packaged one if None.

    Returns:
        `RecordSets`.

    Raises:
        LayoutError: if `images` holds no photos.
        ValueError: if people are found in fewer than two photos, or the records there were made of something else.
    """
    training, validation = [], []
    if images:
        training, validation = _made(run_dir, ("photos-train", "photos-held-out"), _origin(images, held_out),
                                     lambda names: _write_photos(names, images, held_out, landmarks, detector))
    if num_renders:
        training = training + _renders(run_dir, body, f"renders-{num_renders}-{seed}", num_renders, seed)
        if hold_renders and not validation:
            count = max(1, int(_HELD_OUT_RENDERS * num_renders))
            validation = _renders(run_dir, body, f"renders-held-out-{count}-{seed}", count, seed + _VALIDATION_SEED)
    return RecordSets(training, validation)


def _made(run_dir, names, origin, write):
    """Record files of each set, written unless they are all there; a ValueError if they are of another origin, a dict."""
    folder, stamp = os.path.join(run_dir, "records"), f"{names[0]}.json"
    paths = [os.path.join(folder, name) for name in names]
    if runs.read_settings(folder, stamp) is None or not all(map(_whole, paths)):
        for pattern in [_pattern(path) for path in paths] + [glob.escape(os.path.join(folder, stamp))]:
            for old in glob.glob(pattern):
                os.remove(old)
        write(paths)
    runs.keep_settings(folder, origin, stamp, told=(_FOLDER,))
    return [record_files.find(_pattern(path)) for path in paths]


def _origin(images, held_out):
    """What records of a folder of photos are made of: the photos, wherever the folder stands."""
    listed, middles = hashlib.sha256(), hashlib.sha256()
    paths = sorted(photo_files.find_photos([images])[0])
    for path in paths:
        size = os.path.getsize(path)
        listed.update(f"{os.path.basename(path)}\n{size}\n".encode())
        with open(path, "rb") as file:
            file.seek(max(0, size - _MIDDLE) // 2)
            middles.update(file.read(_MIDDLE))
    return {_FOLDER: os.path.abspath(images), "count": len(paths), "held_out": held_out,
            "sha256_of_names_and_sizes": listed.hexdigest(), "sha256_of_middles": middles.hexdigest()}


def _write_photos(names, images, held_out, landmarks, detector):
    """Both sets in one pass over the photos: whole photos are held out, never one of two people in a photo."""
    if landmarks is None:
        from hund_tf.sensing.landmarks import LandmarkNetworks

        landmarks = LandmarkNetworks()
    if detector is None:
        from hund_tf.sensing.detector import PersonDetector

        detector = PersonDetector()
    shown = 0
    with record_files.ShardWriter(names[0]) as training, record_files.ShardWriter(names[1]) as validation:
        for photo in photo_folder.photos(images):
            people = list(convert.people_records(photo, landmarks, detector))
            for source, values in people:
                (validation if shown % held_out == 1 else training).write(records.encode(source, **values))
            shown += bool(people)
        if shown < 2:
            raise ValueError("A folder to learn from must have at least two photos that show people, one of them to be "
                             f"held out. Received: {images} with {shown}.")


def _renders(run_dir, body, name, count, seed):
    def write(paths):
        with record_files.ShardWriter(paths[0]) as writer:
            renders.write(writer, body, renders.sample_scenes(body, count, seed), seed)

    return _made(run_dir, (name,), {"renders": count, "seed": seed, "body": body.coding}, write)[0]


def _pattern(path):
    return glob.escape(path) + "-*-of-*.tfrecord"


def _whole(path):
    """Whether all shards of a set are there."""
    try:
        return bool(record_files.find(_pattern(path)))
    except FileNotFoundError:
        return False
