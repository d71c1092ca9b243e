"""A photo in, boxes of the people in it out (MoveNet multipose, and what keeps its answers apart)."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hund_tf.sensing import movenet, sampling
from hund_tf.sensing.network_graph import load_network

_STEP = 32  # multipose wants sizes divisible by this
_KEYPOINT_THRESHOLD = 0.17  # mean score of the six best keypoints; cars and signs have less
_NEARER_THRESHOLD, _TURNED_THRESHOLD = 0.3, 0.5  # more looks find more that is not there
_SEEN = 0.25  # score of a keypoint that a box must hold
_SMALL = 0.25  # of the picture's longer side: if most people are smaller, look from nearer
_STRIP = 2.0  # longer over shorter side from which a picture is looked at in pieces
_FURTHER, _UNSURE = 1.8, 0.5  # of the longer side; who fills the picture has 0.2 to 0.4, and 0.9 from further
_TILE, _MOST_TILES = 0.6, 8  # piece over the longer side; at most so many along it
# COCO's keypoint constants: twice the spread of annotators, as share of the root of the area
_SPREADS = 2 * np.array([.026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062,
                            .107, .107, .087, .087, .089, .089], np.float32)


class People(NamedTuple):
    """`boxes` `[K, 4]` x0, y0, x1, y1; `scores` `[K]`; `keypoints` `[K, 17, 3]` x, y, score; image pixels."""

    boxes: tf.Tensor
    scores: tf.Tensor
    keypoints: tf.Tensor


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
        # one trace each, and what is seldom needed is called from outside them: a quick first photo
        self._whole = tf.function(self._look_whole, autograph=False, input_signature=[
            tf.TensorSpec([None, None, 3], tf.uint8)])
        spec = sampling.pyramid_spec(3)
        self._nearer = tf.function(self._look_nearer, autograph=False, input_signature=[spec])
        self._further = tf.function(self._look_further, autograph=False, input_signature=[spec])
        self._turned = tf.function(self._look_turned, autograph=False, input_signature=[spec])
        self._finished = tf.function(self._finish, autograph=False, input_signature=[People(*(
            tf.TensorSpec([None, *s], tf.float32) for s in ((4,), (), (17, 3)))), tf.TensorSpec([2], tf.float32)])

    def __call__(self, image):
        boxes, scores, _ = self.detect(image)
        return boxes, scores

    def detect(self, image):
        """As the call, and the detector's own 17 keypoints `[N, 17, 3]` (x, y, score)."""
        image = tf.convert_to_tensor(image)
        if image.shape.rank != 3 or image.shape[-1] != 3:
            raise ValueError(f"`image` must be [H, W, 3]. Received: {image.shape}.")
        return self.find(tf.cast(image, tf.uint8))

    def find(self, image):
        """`detect` without its checks: uint8 `[H, W, 3]`; for use inside other functions."""
        image, found = self._whole(image)
        side, short = tf.reduce_max(image.size), tf.reduce_min(image.size)
        # what small people, or a strip of a picture, need: a second look from nearer
        longer = tf.reduce_max(found.boxes[:, 2:] - found.boxes[:, :2], -1)
        small = tf.reduce_sum(tf.cast(longer < _SMALL * side, tf.int32)) * 2 > tf.shape(longer)[0]
        nearer = small | (side > _STRIP * short)
        found = tf.cond(nearer, lambda: _joined(found, self._nearer(image)), lambda: found)
        # who fills the picture is larger than the network expects, and known surely from further
        sure = tf.reduce_any(found.scores >= _UNSURE)
        found = tf.cond(sure, lambda: found, lambda: _joined(found, self._further(image)))
        # a person upside down or lying may only be known after turning the picture
        nobody = tf.equal(tf.shape(found.scores)[0], 0)
        found = tf.cond(nobody, lambda: self._turned(image), lambda: found)
        return self._finished(found, image.size)

    def _look_whole(self, image):
        image = sampling.build_pyramid(tf.cast(image, tf.float32)[None] / 127.5 - 1)
        side = tf.reduce_max(image.size)
        return image, self._look(image, tf.stack([side / 2, side / 2, side, 0.0])[None], self.score_threshold, trim=True)

    def _finish(self, found, size):
        found = _without_doubles(found)
        boxes = whole_body_boxes(found.boxes, found.keypoints)
        boxes = tf.clip_by_value(boxes, 0.0, tf.tile(size, [2]))
        extent = boxes[:, 2:] - boxes[:, :2]
        keep = tf.reduce_min(extent, -1) >= 1.0
        boxes = tf.concat([boxes[:, :2], extent], -1)
        return tuple(tf.boolean_mask(v, keep)[:self.max_people] for v in (boxes, found.scores, found.keypoints))

    def _look(self, image, regions, threshold, trim=False, drop_cut=False):
        """`People` in square regions `[R, 4]` of the picture, a `Pyramid`.

        `trim`: the one region is the whole picture; `drop_cut`: leave out who is cut by a region's edge.
        """
        squares = sampling.sample_regions(image, regions, self.size, tf.zeros_like(regions[:, 0], tf.int32), fill=-1.0)
        width, height = tf.unstack(image.size)
        if trim:  # what lies outside need not be seen
            share = tf.stack([height, width]) / tf.maximum(height, width)
            used = tf.cast(tf.math.ceil(share * (self.size / _STEP)), tf.int32) * _STEP
            squares = squares[:, :used[0], :used[1]]
        boxes, scores, keypoints = movenet.decode_multipose(
            self._network(squares), self.max_people, threshold)
        best = tf.math.top_k(keypoints[..., 2], 6).values
        keep = (scores > 0) & (tf.reduce_mean(best, -1) > _KEYPOINT_THRESHOLD)
        # boxes turn with the region: corners there, bounds here
        low, high = boxes[..., :2], boxes[..., 2:]
        corners = tf.stack([low, high, tf.stack([low[..., 0], high[..., 1]], -1),
                            tf.stack([high[..., 0], low[..., 1]], -1)], -2)
        count = tf.shape(boxes)[1]
        points = tf.concat([tf.reshape(keypoints[..., :2], [-1, count * 17, 2]),
                            tf.reshape(corners, [-1, count * 4, 2])], 1)
        points = sampling.points_to_image(points / self.size, regions)
        places = tf.reshape(points[:, :count * 17], [-1, count, 17, 2])
        corners = tf.reshape(points[:, count * 17:], [-1, count, 4, 2])
        boxes = tf.concat([tf.reduce_min(corners, 2), tf.reduce_max(corners, 2)], -1)
        keypoints = tf.concat([places, keypoints[..., 2:]], -1)
        if drop_cut:
            half = regions[:, 2:3] / 2
            low, high = (regions[:, :2] - half)[:, None], (regions[:, :2] + half)[:, None]
            near = 0.02 * regions[:, None, 2:3]
            cut = ((boxes[..., :2] < low + near) & (low > 1)) | (
                (boxes[..., 2:] > high - near) & (high < image.size - 1))
            keep &= ~tf.reduce_any(cut, -1)
        return People(*(tf.boolean_mask(v, keep) for v in (boxes, scores, keypoints)))

    def _look_nearer(self, image):
        width, height = tf.unstack(image.size)
        side, short = tf.maximum(height, width), tf.minimum(height, width)
        tile = tf.maximum(tf.where(side > _STRIP * short, short, _TILE * side), side / _MOST_TILES)

        def starts(extent):
            steps = tf.maximum(tf.math.ceil((extent - tile) / (0.75 * tile)), 0.0)
            return tf.linspace(0.0, tf.maximum(extent - tile, 0.0), tf.cast(steps, tf.int32) + 1)

        x, y = (tf.reshape(v, [-1]) for v in tf.meshgrid(starts(width), starts(height)))
        regions = tf.stack([x + tile / 2, y + tile / 2, tf.fill(tf.shape(x), tile), tf.zeros_like(x)], -1)
        return self._look(image, regions, max(_NEARER_THRESHOLD, self.score_threshold), drop_cut=True)

    def _look_further(self, image):
        width, height = tf.unstack(image.size)
        region = tf.stack([width / 2, height / 2, _FURTHER * tf.maximum(width, height), 0.0])
        return self._look(image, region[None], max(_UNSURE, self.score_threshold))

    def _look_turned(self, image):
        x, y = tf.unstack(image.size / 2)
        regions = tf.stack([tf.stack([x, y, 2 * tf.maximum(x, y), turn * math.pi / 2]) for turn in (1, 2, 3)])
        return self._look(image, regions, max(_TURNED_THRESHOLD, self.score_threshold))


