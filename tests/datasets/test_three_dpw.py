"""3DPW from tiny files of its layout: labels at their OpenPose places, who is left out, wrong layouts."""

import os
import pickle

import numpy as np
import pytest
from PIL import Image

from hund_tf.datasets import layout, three_dpw

FRAMES = 4
CAMERA = np.array([[0.0, -1, 0, 0.5], [0, 0, -1, 0], [1, 0, 0, 3.9], [0, 0, 0, 1]])  # world to camera


def world_joints():
    """Joint j at (0.1, 0.05 j - 0.6, 0.01 j) in the world, so at (1.1 - 0.05 j, -0.01 j, 4) in the camera."""
    j = np.arange(24.0)
    return np.stack([np.full(24, 0.1), 0.05 * j - 0.6, 0.01 * j], -1)


def sequence(**changes):
    detected = np.zeros((FRAMES, 3, 18))
    detected[:, 0], detected[:, 1] = 100 + np.arange(18), 200 + np.arange(18)
    detected[:, 2] = 0.75
    detected[:, 2, 4] = 0  # right wrist not found
    joints = np.tile(world_joints().ravel(), (FRAMES, 1))
    valid = [np.ones(FRAMES, int), np.array([0, 1, 0, 0])]
    return {"sequence": "street_00", "poses2d": [detected, detected], "jointPositions": [joints, joints],
            "cam_poses": np.tile(CAMERA, (FRAMES, 1, 1)), "campose_valid": valid,
            "cam_intrinsics": np.array([[500.0, 0, 159.5], [0, 500, 119.5], [0, 0, 1]]),
            "poses": [np.zeros((FRAMES, 72))] * 2, "betas": [np.zeros(10)] * 2, "genders": ["m", "f"],
            "img_frame_ids": np.arange(FRAMES), **changes}


def write(root, data, split="train", photos=range(FRAMES)):
    (root / "sequenceFiles" / split).mkdir(parents=True, exist_ok=True)
    (root / "sequenceFiles" / split / f"{data['sequence']}.pkl").write_bytes(pickle.dumps(data, 2))
    folder = root / "imageFiles" / data["sequence"]
    folder.mkdir(parents=True, exist_ok=True)
    for i in photos:
        Image.new("RGB", (320, 240), (10 * i, 0, 0)).save(folder / f"image_{i:05d}.jpg")
    return str(root)


def test_labels_by_hand(tmp_path):
    photos = list(three_dpw.photos(write(tmp_path, sequence()), "train"))
    assert [[p.source[-1] for p in photo.people] for photo in photos] == [["0"], ["0", "1"], ["0"], ["0"]]
    assert photos[3].people[0].source == "3dpw/street_00/image_00003.jpg/0"
    assert photos[3].pixels()[0, 0, 0] == pytest.approx(30, abs=3)
    np.testing.assert_allclose(photos[0].intrinsics, [500, 500, 160, 120])
    person = photos[0].people[0]
    np.testing.assert_allclose(person.joints3d[4], [0.05, -0.21, 4], atol=1e-9)  # right wrist: SMPL 21
    np.testing.assert_allclose(person.joints3d[14], [0.75, -0.07, 4], atol=1e-9)  # left ankle: SMPL 7
    np.testing.assert_allclose(person.joints3d[1], [0.275, -0.165, 4], atol=1e-9)  # neck: middle of 16 and 17
    weights = np.zeros(137)
    weights[[1, 2, 3, 4, 5, 6, 7, 10, 11, 13, 14]], weights[[8, 9, 12]] = 1, 0.5
    np.testing.assert_array_equal(person.joints3d_weight, weights)
    np.testing.assert_allclose(person.keypoints[[0, 9, 18]], [[100.5, 200.5], [108.5, 208.5], [117.5, 217.5]])
    np.testing.assert_array_equal(person.keypoints_weight[:20], [0.75] * 4 + [0] + [0.75] * 3 + [0] + [0.75] * 10 + [0])
    # joints 0 to 23 lie at x = 160 + 500 (1.1 - 0.05 j) / 4, from 153.75 to 297.5, and at y = 120 - 1.25 j
    margin = 0.12 * 143.75
    np.testing.assert_allclose(person.box, [153.75 - margin, 91.25 - margin, 143.75 + 2 * margin, 28.75 + 2 * margin])


def test_every_labels_and_seed(tmp_path):
    for name in "abcdef":
        write(tmp_path, sequence(sequence=name), photos=range(1))
    options = {"every": FRAMES, "labels": False}
    orders = [[photo.people[0].source for photo in three_dpw.photos(str(tmp_path), "train", seed=seed, **options)]
              for seed in (None, 3, 3)]
    assert orders[0] == [f"3dpw/{name}/image_00000.jpg/0" for name in "abcdef"] and orders[1] == orders[2] != orders[0]
    assert next(three_dpw.photos(str(tmp_path), "train", **options)).people[0].joints3d is None


def test_people_behind_the_camera_or_beside_the_photo_are_left_out(tmp_path):
    behind, beside = CAMERA.copy(), CAMERA.copy()
    behind[2, 3], beside[0, 3] = -4, 9
    poses = np.stack([behind, beside, CAMERA, CAMERA])
    photos = list(three_dpw.photos(write(tmp_path, sequence(cam_poses=poses)), "train"))
    assert [photo.people[0].source[21:26] for photo in photos] == ["00002", "00003"]


def test_wrong_layouts_say_the_path(tmp_path):
    with pytest.raises(layout.LayoutError, match="A folder .*sequenceFiles/test was expected"):
        list(three_dpw.photos(str(tmp_path), "test"))
    (tmp_path / "sequenceFiles" / "test").mkdir(parents=True)
    with pytest.raises(layout.LayoutError, match=r"sequenceFiles/test/\*.pkl were expected"):
        list(three_dpw.photos(str(tmp_path), "test"))
    root = write(tmp_path, sequence(), "test", photos=[0, 1])
    with pytest.raises(layout.LayoutError, match="imageFiles/street_00/image_00002.jpg was expected"):
        list(three_dpw.photos(root, "test"))
    os.rename(tmp_path / "imageFiles", tmp_path / "images")
    with pytest.raises(layout.LayoutError, match="imageFiles was expected. Received: .* holding images, sequenceFiles"):
        list(three_dpw.photos(root, "test"))


@pytest.mark.parametrize("changes, rule", [
    ({"sequence": "../x"}, "must be a name"), ({"cam_poses": np.zeros((4, 3))}, "cam_poses"),
    ({"poses2d": [np.zeros((3, 3, 18))] * 2}, "of each person at each of N frames"),
    ({"jointPositions": [np.zeros((FRAMES, 72))]}, "another number of people"),
])
def test_sequences_that_do_not_fit_are_refused(tmp_path, changes, rule):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(sequence(**changes), 2))
    with pytest.raises(layout.LayoutError, match=f"a.pkl.*{rule}"):
        three_dpw.read_sequence(str(path))
    path.write_bytes(pickle.dumps({"sequence": "x"}, 2))
    with pytest.raises(layout.LayoutError, match=r"Missing: \['poses2d', "):
        three_dpw.read_sequence(str(path))


def test_a_malicious_sequence_never_runs(tmp_path, monkeypatch):
    class Malicious:
        def __reduce__(self):
            return os.system, ("touch ran",)

    monkeypatch.chdir(tmp_path)
    root = write(tmp_path, sequence(genders=Malicious()))
    with pytest.raises(ValueError, match="plain data.*system"):
        list(three_dpw.photos(root, "train"))
    assert sorted(os.listdir(tmp_path)) == ["imageFiles", "sequenceFiles"]
