"""Who a box that the detector found shows: a person at all, and one not seen before. Keypoints in, yes or no out."""

from typing import NamedTuple

import tensorflow as tf

# A box in which the landmark networks see little of a body is no person: a dog, a sign, a hull mark. Of a portrait they see
# the head alone, but surely: 0.9 on photos of faces, up to 0.5 where one network sees a head that the other does not.
_MIN_MEAN_CONFIDENCE, _SURE_HEAD = 0.28, 0.7
_HEAD = [0, 15, 16, 17, 18]  # nose, eyes, ears
_SEEN_BODY = [i for i in range(25) if i not in (20, 23)]  # BODY_25 less the small toes, which nothing detects
# Two boxes in which the networks see the same points show one person. In crowded photos such pairs are 0.003 to 0.033 of
# the person's size apart, and the nearest pairs of two people 0.084.
_SAME = 0.05
_SURE, _LEAST_COMMON = 0.3, 5


class Looks(NamedTuple):
    """What is seen of N people: `keypoints` `[N, 137, 2]`, pixels of the photo, and their `confidence` `[N, 137]`."""

    keypoints: tf.Tensor
    confidence: tf.Tensor


def nobody():
    """`Looks` of no people."""
    return Looks(tf.zeros([0, 137, 2], tf.float64), tf.zeros([0, 137]))


def is_person(confidence):
    """Where the landmark networks see enough of a body, or surely a head: confidence `[N, 137]` -> `[N]` bool."""
    body, head = (tf.reduce_mean(tf.gather(confidence, points, axis=1), -1) for points in (_SEEN_BODY, _HEAD))
    return (body >= _MIN_MEAN_CONFIDENCE) | (head >= _SURE_HEAD)


def same_person(looks, others):
    """Which of N people are which of M others.

    Args:
        looks, others: `Looks` of N and of M people.

    Returns:
        `[N, M]` bool: the median distance of body points that are sure in both, over the smaller one's size, is below 0.05.
        With fewer than five common points two people count as two.
    """
    (points, sure, size), (other, other_sure, other_size) = _body(looks), _body(others)
    both = sure[:, None] & other_sure[None]  # [N, M, 25]
    count = tf.reduce_sum(tf.cast(both, tf.int32), -1)
    apart = tf.norm(points[:, None] - other[None], axis=-1)
    apart = tf.sort(tf.where(both, apart, tf.constant(float("inf"), apart.dtype)), axis=-1)
    middle = tf.stack([tf.maximum(count - 1, 0) // 2, tf.minimum(count // 2, 24)], -1)
    median = tf.reduce_mean(tf.gather(apart, middle, axis=-1, batch_dims=2), -1)
    return (count >= _LEAST_COMMON) & (median < _SAME * tf.minimum(size[:, None], other_size[None]))


def distinct(looks, known):
    """Who of N seen is a person, and neither known nor seen before among them.

    Args:
        looks: `Looks` of N people, the surest first.
        known: `Looks` of M people, one each.

    Returns:
        `[N]` bool.
    """
    new = is_person(looks.confidence) & ~tf.reduce_any(same_person(looks, known), -1)
    same, rows = same_person(looks, looks), tf.range(tf.shape(new)[0])

    def step(i, keep):
        again = tf.reduce_any(same[i] & keep & (rows < i))
        return i + 1, keep & (tf.not_equal(rows, i) | ~again)

    return tf.while_loop(lambda i, _: i < tf.shape(rows)[0], step, [0, new],
                         shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])])[1]


def joined(looks, others):
    """`Looks` of both."""
    return Looks(*(tf.concat(pair, 0) for pair in zip(looks, others)))


def _body(looks):
    """Points of the body `[N, 25, 2]`, which of them are sure, and the longer side of their bounds `[N]`, float64."""
    points, sure = tf.cast(looks.keypoints[:, :25], tf.float64), looks.confidence[:, :25] > _SURE
    far = tf.constant(float("inf"), tf.float64)
    high = tf.reduce_max(tf.where(sure[..., None], points, -far), 1)
    low = tf.reduce_min(tf.where(sure[..., None], points, far), 1)
    return points, sure, tf.reduce_max(high - low, -1)
