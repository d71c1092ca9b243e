"""The schema of a body: each broken rule is named, and the packaged file is the recorded one."""

import hashlib
import json
import os
import pickle
import zipfile

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
    ("parents", lambda x: x.astype(float), "parents must hold whole numbers"),
    ("parents", lambda x: replaced(x, 3, 1), "the parents of the first 22 joints must be"),
    ("joint_names", lambda x: np.roll(x, 1), "the first 22 joint_names must be"),
    ("joint_names", lambda x: replaced(x, -1, "tail"), "three joints of each finger.*right_thumb3"),
    ("joint_names", lambda x: replaced(x, -1, "jaw"), "joint_names must all differ.*jaw"),
    ("joint_names", lambda x: np.arange(63), "joint_names must hold text"),
    ("joint_names", lambda x: x[0], "joint_names must have 1 dimension"),
    ("rest_rotations", lambda x: 2 * x, "rest_rotations must be rotations"),
    ("rest_rotations", lambda x: -x, "rest_rotations must be rotations"),
    ("joints_template", lambda x: x + 1, "pelvis must lie at the origin"),
    ("joints_template", lambda x: x * [1, -1, 1], "y must point up"),
    ("joints_template", lambda x: x * [-1, 1, 1], "x must point to the person's left"),
    ("joints_template", lambda x: x * [1, 1, -1], r"the person must face \+z"),
    ("joints_template", lambda x: x.astype(complex), "joints_template must hold real numbers"),
    ("joints_shape", lambda x: x[:, :5], "joints_shape must be"),
    ("joints_shape", lambda x: x[:0], "joints_shape must not be empty"),
    ("joints_shape", lambda x: x + [0, 1, 0], "pelvis must lie at the origin"),
    ("twist_joints", lambda x: x[:, :2], "twist_joints must be"),
    ("twist_joints", lambda x: x - 2, r"twist_joints must lie in 0\.\.62"),
    ("twist_axes", lambda x: x * 3, "twist_axes must have length 1"),
    ("twist_signs", lambda x: x[:3], "twist_signs must be"),
    ("full_faces", lambda x: x[:, [0, 2, 1]], "full_faces must run counter-clockwise"),
    ("full_vertices", lambda x: x * 1000, "lengths must be metres"),
    ("full_vertices", lambda x: x[:, :2], "full_vertices must be"),
    ("low_faces", lambda x: x + 2000, "low_faces must be .* below"),
    ("low_faces", lambda x: x - 1, "low_faces must be .* below"),
    ("low_faces", lambda x: x[:, [0, 1]], "low_faces must be"),
    ("low_faces", lambda x: replaced(x, 7, [4, 5, 4]), r"low_faces must have three different corners.*\[\[4, 5, 4\]\]"),
    ("low_faces", lambda x: x[:0], "low_faces must not be empty"),
    ("full_part_labels", lambda x: x * 0, "full_part_labels must lie in 1..14"),
    ("full_part_labels", lambda x: x + 1, "full_part_labels must lie in 1..14"),
    ("low_skin_weights", lambda x: x * 0.5, "low_skin_weights must be positive and sum to 1"),
    ("low_skin_weights", lambda x: replaced(x, 0, [2, -1, 0, 0, 0, 0, 0, 0]),
     "low_skin_weights must be positive and sum to 1"),
    ("low_skin_joints", lambda x: x + 60, "low_skin_joints must lie below 69"),
    ("low_skin_joints", lambda x: x - 1, "low_skin_joints must lie below 69 and not below 0"),
    ("full_shape", lambda x: x[:, :-1], "full_shape must be"),
    ("low_expression", lambda x: x[:10], "the same number of expression codes.*'low': 10"),
    ("keypoint_names", lambda x: replaced(x, 0, "neck"), "keypoint_names must all differ.*neck"),
    ("keypoint_vertices", lambda x: x + 13000, "keypoint_vertices must be"),
    ("keypoint_vertices", lambda x: x - 1, "keypoint_vertices must be .* not below 0"),
    ("keypoint_vertex_weights", lambda x: x[:, :2], "keypoint_vertex_weights must be"),
    ("keypoint_joints", lambda x: x * 2, "weights of each keypoint must sum to 1"),
    ("pose_body_factor", lambda x: x * 0, "pose_body_factor must be invertible"),
    ("pose_left_hand_factor", lambda x: x[:45], "pose_left_hand_factor must be"),
    ("pose_right_hand_mean", lambda x: x[:45], r"pose_right_hand_mean must be \[90\]"),
])
def test_each_broken_rule_is_named(arrays, key, change, message):
    value = arrays[key]
    wide = value.astype({"i": np.int64, "u": np.int64, "f": np.float32}.get(value.dtype.kind, value.dtype))
    with pytest.raises(ValueError, match=message):
        template.template_from_arrays({**arrays, key: change(wide)})


