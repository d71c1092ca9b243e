"""Records to train the first CNN on, made once in the folder of a run: of a folder of photos, of renders, or of both."""

import os
from typing import NamedTuple

from hund_tf.datasets import convert, photo_folder
from hund_tf.training import record_files, records, renders

_VALIDATION_SEED = 1_000_003  # added to the seed for renders that are held out
_HELD_OUT_RENDERS = 0.05


class RecordSets(NamedTuple):
    """Record files by use.

    Attributes:
        training: list of str.
        validation: list of str, photos if there are any, else renders.
    """

    training: list
    validation: list


def make(run_dir, body, images=None, num_renders=0, seed=0, held_out=20, landmarks=None, detector=None):
    """Makes what is not there yet.

    Args:
        run_dir: str, folder of the run.
        body: `GenerativeBody`, for renders.
        images: optional str, folder of photos; people are found by the detector and seen by the landmark networks.
        num_renders: int.
        seed: int.
        held_out: int, one photo in so many is for validation.
        landmarks: `LandmarkNetworks`; the packaged ones if None.
        detector: `PersonDetector`; the packaged one if None.

    Returns:
        `RecordSets`.

    Raises:
        LayoutError: if `images` holds no photos.
        ValueError: if people are found in fewer than two photos.
    """
    training, photos, drawn = [], [], []
    if images:
        names = [_name(run_dir, f"photos-{use}") for use in ("train", "held-out")]
        if not all(map(_there, names)):
            _write_photos(names, images, held_out, landmarks, detector)
        training, photos = (record_files.find(_pattern(name)) for name in names)
    if num_renders:
        training = training + _renders(run_dir, body, f"renders-{num_renders}-{seed}", num_renders, seed)
        count = max(1, int(_HELD_OUT_RENDERS * num_renders))
        if not photos:
            drawn = _renders(run_dir, body, f"renders-held-out-{count}-{seed}", count, seed + _VALIDATION_SEED)
    return RecordSets(training, photos or drawn)


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
    name = _name(run_dir, name)
    if not _there(name):
        with record_files.ShardWriter(name) as writer:
            renders.write(writer, body, renders.sample_scenes(body, count, seed), seed)
    return record_files.find(_pattern(name))


def _name(run_dir, name):
    return os.path.join(run_dir, "records", name)


def _pattern(name):
    return name + "-*-of-*.tfrecord"


def _there(name):
    try:
        return bool(record_files.find(_pattern(name)))
    except FileNotFoundError:
        return False
