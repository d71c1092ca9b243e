"""Keypoints of a person's crop in, views of one part out: evidence in an upright crop of its own, and the way back."""

import math
from typing import NamedTuple

import tensorflow as tf

from hund_tf.geometry import rotations
from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.whole_body.part_context import PartEvidence
from hund_tf.whole_body.part_state import PartState

MARGIN = 1.25  # the crop's side over the longer extent of the keypoints
UPRIGHT = {"hand": (0, 9), "face": (8, 27)}  # from one keypoint to the other is up: wrist to middle finger, chin to nose bridge
_LEAST = 1e-3  # of the focal length: the crop of a part is no smaller


class PartView(NamedTuple):
    """A camera that looks at one part of each of B people.

    Attributes:
        evidence: `PartEvidence` in the view.
        turn: `[B]`, radians, by which the camera is turned about its axis.
        mirrored: bool, whether the view is seen in a mirror, as right hands are.
    """

    evidence: PartEvidence
    turn: tf.Tensor
    mirrored: bool


def look_at(kind, keypoints, confidence, depths, shape, intrinsics, mirrored=False):
    """Turns and scales what is seen of a part into a crop in which it stands upright.

    A turn about the camera's axis and a crop are exact for a camera; so a state in the view is one in the camera, turned.

    Args:
        kind: "hand" or "face".
        keypoints: `[B, N, 2]`, pixels of the person's crop.
        confidence: `[B, N]`.
        depths: `[B, N]`, how much farther than any one of them the points are, pixels of the same crop; all 0: not known.
        shape: `[B, 16]`, of the body.
        intrinsics: `[B, 4]`, of the same crop.
        mirrored: bool; a right hand becomes a left one.

    Returns:
        `PartView`.
    """
    focal, centre = tf.split(intrinsics[:, None], 2, axis=-1)
    points = (keypoints - centre) / focal
    if mirrored:
        points *= [-1.0, 1.0]
    start, end = UPRIGHT[kind]
    up = points[:, end] - points[:, start]
    turn = -tf.atan2(up[:, 1], up[:, 0]) - math.pi / 2
    points = tf.einsum("bij,bnj->bni", _turned(turn)[:, :2, :2], points)
    seen = (confidence > 0.05)[..., None]
    low = tf.reduce_min(tf.where(seen, points, 1e3), 1)
    high = tf.reduce_max(tf.where(seen, points, -1e3), 1)
    anything = tf.reduce_any(seen, 1)
    low, high = tf.where(anything, low, -0.5), tf.where(anything, high, 0.5)
    side = tf.maximum(tf.reduce_max(high - low, -1, keepdims=True) * MARGIN, _LEAST)
    part_focal = CROP_SIZE / side  # [B, 1]
    part_centre = CROP_SIZE / 2 - part_focal * (low + high) / 2
    depths = depths - tf.reduce_mean(depths, -1, keepdims=True)
    mean_focal = tf.reduce_mean(focal[:, 0], -1, keepdims=True)
    evidence = PartEvidence(
        keypoints=points * part_focal[:, None] + part_centre[:, None], confidence=confidence,
        depths=depths * part_focal / mean_focal / CROP_SIZE, shape=shape,
        intrinsics=tf.concat([part_focal, part_focal, part_centre], -1))
    return PartView(evidence, turn, mirrored)


def look_back(view, state):
    """A `PartState` in a `PartView` as one in the person's camera; of a mirrored hand, that of the right hand itself."""
    camera_from_view = _turned(-view.turn)
    rotation = camera_from_view @ rotations.matrix_from_6d(state.rotation)
    translation = tf.einsum("bij,bj->bi", camera_from_view, state.translation)
    if view.mirrored:
        rotation, translation = rotations.mirrored(rotation), translation * [-1.0, 1.0, 1.0]
    return PartState(state.codes, rotations.matrix_to_6d(rotation), translation)


def points_back(view, points):
    """Points `[B, N, 3]` of a `PartView` in the person's camera; of a mirrored hand, those of the right hand itself."""
    points = tf.einsum("bij,bnj->bni", _turned(-view.turn), points)
    return points * [-1.0, 1.0, 1.0] if view.mirrored else points


def _turned(angle):
    """Rotations `[B, 3, 3]` about the camera's axis."""
    cos, sin, zero, one = tf.cos(angle), tf.sin(angle), tf.zeros_like(angle), tf.ones_like(angle)
    return tf.reshape(tf.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], -1), [-1, 3, 3])
