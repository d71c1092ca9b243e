"""Poses to train on: motion capture drawn by clip, mirrored, recombined, and poses it lacks made up.

Motion file: `quat_wxyz_local` `[N, 22, 4]`, local rotations relative to a T-pose (y up, facing +z), with
`clip_id` and `clip_names`, joints named as the first 22 of the body. Optional `source_id` `[N]` tells the rigs apart that
frames come from; without it they count as one.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from hund_tf.body.rules import BODY_JOINTS
from hund_tf.training import errors, joint_limits

JOINTS = 22
MIRROR = np.array([0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20])
LEGS = np.array([1, 2, 4, 5, 7, 8, 10, 11])
_KNEES = 4, 5
LEFT_ARM, RIGHT_ARM = np.array([13, 16, 18, 20]), np.array([14, 17, 19, 21])
SPINE = np.array([3, 6, 9, 12, 15])
HELD_OUT_SHARE = 0.15
_MIN_WITHIN = 0.94  # share of a clip's joints that must be within anatomical limits
_WALK_WEIGHT = 0.3  # walking is over-represented in free motion capture
_KEYS = ("quat_wxyz_local", "clip_id", "clip_names")


class MotionLibrary:
    """Frames of motion capture, split by whole clips, straightened; clips with broken limbs are left out.

    Args:
        path: str, the `.npz` file.
        seed: int, which clips are held out.

    Raises:
        ValueError: if the file lacks an array, has other joints, or no clip is left.
    """

    def __init__(self, path, seed=0):
        with np.load(path, allow_pickle=False) as data:
            missing = [key for key in _KEYS if key not in data]
            if missing:
                raise ValueError(f"A motion file must hold {_KEYS}. {path} lacks {missing}.")
            quaternions = data["quat_wxyz_local"].astype(np.float64)
            clip_id, names = data["clip_id"], [str(name) for name in data["clip_names"]]
            source = data["source_id"] if "source_id" in data else np.zeros(len(clip_id), int)
        if quaternions.shape[1:] != (JOINTS, 4):
            raise ValueError(errors.expected("quat_wxyz_local", "[N, 22, 4]", quaternions.shape))
        self.quaternions = collars_at_rest(straightened(quaternions), source)
        clips = np.unique(clip_id)
        bad = self._implausible(clip_id, clips)
        held_out = np.random.default_rng(seed).choice(clips, int(HELD_OUT_SHARE * len(clips)), replace=False)
        self._frames, self._weights = {}, {}
        for split in ("train", "validation"):
            chosen = [c for c in clips if (c in held_out) == (split == "validation") and c not in bad]
            if not chosen and len(bad) < len(clips):
                raise ValueError(f"{path} must have a plausible clip to train on and one to hold out. Received {len(clips)} "
                                 f"clips, {len(bad)} of them implausible.")
            if not chosen:
                raise ValueError(f"Of the {split} clips of {path}, at least one must have {_MIN_WITHIN:.0%} of its joints "
                                 f"within joint_limits.py's limits. Received {len(bad)} of {len(clips)} clips that have not.")
            self._frames[split] = [np.flatnonzero(clip_id == c) for c in chosen]
            weights = np.array([_WALK_WEIGHT if "walk" in names[c].lower() else 1.0 for c in chosen])
            self._weights[split] = weights / weights.sum()

    def _implausible(self, clip_id, clips):
        """Clips whose limbs a retargeting twisted: too many joints are bent as no joint bends."""
        within = joint_limits.within_limits(_matrices(self.quaternions), BODY_JOINTS).mean(1)
        return {c for c in clips if within[clip_id == c].mean() < _MIN_WITHIN}

    def frames(self, count, split, rng):
        """Frames drawn by clip: `[count, 22, 4]`, wxyz."""
        clips = rng.choice(len(self._frames[split]), count, p=self._weights[split])
        return self.quaternions[[rng.choice(self._frames[split][c]) for c in clips]]

    def sample(self, count, split, rng, made_up=True, upright=0.0):
        """Training poses: local rotation matrices `[count, 22, 3, 3]`, the first that of the pelvis.

        Args:
            count: int.
            split: "train" or "validation".
            rng: `np.random.Generator`.
            made_up: bool, whether to recombine bodies and add sitting, reaching and noise. False gives
                plain mirrored frames, which a held-out figure is measured on.
            upright: float, share that stands up straight, of those that are made up.
        """
        pose = mirrored(self.frames(count, split, rng), rng)
        if made_up:
            pose = self._recombined(pose, split, rng)
            pose = sitting(pose, rng, 0.12)
            pose = reaching(pose, rng, 0.15)
            pose = noisy(pose, rng)
            pose = standing(pose, rng, upright) if upright else pose
        return _matrices(pose)

    def _recombined(self, pose, split, rng):
        count = len(pose)
        upper, arms = (mirrored(self.frames(count, split, rng), rng) for _ in range(2))
        joints = np.setdiff1d(np.arange(1, JOINTS), LEGS)
        pose = _replace(pose, upper, joints, rng.random(count) < 0.4)
        for arm in (LEFT_ARM, RIGHT_ARM):
            pose = _replace(pose, arms, arm, rng.random(count) < 0.25)
        return _replace(pose, arms, LEGS, rng.random(count) < 0.1)


def straightened(pose):
    """One frame of the pelvis and one spine for all sources: `[N, 22, 4]` wxyz -> the same poses of limbs, chest and head.

    Rigs agree on where bones point, not on how the pelvis' own frame is tilted (by up to a right angle) and how the spine
    shares its bend. Here the pelvis' x axis stays, its y axis follows the lower spine, and the three joints of the
    spine take equal shares of what is left to the chest.
    """
    turns = _matrices(pose)
    pelvis, hips, spine = turns[:, 0], turns[:, [1, 2]], turns[:, [3, 6, 9]]
    lowest = pelvis @ spine[:, 0]
    middle = lowest @ spine[:, 1]
    x, y = pelvis[:, :, 0], lowest[:, :, 1] + middle[:, :, 1]
    y = y - np.sum(x * y, 1, keepdims=True) * x
    length = np.linalg.norm(y, axis=1, keepdims=True)
    y = np.where(length > 0.2, y / np.maximum(length, 1e-9), pelvis[:, :, 1])
    level = np.stack([x, y, np.cross(x, y)], axis=-1)
    change = np.swapaxes(level, 1, 2)
    chest = Rotation.from_matrix(change @ middle @ spine[:, 2])
    result = pose.copy()
    result[:, 0] = _wxyz(Rotation.from_matrix(level))
    for i, hip in enumerate((1, 2)):
        result[:, hip] = _wxyz(Rotation.from_matrix(change @ pelvis @ hips[:, i]))
    result[:, [3, 6, 9]] = _wxyz(Rotation.from_rotvec(chest.as_rotvec() / 3))[:, None]
    return result


def collars_at_rest(pose, source):
    """Collars that rest where the body's do: `[N, 22, 4]` wxyz and int `[N]` -> the same directions of the arms.

    Rigs put the inner end of the collar bone where they like, so the same shoulders come with collars turned by up to 40
    degrees. Of each source the mean turn is taken for rest.
    """
    result = pose.copy()
    for collar, shoulder in ((13, 16), (14, 17)):
        for rig in np.unique(source):
            rows = source == rig
            turn, arm = _rotations(pose[rows, collar]), _rotations(pose[rows, shoulder])
            rested = turn * turn.mean().inv()
            result[rows, collar], result[rows, shoulder] = _wxyz(rested), _wxyz(rested.inv() * turn * arm)
    return result


def mirrored(pose, rng, share=0.5):
    """Swaps left and right in a share of poses: `[N, 22, 4]` wxyz."""
    flipped = pose[:, MIRROR] * np.array([1.0, 1.0, -1.0, -1.0])
    return np.where((rng.random(len(pose)) < share)[:, None, None], flipped, pose)


def heading(pelvis):
    """Which way bodies face: rotation matrices of the pelvis `[N, 3, 3]` -> degrees about +y `[N]`, 0 where they face +z."""
    return np.degrees(np.arctan2(pelvis[:, 0, 2], pelvis[:, 2, 2]))


def standing(pose, rng, share):
    """Straightens legs, pelvis and spine of a share of poses, as people stand for a photo; arms and head stay."""
    count = len(pose)
    chosen = rng.random(count) < share
    turns = {0: _about("y", heading(_rotations(pose[:, 0]).as_matrix())) * _small(rng, count, 3)}
    turns.update((joint, _small(rng, count, 2)) for joint in SPINE[:3])
    turns.update((joint, _small(rng, count, 4)) for joint in LEGS if joint not in _KNEES)
    for sign, hip in ((1.0, 1), (-1.0, 2)):
        turns[hip] *= _about("z", sign * rng.uniform(-2, 8, count))
    turns.update((knee, _about("x", np.abs(rng.normal(0, 6, count)))) for knee in _KNEES)
    for joint, turn in turns.items():
        pose = _replace(pose, _put(pose, joint, turn), [joint], chosen)
    return pose


def _small(rng, count, degrees):
    return Rotation.from_euler("xyz", rng.normal(0, degrees, (count, 3)), degrees=True)


def sitting(pose, rng, share):
    """Bends hips and knees of a share of poses as a seat, a crouch or a kick does."""
    count = len(pose)
    chosen = rng.random(count) < share
    both = rng.random(count) < 0.8  # else one leg only
    common_hip, common_knee = rng.uniform(20, 115, count), rng.uniform(10, 130, count)
    for side, (hip, knee) in enumerate(((1, 4), (2, 5))):
        leg = chosen & (both | (rng.random(count) < 0.5))
        outward = (1 if side == 0 else -1) * rng.uniform(-8, 40, count)
        flexion = common_hip + rng.normal(0, 10, count)
        bent = Rotation.from_euler("xzy", np.stack([-flexion, rng.normal(0, 8, count), outward], -1), degrees=True)
        pose = _replace(pose, _put(pose, hip, bent), [hip], leg)
        bent = _about("x", np.clip(common_knee + rng.normal(0, 12, count), 0, 150))
        pose = _replace(pose, _put(pose, knee, bent), [knee], leg)
    lean = Rotation.from_euler("xyz", rng.normal(0, (12, 8, 6), (count, 3)) + np.array([6, 0, 0]), degrees=True)
    for joint in (3, 6, 9):
        pose = _replace(pose, _put(pose, joint, lean), [joint], chosen & (rng.random(count) < 0.5))
    return pose


def reaching(pose, rng, share):
    """Points upper arms of a share of poses in any reachable direction, with any bend of the elbow."""
    count = len(pose)
    for sign, shoulder, elbow in ((1.0, 16, 18), (-1.0, 17, 19)):
        chosen = rng.random(count) < share
        direction = rng.normal(size=(count, 3)) + np.array([0.6 * sign, 0.0, 0.6])
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        rest = np.tile([sign, 0.0, 0.0], (count, 1))
        axis = np.cross(rest, direction)
        length = np.linalg.norm(axis, axis=1, keepdims=True)
        angle = np.arctan2(length[:, 0], np.sum(rest * direction, 1))
        swing = Rotation.from_rotvec(axis / np.maximum(length, 1e-9) * angle[:, None])
        twist = _about("x", rng.uniform(-80, 80, count))
        pose = _replace(pose, _put(pose, shoulder, swing * twist), [shoulder], chosen)
        bend = _about("y", -sign * rng.uniform(0, 145, count))
        pose = _replace(pose, _put(pose, elbow, bend), [elbow], chosen)
    return pose


def noisy(pose, rng):
    """Turns every joint a little, some poses a lot."""
    count = len(pose)
    sigma = rng.uniform(0, 0.12, (count, 1, 1)) * np.where(rng.random((count, 1, 1)) < 0.1, 2.5, 1.0)
    sigma = np.repeat(sigma, JOINTS, 1)
    sigma[:, SPINE] *= 0.6
    sigma[:, 0] = 0.0
    turn = Rotation.from_rotvec((rng.normal(size=(count, JOINTS, 3)) * sigma).reshape(-1, 3))
    return _wxyz(_rotations(pose) * turn).reshape(pose.shape)


def _about(axis, degrees):
    return Rotation.from_euler(axis, degrees[:, None], degrees=True)


def _put(pose, joint, rotation):
    changed = pose.copy()
    changed[:, joint] = _wxyz(rotation)
    return changed


def _replace(pose, other, joints, chosen):
    pose = pose.copy()
    pose[np.ix_(np.flatnonzero(chosen), joints)] = other[np.ix_(np.flatnonzero(chosen), joints)]
    return pose


def _rotations(pose):
    return Rotation.from_quat(pose.reshape(-1, 4)[:, [1, 2, 3, 0]])


def _wxyz(rotation):
    return rotation.as_quat()[:, [3, 0, 1, 2]]


def _matrices(pose):
    return _rotations(pose).as_matrix().reshape(len(pose), JOINTS, 3, 3)
