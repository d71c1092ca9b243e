"""The schema of a body: each broken rule is named, and the packaged file is the recorded one."""

import hashlib
import json
import os

import numpy as np
import pytest

from hund_tf.body import template


@pytest.fixture(scope="module")
def arrays():
    with np.load(template.find_body(), allow_pickle=False) as data:
        return dict(data)


def test_packaged_body_is_the_recorded_one():
    path = template.find_body()
    with open(path[:-4] + ".json") as record, open(path, "rb") as body:
        assert hashlib.sha256(body.read()).hexdigest() == json.load(record)["sha256"]
    assert os.path.getsize(path) < 6e6
    assert {"README.md", "LICENSE"} <= set(os.listdir(template.ASSETS))


def test_packaged_body_has_the_sizes_that_the_paper_and_the_state_count_on(arrays):
    body = template.template_from_arrays(arrays)
    assert len(body.joint_names) == 63 and len(body.keypoint_names) == 137
    assert 13000 < len(body.meshes["full"].vertices) < 14500 and 1000 < len(body.meshes["low"].vertices) < 1500
    assert set(body.meshes["low"].part_labels) == set(range(1, 15)) == set(body.meshes["full"].part_labels)
    assert {part: len(mean) for part, (mean, _) in body.pose_priors.items()} == {
        "body": 126, "left_hand": 90, "right_hand": 90}


def test_mean_adult_is_as_tall_as_adults_are(arrays):
    height = np.ptp(arrays["full_vertices"][:, 1])
    assert 1.62 < height < 1.75


@pytest.mark.parametrize("key, change, message", [
    ("parents", lambda x: x[:-1], r"parents must be \[63\]"),
    ("parents", lambda x: np.roll(x, 1), "every parent must come before its child"),
    ("rest_rotations", lambda x: 2 * x, "rest_rotations must be rotations"),
    ("rest_rotations", lambda x: -x, "rest_rotations must be rotations"),
    ("joints_template", lambda x: x + 1, "pelvis must lie at the origin"),
    ("joints_shape", lambda x: x[:, :5], "joints_shape must be"),
    ("low_faces", lambda x: x + 2000, "low_faces must be .* below"),
    ("full_part_labels", lambda x: x * 0, "full_part_labels must lie in 1..14"),
    ("low_skin_weights", lambda x: x * 0.5, "low_skin_weights must be positive and sum to 1"),
    ("low_skin_joints", lambda x: x + 60, "low_skin_joints must lie below 69"),
    ("full_shape", lambda x: x[:, :-1], "full_shape must be"),
    ("keypoint_vertices", lambda x: x + 13000, "keypoint_vertices must be"),
    ("keypoint_joints", lambda x: x * 2, "weights of each keypoint must sum to 1"),
    ("pose_body_factor", lambda x: x * 0, "pose_body_factor must be invertible"),
])
def test_each_broken_rule_is_named(arrays, key, change, message):
    with pytest.raises(ValueError, match=message):
        template.template_from_arrays({**arrays, key: change(arrays[key].astype(np.int64 if arrays[key].dtype.kind in "iu" else np.float32))})


def test_missing_arrays_are_listed(arrays):
    with pytest.raises(ValueError, match="Missing: .*low_shape"):
        template.template_from_arrays({key: value for key, value in arrays.items() if key != "low_shape"})


def test_missing_body_lists_the_places(tmp_path):
    with pytest.raises(FileNotFoundError, match="Searched: .*nobody.npz.*build_body"):
        template.find_body("nobody")


def test_changed_file_is_refused(arrays, tmp_path):
    path = tmp_path / "body.npz"
    np.savez(path, **arrays)
    (tmp_path / "body.json").write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(ValueError, match="must have the sha256 0000"):
        template.load_template(str(path))
