"""Fits the affine pose prior on motion capture: 6D rotations of body and hands in, mean and factor out.

Frames are drawn by clip with walking weighted down, and mirrored; 15 % of the clips are held out (seed 0). Fingers come
from clips with fingers and from made-up curls of single fingers, so that a fist and a pointing hand are both likely.
"""

import os

import numpy as np
from scipy.spatial.transform import Rotation

from body_skeleton import JOINT_NAMES

HELD_OUT = 0.15
WALK_WEIGHT = 0.3
STD_FLOOR = 0.05  # of a 6D number along any direction, so that rare poses keep codes of moderate size
FRAMES = 60000
_BODY = 22
_HAND = 15
_MIRROR_SIGN = np.array([1.0, 1.0, -1.0, -1.0])  # of a quaternion, in a mirror across x


def fit(folder, rng):
    """Arrays `pose_{body, left_hand, right_hand}_{mean, factor}` of the schema."""
    result = {}
    body = _body_frames(os.path.join(folder, "body22_permissive.npz"), rng)
    result["pose_body_mean"], result["pose_body_factor"] = _gaussian(body)
    left = _finger_frames(os.path.join(folder, "mesh2motion_cc0.npz"), rng)
    result["pose_left_hand_mean"], result["pose_left_hand_factor"] = _gaussian(left)
    result["pose_right_hand_mean"], result["pose_right_hand_factor"] = _gaussian(left * _mirror_6d(_HAND))
    return result


def training_clips(clip_ids, seed=0):
    """Clips that are not held out: 85 % of them, drawn with `seed`."""
    clips = np.unique(clip_ids)
    held_out = np.random.default_rng(seed).choice(clips, int(HELD_OUT * len(clips)), replace=False)
    return np.setdiff1d(clips, held_out)


def _body_frames(path, rng):
    """6D rotations `[2 FRAMES, 126]` of joints 1..21, each frame with its mirror image."""
    with np.load(path, allow_pickle=False) as data:
        quaternions, clip_ids = data["quat_wxyz_local"].astype(np.float64), data["clip_id"]
        names = [str(name).lower() for name in data["clip_names"]]
    clips = training_clips(clip_ids)
    weight = np.array([WALK_WEIGHT if "walk" in names[c] else 1.0 for c in clips])
    drawn = rng.choice(clips, FRAMES, p=weight / weight.sum())
    frames = [np.flatnonzero(clip_ids == c) for c in range(clip_ids.max() + 1)]
    pose = quaternions[[rng.choice(frames[c]) for c in drawn]]
    swap = [JOINT_NAMES.index(_other_side(name)) for name in JOINT_NAMES[:_BODY]]
    pose = np.concatenate([pose, pose[:, swap] * _MIRROR_SIGN])
    return _to_6d(pose[:, 1:])


def _finger_frames(path, rng):
    """6D rotations `[N, 90]` of the left fingers, right hands mirrored, and made-up curls."""
    with np.load(path, allow_pickle=False) as data:
        quaternions, names = data["quat_wxyz_rest_aligned"].astype(np.float64), [str(n) for n in data["names"]]
    fingers = [f"{f}{i}" for f in ("index", "middle", "ring", "pinky", "thumb") for i in (1, 2, 3)]
    left = quaternions[:, [names.index("left_" + f) for f in fingers]]
    right = quaternions[:, [names.index("right_" + f) for f in fingers]] * _MIRROR_SIGN
    moved = np.concatenate([left, right])
    moved = moved[rng.integers(0, len(moved), 20000)]
    return _to_6d(np.concatenate([moved, _curls(20000, rng, moved)]))


def _curls(count, rng, moved):
    """Hands whose fingers each curl by an amount of their own: quaternions `[count, 15, 4]`, wxyz."""
    # The left hand lies along +x with the palm down: a finger bends about -z.
    hand, finger = rng.uniform(-0.1, 1.0, (count, 1)), rng.normal(0, 0.25, (count, 4))
    curl = np.clip(hand + finger, -0.12, 1.0)
    curl = np.where(rng.random((count, 4)) < 0.12, rng.choice([0.0, 1.0], (count, 4)), curl)
    angle = curl[..., None] * np.array([1.45, 1.65, 1.1]) + rng.normal(0, 0.08, (count, 4, 3))
    spread = rng.normal(0, 0.1, (count, 1)) * np.array([1.0, 0.2, -0.4, -1.0]) + rng.normal(0, 0.05, (count, 4))
    vectors = np.zeros((count, 4, 3, 3))
    vectors[..., 2] = -angle
    vectors[..., 0, 1] = spread * (1 - np.clip(curl, 0, 1))
    quaternions = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_quat()[:, [3, 0, 1, 2]].reshape(count, 12, 4)
    # The thumb follows the captured hands, drawn freely.
    return np.concatenate([quaternions, moved[rng.integers(0, len(moved), count), 12:]], axis=1)


def _gaussian(samples):
    """Mean `[D]` and symmetric factor `[D, D]` of samples `[N, D]`; spread at least `STD_FLOOR` in any direction."""
    mean = samples.mean(0)
    values, vectors = np.linalg.eigh(np.cov((samples - mean).T))
    spread = np.sqrt(np.maximum(values, STD_FLOOR**2))
    return mean.astype(np.float32), ((vectors * spread) @ vectors.T).astype(np.float32)


def _to_6d(quaternions):
    """wxyz `[N, J, 4]` -> first two columns `[N, 6 J]`."""
    matrices = Rotation.from_quat(quaternions[..., [1, 2, 3, 0]].reshape(-1, 4)).as_matrix()
    return np.concatenate([matrices[..., 0], matrices[..., 1]], axis=-1).reshape(len(quaternions), -1)


def _mirror_6d(joints):
    return np.tile([1.0, -1.0, -1.0, -1.0, 1.0, 1.0], joints)


def _other_side(name):
    if name.startswith("left_"):
        return "right_" + name[5:]
    return "left_" + name[6:] if name.startswith("right_") else name
