"""Keypoints to heatmaps K and back: a Gaussian a keypoint, read by its centre of mass."""

import tensorflow as tf

MAP_SIZE = 60  # paper, Sec. 2.2
CROP_SIZE = 480
STRIDE = CROP_SIZE // MAP_SIZE
SIGMA = 1.5  # map pixels
_BLOCK_SIGMAS = 2.5


def paint_heatmaps(keypoints_crop, confidence, map_size=MAP_SIZE):
    """Paints one Gaussian a keypoint whose peak is its confidence.

    Args:
        keypoints_crop: `[B, N, 2]`, pixels of the 480x480 crop.
        confidence: `[B, N]` in [0, 1]; 0 paints nothing.
        map_size: int, side of the map.

    Returns:
        `[B, map_size, map_size, N]`.
    """
    rows, columns = _bells(keypoints_crop, confidence, map_size)
    return rows[:, :, None, :] * columns[:, None, :, :]


def paint_pooled_heatmaps(keypoints_crop, confidence):
    """`avg_pool2d(paint_heatmaps(...), 2)` at a quarter of the work: `[B, 30, 30, N]`.

    A bell is a row times a column, so its average over 2x2 pixels is the product of their averages.
    """
    rows, columns = (tf.reduce_mean(tf.reshape(x, [-1, MAP_SIZE // 2, 2, x.shape[2]]), 2)
                     for x in _bells(keypoints_crop, confidence, MAP_SIZE))
    return rows[:, :, None, :] * columns[:, None, :, :]


def _bells(keypoints_crop, confidence, map_size):
    scale = CROP_SIZE / map_size
    sigma = SIGMA * map_size / MAP_SIZE
    centres = tf.range(map_size, dtype=tf.float32) + 0.5
    offset = keypoints_crop[..., None] / scale - centres  # [B, N, 2, M]
    bell = tf.exp(-0.5 * tf.square(offset / sigma))
    rows = tf.transpose(bell[:, :, 1] * confidence[..., None], [0, 2, 1])  # [B, M, N]
    return rows, tf.transpose(bell[:, :, 0], [0, 2, 1])


def read_keypoints(heatmaps):
    """Reads `j_i(K)` of Eq. 4 and its confidence.

    The peak is found first, and the centre of mass of the bell around it gives the position below a map
    pixel, so a second, lower peak does not pull.

    Args:
        heatmaps: `[B, M, M, N]`.

    Returns:
        keypoints_crop `[B, N, 2]` in pixels of the 480x480 crop (the crop's centre where nothing is
        painted) and confidence `[B, N]`, the height of the peak.
    """
    size = heatmaps.shape[1]
    count = heatmaps.shape[3]
    flat = tf.reshape(heatmaps, [-1, size * size, count])
    height = tf.reduce_max(flat, axis=1)
    peak = tf.argmax(flat, axis=1, output_type=tf.int32)  # [B, N]
    sigma = SIGMA * size / MAP_SIZE
    centres = tf.range(size, dtype=tf.float32) + 0.5

    def mass(marginal, peak_index):
        near = tf.exp(-0.5 * tf.square((centres[None, :, None] - tf.cast(peak_index, tf.float32)[:, None] - 0.5)
                                       / (_BLOCK_SIGMAS * sigma)))
        weight = marginal * near
        position = tf.reduce_sum(weight * centres[None, :, None], 1) / tf.maximum(tf.reduce_sum(weight, 1), 1e-9)
        # The window pulls the centre of a bell of width sigma towards the window's own centre; undo it.
        window = tf.cast(peak_index, tf.float32) + 0.5
        return window + (position - window) * (1.0 + 1.0 / _BLOCK_SIGMAS**2)

    x = mass(tf.reduce_sum(heatmaps, axis=1), peak % size)
    y = mass(tf.reduce_sum(heatmaps, axis=2), peak // size)
    # The bell's top lies between map pixels: undo what the highest pixel misses of it.
    sample = tf.cast(tf.stack([peak % size, peak // size], -1), tf.float32) + 0.5
    missed = tf.reduce_sum(tf.square((tf.stack([x, y], -1) - sample) / sigma), axis=-1)
    confidence = tf.minimum(height * tf.exp(0.5 * tf.minimum(missed, 0.5)), 1.0)
    keypoints = tf.stack([x, y], axis=-1) * (CROP_SIZE / size)
    return tf.where(height[..., None] > 1e-3, keypoints, CROP_SIZE / 2.0), confidence
