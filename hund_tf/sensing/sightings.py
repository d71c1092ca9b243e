"""A photo and boxes in it in, what the networks see in each of them out: crops, landmarks, and whom they show.

It is the cheap half of a reconstruction: boxes without a person are sorted out here, before anybody is given a body.
"""

from typing import NamedTuple

import tensorflow as tf

from hund_tf.sensing import crops, people
from hund_tf.sensing.heatmaps import CROP_SIZE

# The detector's score from which a box has somebody of its own in it, though the networks see another there. In nine photos of
# crowds and in composites those have 0.68 to 0.93; boxes between two people, or of one person twice, at most 0.47.
_SURELY_SOMEBODY = 0.5


class Sightings(NamedTuple):
    """What is seen in N boxes of a photo.

    Attributes:
        boxes: `[N, 4]`, x, y, width, height, pixels of the photo that was looked at.
        scores: `[N]`, the detector's.
        intrinsics: `[N, 4]` float32, of the crops, pixels.
        landmarks: named tuple of N each, from `find_landmarks`; its confidence is 0 for what the photo does not show.
        keypoints: `[N, 137, 2]` float64, pixels of the photo as it was given.
    """

    boxes: tf.Tensor
    scores: tf.Tensor
    intrinsics: tf.Tensor
    landmarks: tuple
    keypoints: tf.Tensor

    @property
    def looks(self):
        """Their keypoints on the photo, as `people.Looks`."""
        return people.Looks(self.keypoints, self.landmarks.confidence)


def find_people(find_landmarks, pixels, intrinsics, boxes, scores, clock, most=None, lens=None, hints=None):
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
        hints: `[N, 17, 3]`, the detector's own keypoints, COCO order: x, y in `pixels` and score, for who is overlooked; or None.

    Returns:
        `Sightings` of boxes that show a person whom no earlier box shows, at most `most`; None where there is none.
    """
    found, known = [], people.nobody()
    step = most or max(len(boxes), 1)
    for start in range(0, len(boxes), step):  # a second step only where the first held no person
        some = slice(start, start + step)
        seen = look(find_landmarks, pixels, intrinsics, boxes[some], scores[some], lens, clock)
        if hints is not None:
            seen = look_again(find_landmarks, pixels, intrinsics, seen, known, hints[some], lens, clock)
        found.append(new_people(seen, known))
        known = people.joined(known, found[-1].looks)
        if len(known.keypoints) >= step:
            break
    if not len(known.keypoints):
        return None
    return tf.nest.map_structure(lambda *parts: tf.concat(parts, 0)[:step], *found)


def look_again(find_landmarks, pixels, intrinsics, seen, known, hints, lens=None, clock=None):
    """`seen`, in which who was overlooked is seen where the detector's keypoints are; arguments as of `find_people`."""
    rows = tf.where(overlooked(seen.looks, seen.scores, known))
    if not len(rows):
        return seen
    boxes, scores, hints = (tf.gather_nd(values, rows) for values in (seen.boxes, seen.scores, hints))
    return replaced(seen, rows, look(find_landmarks, pixels, intrinsics, boxes, scores, lens, clock, hints))


def overlooked(looks, scores, known):
    """In whose boxes the networks looked at somebody else, though the detector is sure of a person there.

    Of two people in one crop they look at the one whom they see better, whosever crop it is; the other would be lost.

    Args:
        looks: `people.Looks` of N boxes, best first.
        scores: `[N]`, the detector's.
        known: `people.Looks` of M people.

    Returns:
        `[N]` bool.
    """
    return people.is_person(looks.confidence) & ~people.distinct(looks, known) & (scores >= _SURELY_SOMEBODY)


def replaced(seen, rows, new):
    """`Sightings` with those of `rows`, `[K, 1]`, in the place of what was there."""
    return tf.nest.map_structure(lambda old, values: tf.tensor_scatter_nd_update(old, rows, values), seen, new)


def hints_in_crops(hints, crop_from_image):
    """Keypoints with score `[N, 17, 3]`, photo pixels -> the same in pixels of the crops, float32."""
    points = crops.to_crop(hints[..., :2], crop_from_image)
    return tf.concat([tf.cast(points, tf.float32), tf.cast(hints[..., 2:], tf.float32)], -1)


def new_people(seen, known):
    """`Sightings` of those who are people, not in `known`, a `people.Looks`, and seen for the first time."""
    keep = people.distinct(seen.looks, known)
    return tf.nest.map_structure(lambda values: tf.boolean_mask(values, keep), seen)


def look(find_landmarks, pixels, intrinsics, boxes, scores, lens=None, clock=None, hints=None):
    """`Sightings` of all boxes given, whomever they show; arguments as of `find_people`. Without a lens, all in tensors.

    With `hints` the networks look at whom these show; where their scores are all 0, at whom they see best, as without.
    """
    size = tf.shape(pixels)
    images, crop_from_image = crops.crop_images(pixels, boxes, CROP_SIZE, map_dtype=tf.float64)
    crop_intrinsics = tf.cast(crops.crop_intrinsics(intrinsics, crop_from_image), tf.float32)
    if clock is not None:
        clock.lap("crops")
    landmarks = find_landmarks(images, *(() if hints is None else (hints_in_crops(hints, crop_from_image),)))
    keypoints = crops.to_image(landmarks.keypoints, crop_from_image)
    inside = crops.inside_image(landmarks.keypoints, crop_from_image, size[0], size[1])
    if lens is not None:  # the straight photo is black where the given one ends
        keypoints = tf.constant(lens.distort_points(keypoints.numpy()))
        inside &= tf.reduce_all((keypoints >= 0) & (keypoints <= tf.cast([size[1], size[0]], tf.float64)), -1)
    landmarks = landmarks._replace(confidence=tf.where(inside, landmarks.confidence, 0.0))
    if clock is not None:
        clock.lap("landmarks", landmarks.confidence)
    return Sightings(tf.convert_to_tensor(boxes, tf.float32), tf.convert_to_tensor(scores, tf.float32), crop_intrinsics,
                     landmarks, keypoints)
