"""Degraded evidence of parts: true keypoints of a hand or a face in, what landmark networks would say of them out."""

import tensorflow as tf

from hund_tf.geometry import camera
from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.training.evidence import Draws
from hund_tf.whole_body.part_context import PartEvidence
from hund_tf.whole_body.part_objective import pose, relative_depths
from hund_tf.whole_body.part_shapes import HAND
from hund_tf.whole_body.part_state import PartState

_SPREAD = {HAND: 0.016, "face": 0.012}  # crop widths: usual error of a keypoint; three times as much now and then
_GROUPS = {  # points that err together: fingers; jaw, brows, nose, eyes, mouth, pupils
    HAND: (0,) * 1 + (1,) * 4 + (2,) * 4 + (3,) * 4 + (4,) * 4 + (5,) * 4,
    "face": (0,) * 17 + (1,) * 5 + (2,) * 5 + (3,) * 9 + (4,) * 6 + (5,) * 6 + (6,) * 20 + (4, 5)}
# Errors of depths: of a point, crop widths; of the whole part's lean, crop widths a crop width; of their scale.
_DEPTH_SPREAD, _DEPTH_LEAN, _DEPTH_SCALE = 0.035, 0.15, 0.2
_NO_DEPTH, _WILD, _LOST = 0.2, 0.05, 0.06  # shares: no depths at all; a part seen badly; a group of points missing
_SHAPE_SPREAD = 0.5  # of the body's shape code as another network estimates it


def detect(part_shape, scene, seed, noise=1.0):
    """Says of a batch of scenes what landmark networks would say.

    Args:
        part_shape: `PartShape`.
        scene: dict of `part_scenes.FIELDS`, a batch.
        seed: int tensor `[2]`.
        noise: float, scale of every error.

    Returns:
        `(PartEvidence, PartState, keypoints)`: what is seen, what is true, and its keypoints `[B, N, 3]` in the camera frame.
    """
    draw, kind = Draws(seed), part_shape.kind
    truth = PartState(scene["codes"], scene["rotation"], scene["translation"])
    keypoints = pose(part_shape, truth, scene["shape"])
    pixels = camera.project(keypoints, scene["intrinsics"])
    batch, points = tf.shape(pixels)[0], part_shape.num_keypoints
    group = tf.constant(_GROUPS[kind])
    groups = max(_GROUPS[kind]) + 1

    wild = tf.where(draw.chance(_WILD, batch, 1), 3.0, 1.0)
    scale = noise * _SPREAD[kind] * wild * tf.exp(0.5 * draw.normal(batch, 1))
    together = tf.gather(draw.normal(batch, groups, 2), group, axis=1)
    error = (0.7 * draw.normal(batch, points, 2) + 0.7 * together) * scale[..., None]
    lost = tf.gather(draw.chance(_LOST * noise, batch, groups), group, axis=1) if noise else tf.zeros([batch, points], tf.bool)
    confidence = tf.clip_by_value(1.0 - 4.0 * scale + 0.1 * draw.normal(batch, 1), 0.3, 1.0)
    confidence = tf.where(lost, 0.0, tf.tile(confidence, [1, points]))

    depths = wrong_depths(kind, relative_depths(keypoints, scene["intrinsics"]), pixels / CROP_SIZE - 0.5, draw, noise)
    evidence = PartEvidence(
        keypoints=pixels + error * CROP_SIZE, confidence=confidence, depths=depths,
        shape=scene["shape"] + _SHAPE_SPREAD * noise * draw.normal(batch, scene["shape"].shape[1]),
        intrinsics=scene["intrinsics"])
    return evidence, truth, keypoints


def wrong_depths(kind, depths, places, draw, noise=1.0):
    """What landmark networks would say of a part's depths.

    Args:
        kind: "hand" or "face".
        depths: `[B, N]`, true, relative to their mean, crop widths.
        places: `[B, N, 2]`, of the points in the crop from its middle, crop widths.
        draw: `Draws`.
        noise: float, scale of every error.

    Returns:
        `[B, N]`, relative to their mean; all 0 of parts whose depths are not told.
    """
    batch, group = tf.shape(depths)[0], tf.constant(_GROUPS[kind])
    together = tf.gather(draw.normal(batch, max(_GROUPS[kind]) + 1), group, axis=1)
    shift = (0.6 * draw.normal(batch, depths.shape[1]) + 0.8 * together) * _DEPTH_SPREAD * noise
    lean = tf.einsum("bnc,bc->bn", places, _DEPTH_LEAN * noise * draw.normal(batch, 2))
    depths = depths * tf.exp(_DEPTH_SCALE * noise * draw.normal(batch, 1)) + shift + lean
    return tf.where(draw.chance(_NO_DEPTH, batch, 1), 0.0, depths - tf.reduce_mean(depths, -1, keepdims=True))
