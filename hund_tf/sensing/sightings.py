"""A photo and boxes in it in, what the networks see in each of them out: crops, landmarks, and whom they show.

It is the cheap half of a reconstruction: boxes without a person are sorted out here, before anybody is given a body.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hund_tf.sensing import crops
from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.sensing.people import distinct


class Sightings(NamedTuple):
    """What is seen in N boxes of a photo; arrays or tensors.

    Attributes:
        boxes: `[N, 4]`, x, y, width, height, pixels of the photo that was looked at.
        scores: `[N]`, the detector's.
        intrinsics: `[N, 4]` float32, of the crops, pixels.
        landmarks: named tuple of N each, from `find_landmarks`; its confidence is 0 for what the photo does not show.
        keypoints: `[N, 137, 2]` float64, pixels of the photo as it was given.
    """

    boxes: np.ndarray
    scores: np.ndarray
    intrinsics: tf.Tensor
    landmarks: tuple
    keypoints: np.ndarray


def find_people(find_landmarks, pixels, intrinsics, boxes, scores, clock, most=None, lens=None):
    """Looks at boxes in order, so many at a time as people are wanted, until those are found.

    Args:
        find_landmarks: as that of `LandmarkSensing`.
        pixels: uint8 `[H, W, 3]`, straight.
        intrinsics: `[4]`, of the photo, pixels.
        boxes: `[N, 4]`, x, y, width, height, pixels, best first.
        scores: `[N]`.
        clock: `Clock`; its laps are "crops" and "landmarks".
        most: int, so many people; all if None.
        lens: `LensDistortion` with which the photo was straightened, or None.

    Returns:
        `Sightings` of boxes that show a person whom no earlier box shows, at most `most`; None where there is none.
    """
    found, known = [], []
    step = most or max(len(boxes), 1)
    for start in range(0, len(boxes), step):  # a second step only where the first held no person
        some = slice(start, start + step)
        seen = look(find_landmarks, pixels, intrinsics, boxes[some], scores[some], clock, lens)
        found.append(_rows(seen, distinct(seen.keypoints, seen.landmarks.confidence.numpy(), known)))
        if len(known) >= step:
            break
    if not known:
        return None
    return _rows(tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *found), range(min(len(known), step)))


def look(find_landmarks, pixels, intrinsics, boxes, scores, clock, lens=None):
    """`Sightings` of all boxes given, whomever they show; arguments as of `find_people`."""
    height, width = pixels.shape[:2]
    images, crop_from_image = crops.crop_images(pixels, boxes, CROP_SIZE, map_dtype=tf.float64)
    crop_intrinsics = tf.cast(crops.crop_intrinsics(intrinsics, crop_from_image), tf.float32)
    clock.lap("crops")
    landmarks = find_landmarks(images)
    keypoints = crops.to_image(landmarks.keypoints, crop_from_image).numpy()
    inside = crops.inside_image(landmarks.keypoints, crop_from_image, height, width)
    if lens is not None:  # the straight photo is black where the given one ends
        keypoints = lens.distort_points(keypoints)
        inside &= np.all((keypoints >= 0) & (keypoints <= [width, height]), -1)
    landmarks = landmarks._replace(confidence=tf.where(inside, landmarks.confidence, 0.0))
    clock.lap("landmarks", landmarks.confidence)
    return Sightings(boxes, scores, crop_intrinsics, landmarks, keypoints)


def _rows(sightings, rows):
    rows = tf.constant(list(rows), tf.int32)
    return tf.nest.map_structure(lambda values: tf.gather(values, rows), sightings)