def whole_body_boxes(boxes, keypoints):
    """Boxes `[K, 4]` (x0, y0, x1, y1) widened to hold the seen keypoints `[K, 17, 3]`, crown, hands and toes."""
    points, seen = keypoints[..., :2], keypoints[..., 2] > _SEEN

    def beyond(end, before, share):
        """A point past `end` on the line from `before`."""
        return tf.gather(points, end, axis=1) * (1 + share) - tf.gather(points, before, axis=1) * share

    ends, befores = [9, 10, 15, 16], [7, 8, 13, 14]
    hands, toes = beyond(ends[:2], befores[:2], 0.45), beyond(ends[2:], befores[2:], 0.25)
    neck = tf.reduce_mean(points[:, 5:7], 1)
    crown = points[:, 0] * 1.9 - neck * 0.9
    limbs_seen = tf.gather(seen, ends, axis=1) & tf.gather(seen, befores, axis=1)
    crown_seen = tf.reduce_min(tf.gather(keypoints[..., 2], [0, 5, 6], axis=1), 1) > _SEEN / 2
    # a face may be missed, not what it sits on
    hips = tf.reduce_mean(points[:, 11:13], 1)
    above_torso = neck * 1.65 - hips * 0.65
    torso_seen = seen[:, 5] & seen[:, 6]
    points = tf.concat([points, hands, toes, crown[:, None], above_torso[:, None]], 1)
    seen = tf.concat([seen, limbs_seen, crown_seen[:, None], torso_seen[:, None]], 1)[..., None]
    low = tf.reduce_min(tf.where(seen, points, boxes[:, None, :2]), 1)
    high = tf.reduce_max(tf.where(seen, points, boxes[:, None, 2:]), 1)
    return tf.concat([tf.minimum(boxes[:, :2], low), tf.maximum(boxes[:, 2:], high)], -1)


def _joined(first, second):
    return People(*(tf.concat(v, 0) for v in zip(first, second)))


def _without_doubles(people):
    """Best first, nobody twice."""
    order = tf.argsort(people.scores, direction="DESCENDING", stable=True)
    people = People(*(tf.gather(v, order) for v in people))
    keep = distinct(*people)
    return People(*(tf.boolean_mask(v, keep) for v in people))


def distinct(boxes, scores, keypoints, box_limit=0.65, keypoint_limit=0.6):
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
