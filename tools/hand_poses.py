"""Finger poses to learn from: captured hands, photographed signs and made-up curls in, rotations of the left hand out.

The left hand of the T-pose lies along +x with the palm down, index finger in front (+z).
"""

import os

import numpy as np
from scipy.spatial.transform import Rotation

FINGERS = ("index", "middle", "ring", "pinky", "thumb")
MIRROR_SIGN = np.array([1.0, 1.0, -1.0, -1.0])  # of a wxyz quaternion, in a mirror across x
HELD_OUT = 0.15
_REST_Z = (0.0, -0.047, -0.036, -0.068)  # directions of the straight fingers, (1, 0, z)
_REST_THUMB = (0.795, -0.446, 0.411)
_JITTER = 0.06  # radians, of a sign's finger joints: one example of each is all there is
_GESTURES = 0.4  # share of made-up hands whose fingers are each either straight or folded
_THUMB_JITTER = (0.3, 0.15, 0.15)  # radians, of the three joints of a made-up hand's thumb


class HandPoses:
    """Finger rotations of left hands, right ones mirrored; whole clips and whole signs are held out.

    Args:
        folder: str, holds `mesh2motion_cc0.npz` and `hands25_mit.npz`.
        seed: int, what is held out.
    """

    def __init__(self, folder, seed=0):
        rng = np.random.default_rng(seed)
        with np.load(os.path.join(folder, "mesh2motion_cc0.npz"), allow_pickle=False) as data:
            quaternions, names = data["quat_wxyz_rest_aligned"].astype(np.float64), [str(n) for n in data["names"]]
            clips = data["clip_id"]
        joints = [f"{finger}{i}" for finger in FINGERS for i in (1, 2, 3)]
        left = quaternions[:, [names.index("left_" + joint) for joint in joints]]
        right = quaternions[:, [names.index("right_" + joint) for joint in joints]] * MIRROR_SIGN
        kinds = np.unique(clips)
        held = np.isin(clips, rng.choice(kinds, int(HELD_OUT * len(kinds)), replace=False))
        with np.load(os.path.join(folder, "hands25_mit.npz"), allow_pickle=False) as data:
            points, right_hands = data["positions_m"].astype(np.float64), data["handedness"] == "right"
            whole = np.linalg.norm(np.diff(points, axis=1), axis=2).min(1) > 1e-4  # one file has fingers without length
            signs = _rotations_from_points(points[whole], [str(n) for n in data["joints"]], right_hands[whole])
        held_sign = np.isin(np.arange(len(signs)), rng.choice(len(signs), int(HELD_OUT * len(signs)), replace=False))
        self._captured = {"train": np.concatenate([left[~held], right[~held]]),
                          "validation": np.concatenate([left[held], right[held]])}
        self._signs = {"train": signs[~held_sign], "validation": signs[held_sign]}

    def sample(self, count, split, rng, made_up=True):
        """Rotation matrices `[count, 15, 3, 3]`, fingers in the order of `FINGERS`.

        Captured and signing hands in equal parts; with `made_up` half of all are curls instead, with the thumbs of other hands.
        """
        captured, signs = (part[split][rng.integers(0, len(part[split]), count)] for part in (self._captured, self._signs))
        if made_up:
            signs = _jittered(signs, rng)
        pose = np.where((rng.random(count) < 0.5)[:, None, None], captured, signs)
        if made_up:
            curls = _curls(count, rng, _jittered(pose[rng.permutation(count)], rng, _THUMB_JITTER))
            pose = np.where((rng.random(count) < 0.5)[:, None, None], curls, pose)
        return Rotation.from_quat(pose[..., [1, 2, 3, 0]].reshape(-1, 4)).as_matrix().reshape(count, 15, 3, 3)


def _curls(count, rng, thumbs):
    """Hands whose fingers each curl by an amount of their own, with given thumbs: quaternions `[count, 15, 4]`, wxyz."""
    hand, finger = rng.uniform(-0.1, 1.0, (count, 1)), rng.normal(0, 0.25, (count, 4))
    curl = np.clip(hand + finger, -0.12, 1.0)
    curl = np.where(rng.random((count, 4)) < 0.12, rng.choice([0.0, 1.0], (count, 4)), curl)
    folded = rng.choice([0.0, 0.95], (count, 4)) + rng.normal(0, 0.08, (count, 4))
    curl = np.where(rng.random((count, 1)) < _GESTURES, np.clip(folded, -0.12, 1.0), curl)
    angle = curl[..., None] * np.array([1.45, 1.65, 1.1]) + rng.normal(0, 0.08, (count, 4, 3))
    spread = rng.normal(0, 0.1, (count, 1)) * np.array([1.0, 0.2, -0.4, -1.0]) + rng.normal(0, 0.05, (count, 4))
    vectors = np.zeros((count, 4, 3, 3))
    vectors[..., 2] = -angle  # a finger bends about -z
    vectors[..., 0, 1] = spread * (1 - np.clip(curl, 0, 1))
    quaternions = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_quat()[:, [3, 0, 1, 2]].reshape(count, 12, 4)
    return np.concatenate([quaternions, thumbs[:, 12:]], axis=1)


def _jittered(pose, rng, thumb=(_JITTER,) * 3):
    spread = np.array([_JITTER] * 12 + list(thumb))[:, None]
    turn = Rotation.from_rotvec((rng.normal(size=(len(pose), 15, 3)) * spread).reshape(-1, 3))
    turned = Rotation.from_quat(pose[..., [1, 2, 3, 0]].reshape(-1, 4)) * turn
    return turned.as_quat()[:, [3, 0, 1, 2]].reshape(pose.shape)


def _rotations_from_points(points, names, is_right):
    """Joint positions `[N, 25, 3]` -> wxyz `[N, 15, 4]` of left hands: each bone swings to its direction, without twist."""
    points = points * np.where(is_right, -1.0, 1.0)[:, None, None] ** np.array([1, 0, 0])
    at = {name: points[:, i] for i, name in enumerate(names)}
    along = at["middle-finger-phalanx-proximal"] - at["wrist"]
    across = at["index-finger-phalanx-proximal"] - at["pinky-finger-phalanx-proximal"]
    x = _unit(along)
    y = _unit(np.cross(across, x))
    hand_from_world = np.stack([x, y, np.cross(x, y)], axis=1)
    rotations = []
    for i, finger in enumerate(FINGERS):
        chain = ("thumb-metacarpal", "thumb-phalanx-proximal", "thumb-phalanx-distal", "thumb-tip")
        if finger != "thumb":
            chain = [f"{finger}-finger-{part}" for part in ("phalanx-proximal", "phalanx-intermediate", "phalanx-distal", "tip")]
        rest = _unit(np.array(_REST_THUMB if finger == "thumb" else (1.0, 0.0, _REST_Z[i])))
        above = Rotation.identity(len(points))
        for start, end in zip(chain[:-1], chain[1:]):
            direction = np.einsum("nij,nj->ni", hand_from_world, _unit(at[end] - at[start]))
            local = _swing(rest, above.inv().apply(direction))
            rotations.append(local.as_quat()[:, [3, 0, 1, 2]])
            above = above * local
    return np.stack(rotations, axis=1)


def _swing(source, targets):
    """The smallest rotations that turn direction `source` `[3]` into `targets` `[N, 3]`."""
    axis = np.cross(source, targets)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(sine, (targets @ source)[:, None])
    return Rotation.from_rotvec(axis / np.maximum(sine, 1e-9) * angle)


def _unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
