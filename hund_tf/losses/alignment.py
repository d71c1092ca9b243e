"""How well a posed body agrees with the image: keypoints (Eq. 4) and body parts (Eq. 5)."""

import tensorflow as tf

_TINY = 1e-8


def safe_norm(x):
    """Euclidean norm of the last axis whose gradient at 0 is 0: `[..., D]` -> `[...]`."""
    square = tf.reduce_sum(tf.square(x), axis=-1)
    positive = square > _TINY
    return tf.where(positive, tf.sqrt(tf.where(positive, square, 1.0)), 0.0)


def keypoint_alignment(projected, detected, confidence, limit=None):
    """L_k, the mean distance of projected and detected keypoints, weighted by confidence.

    Args:
        projected: `[B, N, 2]`, any unit.
        detected: `[B, N, 2]`, same unit.
        confidence: `[B, N]`, weights; the paper's plain mean is a weight of 1 for all.
        limit: optional float, distances above it count as it, so that one wild keypoint of a person behind the
            camera does not drown the rest.

    Returns:
        `[B]`, same unit; 0 where no keypoint has weight.

    Source: Zanfir et al., CVPR 2021, Eq. 4.
    """
    distance = safe_norm(projected - detected)
    if limit is not None:
        distance = tf.minimum(distance, limit)
    return tf.reduce_sum(confidence * distance, -1) / tf.maximum(tf.reduce_sum(confidence, -1), _TINY)


def part_alignment(rendered, part_maps):
    """L_b, the mean over pixels of the absolute difference of part maps and visibility.

    Args:
        rendered: `[B, H, W, 16]`: 15 labels, background first, then visibility.
        part_maps: `[B, H, W, 15]`, probabilities, background first. Visibility is what is not background.

    Returns:
        `[B]`, between 0 and 3.

    Source: Zanfir et al., CVPR 2021, Eq. 5.
    """
    target = tf.concat([part_maps, 1.0 - part_maps[..., :1]], axis=-1)
    return tf.reduce_mean(tf.reduce_sum(tf.abs(rendered - target), axis=-1), axis=[1, 2])
