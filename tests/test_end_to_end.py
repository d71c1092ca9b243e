"""One real run of the command in its own process: files that agree with each other, and nothing on stderr."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import trimesh
from PIL import Image

from hund_tf import presets

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif("body" not in presets.packaged(), reason="the package holds no trained preset yet")]
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """`hund reconstruct` in an empty folder: the finished process and its folder."""
    folder = tmp_path_factory.mktemp("run")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run([sys.executable, "-m", "hund_tf.cli", "reconstruct"], cwd=folder, capture_output=True,
                          text=True, timeout=600, env={**clean, "PYTHONPATH": ROOT})
    return done, folder / "hund_out"


def test_is_quiet_and_says_one_line(run):
    done, _ = run
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and done.stdout.count("\n") == 1
    assert "street.jpg: 3 people" in done.stdout


def test_json_agrees_with_itself(run):
    with open(run[1] / "street.json", encoding="utf-8") as file:
        content = json.load(file)
    fx, fy, cx, cy = content["camera"]["intrinsics"]
    assert (fx, fy, cx, cy) == (620, 620, 310, 215)
    for person in content["people"]:
        points = np.array(person["keypoints3d"])
        projected = points[:, :2] / points[:, 2:] * [fx, fy] + [cx, cy]
        np.testing.assert_allclose(person["keypoints2d"], projected, atol=0.05)
        np.testing.assert_allclose(person["joints3d"][0], person["translation"], atol=1e-3)  # the pelvis
        rotations = np.array(person["joint_rotations"])
        np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), [63, 1, 1]), atol=1e-4)
        first, second = np.reshape(person["rotation"], [2, 3])
        rotation = np.stack([first, second, np.cross(first, second)], -1)  # by the file's own words
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-4)
        assert len(person["stage_losses"]) == 6 and person["stage_losses"][-1] < person["stage_losses"][0]
        assert 0.3 < np.median(np.linalg.norm(points[:25] - points[8], axis=-1)) < 1.2  # of human size


def test_reprojection_falls_on_the_people(run):
    with open(run[1] / "street.json", encoding="utf-8") as file:
        people = json.load(file)["people"]
    for person in people:
        sure = np.array(person["keypoint_confidence"]) >= 0.3
        distance = np.linalg.norm(np.subtract(person["keypoints2d"], person["detected_keypoints2d"]), axis=-1)[sure]
        assert np.median(distance) < 0.1 * max(person["box"][2:])


def test_glb_is_the_json_scene(run):
    scene = trimesh.load(str(run[1] / "street.glb"))
    with open(run[1] / "street.json", encoding="utf-8") as file:
        people = json.load(file)["people"]
    assert sorted(scene.geometry) == [f"person_{i}" for i in range(len(people))]
    for i, person in enumerate(people):
        vertices = scene.geometry[f"person_{i}"].vertices * [1, -1, -1]  # back to the camera frame
        low, high = vertices.min(0) - 0.05, vertices.max(0) + 0.05
        assert np.all((np.array(person["joints3d"]) > low) & (np.array(person["joints3d"]) < high))


def test_overlay_shows_the_photo_and_more(run):
    with Image.open(run[1] / "street.png") as picture:
        assert picture.size[0] > 620 and picture.size[1] >= 430
