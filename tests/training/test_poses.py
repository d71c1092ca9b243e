"""Training poses: split by clip, mirror, and the poses that are made up."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hund_tf.training import poses


@pytest.fixture(name="motion_file")
def fixture_motion_file(tmp_path):
    return save_motion(tmp_path / "motion.npz", random_poses(200, 0.1))


def random_poses(count, spread):
    """Every joint turned about random axes by about `spread` radians: `[count, 22, 4]`."""
    vectors = np.random.default_rng(0).normal(0, spread, (count * 22, 3))
    return poses._wxyz(Rotation.from_rotvec(vectors)).reshape(count, 22, 4)


def save_motion(path, quaternions):
    clips = len(quaternions) // 10
    np.savez(path, quat_wxyz_local=quaternions.astype(np.float16), clip_id=np.repeat(np.arange(clips), 10),
             clip_names=np.array([f"walk {i}" if i < 10 else f"dance {i}" for i in range(clips)]))
    return str(path)


def test_samples_are_rotations(motion_file):
    sample = poses.MotionLibrary(motion_file).sample(50, "train", np.random.default_rng(1))
    assert sample.shape == (50, 22, 3, 3)
    np.testing.assert_allclose(sample @ np.swapaxes(sample, -1, -2), np.broadcast_to(np.eye(3), sample.shape), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(sample), 1.0, atol=1e-9)


def test_held_out_clips_are_not_trained_on(motion_file):
    library = poses.MotionLibrary(motion_file)
    rng = np.random.default_rng(2)
    train, held_out = (library.frames(500, split, rng) for split in ("train", "validation"))
    keys = [{tuple(np.round(f.ravel()[:8], 4)) for f in frames} for frames in (train, held_out)]
    assert keys[0] and keys[1] and not keys[0] & keys[1]


def world(pose):
    """Rotations of thighs, chest and head in the world, `[N, 4, 3, 3]`."""
    m = poses._matrices(pose)
    chest = m[:, 0] @ m[:, 3] @ m[:, 6] @ m[:, 9]
    return np.stack([m[:, 0] @ m[:, 1], m[:, 0] @ m[:, 2], chest, chest @ m[:, 12] @ m[:, 15]], axis=1)


def test_straightened_moves_neither_limbs_nor_chest():
    pose = random_poses(20, 0.4)
    np.testing.assert_allclose(world(poses.straightened(pose)), world(pose), atol=1e-9)


def test_straightened_undoes_a_rig_that_tilts_the_pelvis():
    pose = random_poses(20, 0.2)
    tilt = Rotation.from_euler("x", 80, degrees=True)
    tilted = pose.copy()
    tilted[:, 0] = poses._wxyz(poses._rotations(pose[:, 0]) * tilt)
    for joint in (1, 2, 3):
        tilted[:, joint] = poses._wxyz(tilt.inv() * poses._rotations(pose[:, joint]))
    same = poses._matrices(poses.straightened(tilted)), poses._matrices(poses.straightened(pose))
    np.testing.assert_allclose(*same, atol=1e-9)


def test_spine_shares_its_bend_equally():
    straight = poses._matrices(poses.straightened(random_poses(5, 0.3)))
    np.testing.assert_allclose(straight[:, 3], straight[:, 6])
    np.testing.assert_allclose(straight[:, 6], straight[:, 9])


def test_collars_rest_at_the_mean_of_their_rig_and_arms_stay():
    pose, source = random_poses(40, 0.2), np.repeat([0, 1], 20)
    offset = Rotation.from_rotvec([0.1, -0.6, 0.4])
    pose[20:, 13] = poses._wxyz(poses._rotations(pose[20:, 13]) * offset)
    rested = poses.collars_at_rest(pose, source)
    before, after = (poses._matrices(p) for p in (pose, rested))
    np.testing.assert_allclose(after[:, 13] @ after[:, 16], before[:, 13] @ before[:, 16], atol=1e-9)
    np.testing.assert_allclose(after[:, 14] @ after[:, 17], before[:, 14] @ before[:, 17], atol=1e-9)
    for rig in (0, 1):
        mean = Rotation.from_matrix(after[source == rig, 13]).mean().magnitude()
        assert mean < 0.03


def test_clips_with_broken_limbs_are_left_out(tmp_path):
    mixed = np.concatenate([random_poses(10, 3.0 if clip % 2 else 0.1) for clip in range(20)])
    library = poses.MotionLibrary(save_motion(tmp_path / "mixed.npz", mixed))
    assert len(library._frames["train"]) + len(library._frames["validation"]) == 10
    with pytest.raises(ValueError, match=r"Received 20 of 20 clips that have not"):
        poses.MotionLibrary(save_motion(tmp_path / "broken.npz", random_poses(200, 3.0)))


def test_mirroring_twice_changes_nothing():
    pose = np.random.default_rng(3).normal(size=(4, 22, 4))
    rng = np.random.default_rng(4)
    np.testing.assert_allclose(poses.mirrored(poses.mirrored(pose, rng, 1.0), rng, 1.0), pose)


def test_sitting_bends_thighs_forward_and_shins_back():
    rest = np.tile([1.0, 0.0, 0.0, 0.0], (200, 22, 1))
    bent = poses._matrices(poses.sitting(rest, np.random.default_rng(5), 1.0))
    thigh = bent[:, 1] @ [0.0, -1.0, 0.0]
    shin = bent[:, 1] @ bent[:, 4] @ [0.0, -1.0, 0.0]
    moved = np.abs(bent[:, 1] - np.eye(3)).max((1, 2)) > 1e-6
    assert moved.mean() > 0.7
    assert (thigh[moved, 2] > 0).mean() > 0.95  # forward is +z
    assert (shin[moved, 2] < thigh[moved, 2] + 0.05).mean() > 0.95


def test_elbows_bend_the_forearm_forward_at_rest():
    rest = np.tile([1.0, 0.0, 0.0, 0.0], (300, 22, 1))
    moved = poses._matrices(poses.reaching(rest, np.random.default_rng(6), 1.0))
    forearm = moved[:, 18] @ [1.0, 0.0, 0.0]  # in the frame of the left upper arm
    assert np.all(forearm[:, 2] >= -1e-9)


def test_a_file_without_clips_is_refused(tmp_path):
    np.savez(tmp_path / "bad.npz", quat_wxyz_local=np.zeros((3, 22, 4)))
    with pytest.raises(ValueError, match="lacks .*clip_id"):
        poses.MotionLibrary(str(tmp_path / "bad.npz"))


def test_who_stands_has_straight_legs_under_an_upright_pelvis_and_keeps_the_arms():
    pose = random_poses(60, 0.6)
    stood = poses.standing(pose, np.random.default_rng(0), 1.0)
    down = world(stood)[:, :2, 1, 1]  # share of the thighs' own y that points up
    assert down.min() > np.cos(np.radians(35)) > np.quantile(world(pose)[:, :2, 1, 1], 0.2)
    np.testing.assert_allclose(poses._matrices(stood)[:, 13:], poses._matrices(pose)[:, 13:], atol=1e-9)
    assert np.array_equal(poses.standing(pose, np.random.default_rng(0), 0.0), pose)