@pytest.mark.parametrize("third, bad", [(0, np.nan), (1, np.inf), (2, 1e300)])
def test_values_that_are_not_finite_are_refused_in_every_array(arrays, third, bad):
    real = [key for key, value in arrays.items() if value.dtype.kind == "f"]
    assert len(real) > 15
    for key in real[third::3]:
        broken = arrays[key].astype(float)
        broken.flat[-1] = bad
        with pytest.raises(ValueError, match=f"{key} must be finite. Received: 1 NaN or infinite"):
            template.template_from_arrays({**arrays, key: broken})


def test_real_arrays_may_be_stored_as_whole_numbers_and_come_as_float32(arrays):
    body = template.template_from_arrays({**arrays, "twist_signs": arrays["twist_signs"].astype(np.int8)})
    assert body.twist_signs.dtype == np.float32


def replaced(array, row, value):
    changed = array.copy()
    changed[row] = value
    return changed


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


def test_checksum_file_without_a_checksum_is_refused(arrays, tmp_path):
    np.savez(tmp_path / "body.npz", **arrays)
    (tmp_path / "body.json").write_text('{"bytes": 3}')
    with pytest.raises(ValueError, match="must be JSON with the sha256"):
        template.load_template(str(tmp_path / "body.npz"))


@pytest.mark.parametrize("content, message", [
    (b"", "must be an .npz file, a zip archive of arrays"),
    (b"not a body at all", "must be an .npz file.*not a bo"),
    (pickle.dumps({"parents": [1]}), "must be an .npz file"),
])
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "body.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        template.load_template(str(path))


def test_cut_off_and_damaged_files_are_refused(arrays, tmp_path):
    path = tmp_path / "body.npz"
    np.savez(path, **arrays)
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(ValueError, match="must be an .npz file"):
        template.load_template(str(path))
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(255 - byte for byte in whole[middle:middle + 64]) + whole[middle + 64:])
    with pytest.raises(ValueError, match="must be a (readable array|whole .npz file)"):
        template.load_template(str(path))


def test_archives_of_other_files_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "body.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match="readme.txt must be an array"):
        template.load_template(str(tmp_path / "body.npz"))


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_pickled_objects_are_refused_and_not_unpickled(arrays, tmp_path):
    trace = tmp_path / "trace"
    np.savez(tmp_path / "body.npz", **{**arrays, "parents": np.array([Payload(str(trace))], object)})
    with pytest.raises(ValueError, match="parents must be a plain array.*Python objects"):
        template.load_template(str(tmp_path / "body.npz"))
    assert not trace.exists()


@pytest.mark.parametrize("change, message", [
    ({"shape_vae_decoder_bias1": None}, "learned priors must be whole. Received: none named shape_vae_decoder_bias1"),
    ({"expression_vae_encoder_skip": None}, "none named expression_vae_encoder_skip"),
    ({"pose_hand_flow_orders": None}, "none named pose_hand_flow_orders"),
    ({"pose_hand_flow_orders": None, "pose_body_flow_orders": None}, "none named pose_body_flow_orders"),
    ({"shape_vae_decoder_weights1": None}, "none named shape_vae_decoder_weights1"),
    ({"pose_body_flow_orders": lambda x: x[0]}, "pose_body_flow_orders must have 2 dimension"),
    ({"pose_body_flow_orders": lambda x: x * 0}, "pose_body_flow_orders must be permutations"),
    ({"shape_vae_decoder_skip": lambda x: x[0]}, "shape_vae_decoder_skip must have 2 dimension"),
    ({"shape_vae_decoder_weights1": lambda x: x[:, :-1]}, "shape_vae_decoder_weights and bias must fit, layer upon layer"),
    ({"shape_vae_encoder_skip": lambda x: x[:-1]}, "shape_vae must have the 40 components of the meshes"),
    ({"pose_body_flow_bias0": lambda x: x[:-1]}, "pose_body_flow_weights and bias must fit, layer upon layer"),
    ({"pose_body_flow_orders": lambda x: x[:-1]}, "pose_body_flow_weights and bias must have a row for each of 7 orders"),
    ({"pose_body_flow_weights0": lambda x: x * np.nan}, "pose_body_flow_weights0 must be finite")])
def test_broken_learned_priors_are_refused(arrays, change, message):
    changed = {**arrays, **{key: rule(arrays[key]) if rule else None for key, rule in change.items()}}
    with pytest.raises(ValueError, match=message):
        template.template_from_arrays({key: value for key, value in changed.items() if value is not None})
