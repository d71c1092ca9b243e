"""Stand-ins for the networks that look at pixels: as many people as the photo's first pixel says, seen by rule."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hund_tf.sensing import heatmaps
from hund_tf.state import ImageEvidence

_BOXES = tf.constant([[4.0 + 24 * i, 10.0 + i, 20.0, 40.0 + i] for i in range(5)])  # pixels
_ASIDE = tf.constant([4.0, 6.0, 8.0, 0.0, 2.0])  # pixels to the right
_PATTERN = tf.constant(np.random.default_rng(0).uniform(60, 420, (1, 137, 2)), tf.float32)


class Landmarks(NamedTuple):
    keypoints: tf.Tensor
    confidence: tf.Tensor


class Detector(tf.Module):
    """Boxes beside each other, or all in one place, the last the surest; own keypoints beside the middle of a box."""

    def detect(self, image):
        return self.find(image)

    def find(self, image):
        count, together = tf.cast(image[0, 0, 0], tf.int32), image[0, 1, 0] > 0
        boxes = tf.where(together, tf.tile(_BOXES[:1], [5, 1]), _BOXES)[:count]
        middles = boxes[:, :2] + boxes[:, 2:] / 2 + tf.pad(_ASIDE[:count, None], [[0, 0], [0, 1]])
        hints = tf.pad(middles, [[0, 0], [0, 1]], constant_values=1.0)
        return boxes, tf.linspace(0.3, 0.9, 5)[:count], tf.tile(hints[:, None], [1, 17, 1])


class Sensing(tf.Module):
    """Keypoints in a pattern that leans with the crop's colour, aside if told to look there; nobody is seen in the dark."""

    def find_landmarks(self, crops, first=None):
        crops = tf.cast(crops, tf.float32) * (1 / 255 if crops.dtype == tf.uint8 else 1.0)
        light = crops[:, 240, 240, :1]
        points = _PATTERN + 30 * light[..., None]
        if first is not None:
            points += tf.where(first[:, :1, 2:] > 0, first[:, :1, :2] - 240.0, 0.0)
        return Landmarks(points, tf.tile(tf.where(light > 0.1, 0.8, 0.1), [1, 137]))

    def describe(self, landmarks, intrinsics):
        count = tf.shape(intrinsics)[0]
        maps = heatmaps.paint_heatmaps(landmarks.keypoints, landmarks.confidence)
        points = tf.pad(landmarks.keypoints[:, :25] / 480, [[0, 0], [0, 0], [0, 1]])
        return ImageEvidence(tf.zeros([count, 60, 60, 256]), maps, tf.zeros([count, 60, 60, 15]), points,
                             landmarks.confidence[:, :25], intrinsics)


def photo(people, height=80, width=140, dark=(), together=False):
    """A grey photo that says how many people are in it, and whether in one place; `dark`: columns where nobody is seen."""
    pixels = np.full([height, width, 3], 128, np.uint8)
    pixels[:, :, 1] = np.linspace(60, 250, width)
    for first, last in dark:
        pixels[:, first:last] = 0
    pixels[0, :2, 0] = people, together
    return pixels
