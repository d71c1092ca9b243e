"""A photo in, boxes of the people in it out (MoveNet multipose, and what keeps its answers apart)."""

import numpy as np
import tensorflow as tf

from hund_tf.sensing import movenet
from hund_tf.sensing.network_graph import load_network
from hund_tf.sensing.sampling import sample_regions

_STEP = 32  # multipose wants sizes divisible by this
# COCO's keypoint constants: twice the spread of annotators, as share of the root of the area
_SPREADS = 2 * np.array([.026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062,
                            .107, .107, .087, .087, .089, .089], np.float32)


class PersonDetector(tf.Module):
    """Finds people and their boxes.

    Args:
        size: int, the longer side of the image as the network sees it; a multiple of 32.
        max_people: int, at most so many boxes.
        score_threshold: float, least centre score of a person.
        folder: of the converted networks; default the package's assets.

    Call arguments:
        image: `[H, W, 3]` uint8 RGB, of any size from 1x1.

    Returns:
        `(boxes, scores)`: `[N, 4]` x, y, width, height in image pixels, and `[N]` in 0..1, best
        first. Nobody found is N = 0.

    Raises:
        ValueError: if `size` is not a positive multiple of 32, or the image is not `[H, W, 3]`.
    """

    def __init__(self, size=384, max_people=50, score_threshold=0.2, folder=None):
        super().__init__()
        if size <= 0 or size % _STEP:
            raise ValueError(f"`size` must be a positive multiple of {_STEP}. Received: {size}.")
        self.size, self.max_people, self.score_threshold = size, max_people, score_threshold
        self._network = load_network("multipose", folder)
        self._detect = tf.function(self._detect_one, input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])

    def __call__(self, image):
        boxes, scores, _ = self.detect(image)
        return boxes, scores

    def detect(self, image):
        """As the call, and the detector's own 17 keypoints `[N, 17, 3]` (x, y, score)."""
        image = tf.convert_to_tensor(image)
        if image.shape.rank != 3 or image.shape[-1] != 3:
            raise ValueError(f"`image` must be [H, W, 3]. Received: {image.shape}.")
        return self._detect(tf.cast(image, tf.uint8))

    def _detect_one(self, image):
        height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
        side = tf.maximum(height, width)
        region = tf.stack([side / 2, side / 2, side, 0.0])[None]
        square = sample_regions(tf.cast(image, tf.float32)[None] / 127.5 - 1, region, self.size, fill=-1.0)
        used = tf.cast(tf.math.ceil(tf.stack([height, width]) / side * (self.size / _STEP)), tf.int32) * _STEP
        heads = self._network(square[:, :used[0], :used[1]])
        boxes, scores, keypoints = movenet.decode_multipose(heads, self.max_people, self.score_threshold)
        scale = side / self.size
        boxes, scores = boxes[0] * scale, scores[0]
        keypoints = keypoints[0] * tf.stack([scale, scale, 1.0])
        limit = tf.stack([width, height, width, height])
        boxes = tf.clip_by_value(boxes, 0.0, limit)
        keep = distinct(boxes, keypoints, scores) & (tf.reduce_min(boxes[:, 2:] - boxes[:, :2], -1) > 0)
        boxes, scores, keypoints = (tf.boolean_mask(v, keep) for v in (boxes, scores, keypoints))
        return tf.concat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], -1), scores, keypoints


def distinct(boxes, keypoints, scores, box_limit=0.65, keypoint_limit=0.6):
    """Which of the people, sorted best first, are not a better one seen again.

    Args:
        boxes: `[K, 4]` x0, y0, x1, y1.
        keypoints: `[K, 17, 3]` x, y, score.
        scores: `[K]`; 0 = nobody.

    Returns:
        `[K]` bool. A person is the same as a better one if their boxes overlap (IoU) or their
        keypoints agree (COCO's object keypoint similarity) beyond the limits.
    """
    same = (box_overlap(boxes, boxes) > box_limit) | (keypoint_similarity(boxes, keypoints) > keypoint_limit)
    count = tf.shape(boxes)[0]

    def step(i, keep):
        again = tf.reduce_any(same[i] & keep & (tf.range(count) < i))
        mine = (scores[i] > 0) & ~again
        return i + 1, keep | (tf.equal(tf.range(count), i) & mine)

    _, keep = tf.while_loop(lambda i, _: i < count, step, [0, tf.zeros([count], tf.bool)],
                            shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])])
    return keep


def box_overlap(first, second):
    """Intersection over union of `[K, 4]` and `[L, 4]` boxes (x0, y0, x1, y1) -> `[K, L]`."""
    low = tf.maximum(first[:, None, :2], second[None, :, :2])
    high = tf.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = tf.reduce_prod(tf.maximum(high - low, 0.0), -1)
    areas = [tf.reduce_prod(tf.maximum(b[:, 2:] - b[:, :2], 0.0), -1) for b in (first, second)]
    return shared / tf.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-6)


def keypoint_similarity(boxes, keypoints):
    """COCO's keypoint similarity of every pair, weighted by the better-seen scores: `[K, K]`."""
    area = tf.maximum(tf.reduce_prod(boxes[:, 2:] - boxes[:, :2], -1), 1.0)
    area = tf.sqrt(area[:, None] * area[None])
    squared = tf.reduce_sum((keypoints[:, None, :, :2] - keypoints[None, :, :, :2]) ** 2, -1)
    agree = tf.exp(-squared / (2 * area[..., None] * _SPREADS ** 2))
    weight = keypoints[:, None, :, 2] * keypoints[None, :, :, 2]
    return tf.reduce_sum(agree * weight, -1) / tf.maximum(tf.reduce_sum(weight, -1), 1e-6)
