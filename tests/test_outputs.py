"""Writing results: the JSON keeps its contract, files are whole, names do not collide."""

import json
import os
import stat

import numpy as np
import pytest
from PIL import Image

from hund_tf import outputs
from tests.conftest import JOINTS, KEYPOINTS, StubModel

NAMES = ([f"keypoint{i}" for i in range(KEYPOINTS)], [f"joint{i}" for i in range(JOINTS)])
PHOTO = np.full([48, 64, 3], 120, np.uint8)


def reconstruct():
    return StubModel().reconstruct(PHOTO)


def test_json_contract():
    content = outputs.describe(reconstruct(), "a/photo.jpg", NAMES, preset="body")
    content = json.loads(json.dumps(content, allow_nan=False))
    assert (content["image"], content["width"], content["height"]) == ("a/photo.jpg", 64, 48)
    assert content["camera"] == {"intrinsics": [64.0, 64.0, 32.0, 24.0], "source": "default (fx = fy = max(H, W))",
                                 "distortion": None}
    assert content["preset"] == "body" and content["software"].startswith("hund_tf ") and content["tensorflow"]
    assert content["units"]["length"] == "metres"
    assert "+x right, +y down, +z forward" in content["frames"]["camera"]
    shapes = {
        "box": (4,), "keypoints2d": (137, 2), "keypoints3d": (137, 3), "keypoint_confidence": (137,),
        "keypoint_names": (137,), "detected_keypoints2d": (137, 2), "joints3d": (63, 3), "joint_names": (63,),
        "joint_rotations": (63, 3, 3), "theta": (306,), "shape": (16,), "expression": (20,), "rotation": (6,),
        "translation": (3,), "stage_losses": (6,), "keypoint_uncertainty": (137, 2), "joint_uncertainty": (63, 2)}
    assert len(content["people"]) == 2
    for person in content["people"]:
        assert set(person) == {"score", "refined_loss", "part_weights", *shapes} and person["refined_loss"] is None
        assert person["part_weights"] == {"left_hand": 1.0, "right_hand": 0.0, "head": 0.5}
        assert isinstance(person["score"], float)
        for name, shape in shapes.items():
            assert np.shape(person[name]) == shape, name


def test_distortion_stands_in_the_json_as_given():
    coefficients = [-0.2812345678, 0.07, 0.0, 1e-5]
    result = reconstruct()._replace(distortion=np.array(coefficients))
    content = json.loads(json.dumps(outputs.describe(result, "a", NAMES)))
    assert content["camera"]["distortion"] == coefficients


def test_overlay_of_a_distorted_photo_bends_the_meshes_not_the_photo():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, [480, 640, 3], np.uint8)
    camera = np.array([640.0, 640.0, 320.0, 240.0])
    result = reconstruct()._replace(image_size=(480, 640), intrinsics=camera)
    plain, bent = (outputs.draw(result._replace(distortion=k), pixels) for k in (None, np.array([-0.5, 0, 0, 0])))
    np.testing.assert_array_equal(plain[:, 640:], bent[:, 640:])  # the other viewpoints know no lens
    top = [np.argwhere(np.any(picture[:, :640] != pixels, -1))[:, 0].min() for picture in (plain, bent)]
    slope = 0.8 / 3  # of the topmost corner
    np.testing.assert_allclose(top, [240 - 640 * slope, 240 - 640 * slope * (1 - 0.5 * slope**2)], atol=3)


def test_numbers_are_rounded_but_true():
    reconstruction = reconstruct()
    person = outputs.describe(reconstruction, "a", NAMES)["people"][1]
    np.testing.assert_allclose(person["keypoints3d"], reconstruction.people[1].keypoints3d, atol=6e-6)
    np.testing.assert_allclose(person["keypoints2d"], reconstruction.people[1].keypoints2d, atol=6e-3)
    assert len(repr(person["theta"][0])) <= 8


def test_what_is_not_finite_becomes_null():
    reconstruction = reconstruct()
    reconstruction.people[0].detected_keypoints2d[3] = np.nan
    reconstruction.people[0].stage_losses[0] = np.inf
    text = json.dumps(outputs.describe(reconstruction, "a", NAMES), allow_nan=False)
    person = json.loads(text)["people"][0]
    assert person["detected_keypoints2d"][3] == [None, None] and person["stage_losses"][0] is None


def test_write_makes_whole_files_with_common_rights(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "draw", lambda reconstruction, pixels: pixels)
    mask = os.umask(0o022)
    try:
        written = outputs.write(reconstruct(), PHOTO, str(tmp_path / "out"), "x", "x.jpg", NAMES, formats=("json", "png"))
    finally:
        os.umask(mask)
    assert [os.path.basename(path) for path in written] == ["x.json", "x.png"]
    assert sorted(os.listdir(tmp_path / "out")) == ["x.json", "x.png"]  # no temporary file stays
    assert stat.S_IMODE(os.stat(written[0]).st_mode) == 0o644
    with Image.open(written[1]) as picture:
        assert picture.size == (64, 48)


def test_failed_write_leaves_the_old_file_and_no_trash(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("old")

    def fail(temporary):
        with open(temporary, "w") as file:
            file.write("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        outputs.write_atomically(str(path), fail)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["x.json"]


def test_photo_without_people_gets_no_mesh_and_loses_an_old_one(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "draw", lambda reconstruction, pixels: pixels)
    (tmp_path / "x.glb").write_bytes(b"of hund_tf, an earlier run")
    nobody = reconstruct()._replace(people=[])
    written = outputs.write(nobody, PHOTO, str(tmp_path), "x", "x.jpg", NAMES)
    assert sorted(os.listdir(tmp_path)) == ["x.json", "x.png"] == sorted(os.path.basename(p) for p in written)
    assert json.loads((tmp_path / "x.json").read_text())["people"] == []


@pytest.mark.parametrize("paths, stems", [
    (["a/x.jpg", "b/y.jpg"], ["x", "y"]),
    (["a/x.jpg", "b/x.jpg", "b/X.png"], ["x", "x-2", "X-3"]),
    (["a/x.jpg", "b/x.jpg", "c/x-2.jpg"], ["x", "x-3", "x-2"]),
    (["a/.x.tar.jpg"], [".x.tar"])])
def test_output_stems_do_not_collide(paths, stems):
    assert outputs.output_stems(paths) == stems


@pytest.mark.parametrize("kind", ["glb", "obj", "ply", "png"])
def test_real_writers(tmp_path, kind):
    path, = outputs.write(reconstruct(), PHOTO, str(tmp_path), "x", "x.jpg", NAMES, formats=(kind,))
    assert os.path.getsize(path) > 100 and outputs.is_ours(path)
    if kind == "png":
        with Image.open(path) as picture:
            assert picture.size[0] > 64  # the other viewpoints stand beside the photo


def test_person_that_is_not_finite_is_left_out_of_the_mesh(tmp_path):
    reconstruction = reconstruct()
    reconstruction.people[0].vertices[0] = np.nan
    path, = outputs.write(reconstruction, PHOTO, str(tmp_path), "x", "x.jpg", NAMES, formats=("obj",))
    with open(path, encoding="utf-8") as file:
        assert [line.split()[1] for line in file if line.startswith("o ")] == ["person_1"]
    reconstruction.people[1].vertices[0] = np.nan
    assert outputs.write(reconstruction, PHOTO, str(tmp_path), "y", "y.jpg", NAMES, formats=("glb",)) == []
