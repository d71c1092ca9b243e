"""Codes of hands or faces in, those parts before sampled cameras in their crops out; what is true, before any detector."""

import numpy as np
import tensorflow as tf
from scipy.spatial.transform import Rotation

from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.whole_body.attention import MARGIN, UPRIGHT
from hund_tf.whole_body.part_shapes import HAND

FIELDS = ("codes", "shape", "rotation", "translation", "intrinsics")
_DISTANCE_M = 0.25, 8.0
_OFF_AXIS = 30.0  # degrees, at most, between the ray to the part and the camera's axis


def sample_part_scenes(part_shape, codes, shape, rng):
    """Places parts before cameras.

    Args:
        part_shape: `PartShape`.
        codes: `[N, C]`.
        shape: `[N, 16]`.
        rng: `np.random.Generator`.

    Returns:
        dict of float32 arrays, `FIELDS`, one row a scene: state and crop intrinsics, in the frame of a camera that is turned
        about its axis so that the part stands upright in the crop; fewer than N where a camera was too near.
    """
    count = len(codes)
    points = part_shape(tf.constant(codes, tf.float32), tf.constant(shape, tf.float32)).numpy().astype(np.float64)
    rotation = _sample_rotations(part_shape.kind, count, rng)
    points = np.einsum("nij,nkj->nki", rotation, points)
    angles = np.radians(rng.uniform(-_OFF_AXIS, _OFF_AXIS, (count, 2)))
    depth = np.exp(rng.uniform(*np.log(_DISTANCE_M), count))[:, None]
    translation = np.concatenate([np.tan(angles) * depth, depth], -1)
    placed = points + translation[:, None]
    enough = placed[..., 2].min(1) > 0.12
    pixels = placed[..., :2] / np.maximum(placed[..., 2:], 0.05)
    turn = _upright_turn(pixels, part_shape.kind) + np.radians(rng.normal(0, 12, count))
    turned = Rotation.from_euler("z", turn[:, None]).as_matrix()
    rotation, translation = turned @ rotation, np.einsum("nij,nj->ni", turned, translation)
    pixels = np.einsum("nij,nkj->nki", turned[:, :2, :2], pixels)
    low, high = pixels.min(1), pixels.max(1)
    side = (high - low).max(1) * MARGIN * np.exp(rng.normal(0, 0.12, count))
    middle = (low + high) / 2 + rng.normal(0, 0.05, (count, 2)) * side[:, None]
    focal = CROP_SIZE / side
    intrinsics = np.concatenate([focal[:, None], focal[:, None], CROP_SIZE / 2 - focal[:, None] * middle], -1)
    scenes = {"codes": codes, "shape": shape, "rotation": np.concatenate([rotation[..., 0], rotation[..., 1]], -1),
              "translation": translation, "intrinsics": intrinsics}
    return {name: value[enough].astype(np.float32) for name, value in scenes.items()}


def _upright_turn(pixels, kind):
    """Angles `[N]`, radians, by which keypoints `[N, K, 2]` must turn about the camera's axis to stand upright."""
    start, end = UPRIGHT[kind]
    x, y = np.moveaxis(pixels[:, end] - pixels[:, start], -1, 0)
    return -np.pi / 2 - np.arctan2(y, x)


def _sample_rotations(kind, count, rng):
    """Camera-from-part rotations: hands any way, faces about towards the camera."""
    if kind == HAND:
        return Rotation.random(count, random_state=rng).as_matrix()
    turn = np.where(rng.random(count) < 0.7, rng.normal(0, 25, count), rng.uniform(-80, 80, count))
    nod, roll = rng.normal(0, 15, count), rng.normal(0, 20, count)
    facing = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))
    return (Rotation.from_euler("ZXY", np.stack([roll, nod, turn], -1), degrees=True) * facing).as_matrix()
