"""MoveNet: its heads decoded for any number of images and people.

MoveNet finds a person by a peak of its centre map; there it reads a first guess of 17 keypoints
(COCO order), and each is then moved to the best heat near the guess. The published models carry
this decoder for one image and six people only, so it is written here anew.
Source: MoveNet model cards and the graphs of the published models (constants below).
"""

import tensorflow as tf

STRIDE = 4  # pixels of the input a cell of the maps
NEAR = 1.8  # cells; softens "near", in the published Thunder graph
COCO17 = ("nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
          "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle").split()
_GRID = 64  # cells of Thunder's maps


def decode_thunder(heads):
    """Thunder's heads of a 256-pixel crop -> `[N, 17, 3]`: x, y in 0..1 of the crop, score.

    The centre map is weighted towards the crop's middle: of two people the middle one is read.
    """
    batch = tf.shape(heads["heatmaps"])[0]
    rows, columns = _grid(_GRID, _GRID)
    weight = 1 / (tf.sqrt((rows - _GRID / 2) ** 2 + (columns - _GRID / 2) ** 2) + NEAR)
    score = tf.reshape(tf.sigmoid(heads["center"][..., 0]) * weight, [batch, -1])
    peak = tf.argmax(score, -1, output_type=tf.int32)
    regression = tf.reshape(heads["regression"], [batch, _GRID * _GRID, 17, 2])
    guess = tf.gather(regression, peak, batch_dims=1)
    guess += tf.cast(tf.stack([peak // _GRID, peak % _GRID], -1), tf.float32)[:, None]  # (row, column)
    heat = tf.sigmoid(heads["heatmaps"])
    distance = tf.sqrt((rows[None, :, :, None] - guess[:, None, None, :, 0]) ** 2
                       + (columns[None, :, :, None] - guess[:, None, None, :, 1]) ** 2)
    best = tf.argmax(tf.reshape(heat / (distance + NEAR), [batch, -1, 17]), 1, output_type=tf.int32)
    row, column, score = _refined(heads, heat, best, _GRID)
    return tf.stack([column / _GRID, row / _GRID, score], -1)


def decode_multipose(heads, max_people, score_threshold):
    """Multipose heads `[B, h, w, ...]` -> up to `max_people` of each image, best first.

    Returns:
        boxes `[B, K, 4]` (x0, y0, x1, y1), scores `[B, K]` (0 = nobody), keypoints `[B, K, 17, 3]`
        (x, y, score), in pixels of the network's input.
    """
    center = tf.sigmoid(heads["center"][..., 0])
    batch, height, width = tf.unstack(tf.shape(center))
    is_peak = tf.nn.max_pool2d(center[..., None], 3, 1, "SAME")[..., 0] <= center
    flat = tf.reshape(tf.where(is_peak, center, 0.0), [batch, -1])
    count = tf.minimum(max_people, tf.shape(flat)[1])
    scores, peaks = tf.math.top_k(flat, count)

    def at_peaks(head):
        return tf.gather(tf.reshape(head, [batch, -1, head.shape[-1]]), peaks, batch_dims=1)

    row, column = tf.cast(peaks // width, tf.float32), tf.cast(peaks % width, tf.float32)
    middle = at_peaks(heads["box_offset"]) + tf.stack([row, column], -1)
    half = tf.maximum(at_peaks(heads["box_scale"]), 0.0) / 2
    boxes = tf.reverse(tf.stack([middle - half, middle + half], -2), [-1])  # (row, column) -> (x, y)
    boxes = tf.reshape(boxes, [batch, -1, 4]) * STRIDE
    guess = tf.reshape(at_peaks(heads["regression"]), [batch, -1, 17, 2])
    guess += tf.stack([row, column], -1)[:, :, None]
    keypoints = _nearest_heat(heads, guess, half * 2, height, width)
    return boxes, tf.where(scores > score_threshold, scores, 0.0), keypoints


def _nearest_heat(heads, guess, size, height, width):
    """Moves guesses `[B, K, 17, 2]` (row, column) to the best heat in a window of 9 x 9 cells."""
    heat = tf.sigmoid(heads["heatmaps"])
    steps = tf.range(-4, 5)
    window = tf.reshape(tf.stack(tf.meshgrid(steps, steps, indexing="ij"), -1), [-1, 2])
    limit = tf.stack([height - 1, width - 1])
    cells = tf.cast(tf.round(tf.clip_by_value(guess, -1e6, 1e6)), tf.int32)[..., None, :] + window
    cells = tf.clip_by_value(cells, 0, limit)  # [B, K, 17, 81, 2]
    flat = cells[..., 0] * width + cells[..., 1]
    by_joint = tf.reshape(tf.transpose(heat, [0, 3, 1, 2]), [tf.shape(heat)[0], 17, -1])
    values = tf.gather(by_joint, tf.transpose(flat, [0, 2, 1, 3]), batch_dims=2)  # [B, 17, K, 81]
    values = tf.transpose(values, [0, 2, 1, 3])
    distance = tf.norm(tf.cast(cells, tf.float32) - guess[..., None, :] + 1e-6, axis=-1)
    sigma = tf.maximum(0.15 * tf.reduce_min(size, -1), 1.0)[..., None, None]
    best = tf.argmax(values * tf.exp(-0.5 * (distance / sigma) ** 2), -1, output_type=tf.int32)
    cell = tf.gather(flat, best, batch_dims=3)  # [B, K, 17]
    score = tf.gather(values, best, batch_dims=3)
    offsets = tf.reshape(heads["offsets"], [tf.shape(heat)[0], height * width, 17, 2])
    offsets = tf.gather(tf.transpose(offsets, [0, 2, 1, 3]), tf.transpose(cell, [0, 2, 1]), batch_dims=2)
    offsets = tf.transpose(offsets, [0, 2, 1, 3])
    found = tf.cast(tf.stack([cell // width, cell % width], -1), tf.float32) + offsets
    found = tf.where(score[..., None] > 0.1, found, guess) * STRIDE
    return tf.concat([tf.reverse(found, [-1]), score[..., None]], -1)


def _refined(heads, heat, best, width):
    batch = tf.shape(heat)[0]
    score = tf.gather(tf.transpose(tf.reshape(heat, [batch, -1, 17]), [0, 2, 1]), best, batch_dims=2)
    offsets = tf.transpose(tf.reshape(heads["offsets"], [batch, -1, 17, 2]), [0, 2, 1, 3])
    offsets = tf.gather(offsets, best, batch_dims=2)
    row = tf.cast(best // width, tf.float32) + offsets[..., 0]
    column = tf.cast(best % width, tf.float32) + offsets[..., 1]
    return row, column, score


def _grid(height, width):
    return tf.meshgrid(tf.range(height, dtype=tf.float32), tf.range(width, dtype=tf.float32), indexing="ij")
