"""Photos with labelled people in, training records out: crops by Eq. 1, labels moved with them, evidence as in use."""

import numpy as np
import tensorflow as tf

from hund_tf.geometry import camera
from hund_tf.sensing import crops, sightings
from hund_tf.sensing import people as seen_people
from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.training import records

_JPEG_QUALITY = 92
_PEOPLE_AT_A_TIME = 8


def convert(photos, writer, landmarks=None, detector=None, limit=None, progress=iter):
    """Writes a record for each person.

    Args:
        photos: iterable of `LabelledPhoto`.
        writer: `record_files.ShardWriter`, opened.
        landmarks: `LandmarkNetworks`, for the evidence; None for records without.
        detector: `PersonDetector`, for photos whose people are not known.
        limit: int, at most so many people; all if None.
        progress: wraps the photos, for a bar.

    Returns:
        int, how many records were written.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"`limit` must be at least 1, or None. Received: {limit}.")
    written = 0
    for photo in progress(photos):
        for source, values in people_records(photo, landmarks, detector):
            writer.write(records.encode(source, **values))
            written += 1
            if written == limit:
                return written
    return written


def people_records(photo, landmarks=None, detector=None):
    """Yields `(source, values)` for `records.encode`, one of each person of a `LabelledPhoto`.

    Whom a detector finds is left out where the landmark networks see too little of a body or the same person again, as in
    `Reconstructor`, and there as here who was overlooked is looked at again.
    """
    if photo.people is not None and not photo.people:
        return
    pixels = photo.pixels() if callable(photo.pixels) else photo.pixels
    height, width = pixels.shape[:2]
    intrinsics = camera.default_intrinsics(height, width) if photo.intrinsics is None else photo.intrinsics
    people, boxes, known = photo.people, None, seen_people.nobody()
    if people is None:
        boxes, scores, hints = detector.detect(tf.constant(pixels))
    else:
        boxes = np.array([person.box for person in people], np.float64)
    for start in range(0, len(boxes), _PEOPLE_AT_A_TIME):
        chunk = slice(start, start + _PEOPLE_AT_A_TIME)
        images, crop_from_image = crops.crop_images(pixels, boxes[chunk], CROP_SIZE, map_dtype=tf.float64)
        crop_intrinsics = crops.crop_intrinsics(np.asarray(intrinsics, np.float64), crop_from_image).numpy()
        corners = crops.to_crop(np.tile([[[0.0, 0.0], [width, height]]], [len(images), 1, 1]), crop_from_image).numpy()
        seen = None if landmarks is None else _evidence(landmarks, images, crop_from_image, height, width)
        rows = range(len(images))
        if people is None and seen is not None:
            looks = _looks(seen, crop_from_image)
            lost = sightings.overlooked(looks, scores[chunk], known).numpy()
            if lost.any():
                first = sightings.hints_in_crops(hints[chunk], crop_from_image)[lost]
                again = _evidence(landmarks, images[lost], crop_from_image[lost], height, width, first)
                for name, values in again.items():
                    seen[name][lost] = values
                looks = _looks(seen, crop_from_image)
            keep = seen_people.distinct(looks, known)
            known, rows = seen_people.joined(known, seen_people.Looks(*(x[keep] for x in looks))), np.flatnonzero(keep)
        for i in rows:
            values = {"intrinsics": crop_intrinsics[i], "image_bounds": corners[i].ravel(), "image": _jpeg(images[i]),
                      **({} if seen is None else {name: value[i] for name, value in seen.items()}),
                      **({} if people is None else _labels(people[start + i], crop_from_image[i:i + 1]))}
            yield f"{photo.source}/{start + i}" if people is None else people[start + i].source, values


def _evidence(landmarks, images, crop_from_image, height, width, *first):
    """What the networks see in crops, of whom `first` shows if given, and nothing outside the photo: dict of arrays."""
    found = landmarks(images, *first)
    inside = crops.inside_image(found.keypoints, crop_from_image, height, width)
    seen = {"keypoints": found.keypoints, "confidence": tf.where(inside, found.confidence, 0.0),
            "person_mask": np.clip(found.person_mask, 0, 1), "landmarks3d": found.landmarks3d,
            "landmarks3d_confidence": found.landmarks3d_confidence}
    return {name: np.array(value) for name, value in seen.items()}


def _looks(seen, crop_from_image):
    return seen_people.Looks(crops.to_image(seen["keypoints"], crop_from_image), tf.constant(seen["confidence"]))


def _labels(person, crop_from_image):
    """A crop's camera is the photo's, with other intrinsics: metres stay as they are."""
    labels = {}
    if person.keypoints is not None:
        moved = crops.to_crop(person.keypoints[None], crop_from_image).numpy()[0]
        known = person.keypoints_weight > 0
        labels.update(label_keypoints=np.where(known[:, None], moved, 0.0),
                      label_keypoints_weight=person.keypoints_weight)
    if person.joints3d is not None:
        labels.update(joints3d=person.joints3d, joints3d_weight=person.joints3d_weight)
    return labels


def _jpeg(image):
    return tf.io.encode_jpeg(tf.cast(tf.round(image * 255), tf.uint8), quality=_JPEG_QUALITY).numpy()
