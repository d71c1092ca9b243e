"""Losses of the first CNN: F and logits of K and B against what they should say, one value an example."""

import tensorflow as tf


def heatmap_loss(logits, targets, weight):
    """How far heatmaps are from painted ones, pixel by pixel.

    The Kullback-Leibler divergence of each pixel's `sigmoid(logit)` from its target, as of two coins, averaged over the
    map: 0 where they agree. Unlike squared error it does not fade where the sigmoid is flat, as in empty maps.

    Args:
        logits: `[B, M, M, N]`.
        targets: `[B, M, M, N]` in [0, 1], such as `heatmaps.paint_heatmaps` paints.
        weight: `[B, N]`, at least 0, how much each keypoint counts; 0: not at all.

    Returns:
        `[B]`, nats a pixel; 0 where no keypoint counts.
    """
    # logs of p and of 1 - p from the logits: exact where the sigmoid rounds to 0 or 1
    cross = targets * tf.nn.softplus(-logits) + (1.0 - targets) * tf.nn.softplus(logits)
    entropy = -tf.math.xlogy(targets, targets) - tf.math.xlogy(1.0 - targets, 1.0 - targets)
    return _mean(tf.reduce_mean(cross - entropy, [1, 2]), weight)


def part_loss(logits, targets, background_weight=0.5):
    """Cross entropy of part maps; the background, which is most of a crop, counts less.

    Args:
        logits: `[B, M, M, 15]`, channel 0 is the background.
        targets: `[B, M, M, 15]`, probabilities: one-hot labels, or another network's B.
        background_weight: float, what a pixel of background counts; one of a part counts 1.

    Returns:
        `[B]`, nats a pixel.
    """
    background = targets[..., 0]
    weight = background_weight * background + 1.0 - background
    return _mean(*(tf.reshape(x, [tf.shape(x)[0], -1]) for x in (
        tf.nn.softmax_cross_entropy_with_logits(targets, logits), weight)))


def feature_loss(features, targets):
    """How far features are from those of another network: 0 where they agree, 1 for a network that says nothing.

    Args:
        features: F, `[B, 60, 60, C]`; compared as the context CNN reads it, averaged to the side of `targets`.
        targets: `[B, M, M, C]`, M divides 60.

    Returns:
        `[B]`, squared error over the targets' mean square.
    """
    times = features.shape[1] // targets.shape[1]
    error = tf.nn.avg_pool2d(features, times, times, "VALID") - targets
    power = tf.reduce_mean(tf.square(targets), [1, 2, 3])
    return tf.math.divide_no_nan(tf.reduce_mean(tf.square(error), [1, 2, 3]), power)


def _mean(values, weight):
    """Weighted mean over the last axis; 0 where nothing weighs."""
    return tf.math.divide_no_nan(tf.reduce_sum(values * weight, -1), tf.reduce_sum(weight, -1))
