"""Training scenes: crops of what the photo shows, and photos that end between chest and knees."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.transform import Rotation

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.geometry import camera
from hund_tf.state import ModelState
from hund_tf.training import scenes

NOSE, ANKLES = 0, [11, 14]


@pytest.fixture(name="body", scope="module")
def fixture_body():
    return GenerativeBody.from_asset()


def standing(body, portraits):
    """Scenes of people in rest pose, and which BODY_25 points `[N, 25]` lie in the photo."""
    poses = np.tile(np.eye(3), (200, 22, 1, 1))
    sampled = scenes.sample_scenes(body, poses, np.random.default_rng(0), render=False, portraits=portraits)
    state = ModelState(*(tf.constant(sampled[name]) for name in ModelState._fields))
    pixels = camera.project(body(state, mesh=None).keypoints[:, :25], tf.constant(sampled["intrinsics"])).numpy()
    bounds = sampled["image_bounds"]
    return sampled, np.all((pixels > bounds[:, None, :2]) & (pixels < bounds[:, None, 2:]), -1), pixels


def test_portraits_show_the_head_and_no_feet(body):
    _, seen, _ = standing(body, portraits=1.0)
    assert len(seen) > 150
    assert seen[:, NOSE].mean() > 0.9 and seen[:, ANKLES].mean() < 0.15


def test_other_scenes_mostly_show_the_whole_body(body):
    _, seen, _ = standing(body, portraits=0.0)
    assert seen[:, NOSE].mean() > 0.75 and seen[:, ANKLES].mean() > 0.75


@pytest.mark.parametrize("portraits", [0.0, 1.0])
def test_crops_hold_what_the_photo_shows(body, portraits):
    sampled, seen, pixels = standing(body, portraits)
    inside = np.all((pixels > -1) & (pixels < 481), -1)
    assert (inside | ~seen).mean() > 0.97
    assert all(np.all(np.isfinite(values)) for values in sampled.values())


def test_a_share_turns_to_the_camera_whichever_way_the_motion_faced(body):
    turned = Rotation.from_euler("y", np.random.default_rng(1).uniform(0, 360, (200, 1)), degrees=True).as_matrix()
    poses = np.tile(np.eye(3), (200, 22, 1, 1))
    poses[:, 0] = turned

    def to_camera(facing):
        rotation = scenes.sample_scenes(body, poses, np.random.default_rng(0), render=False, facing=facing)["rotation"]
        forward = np.cross(rotation[:, :3], rotation[:, 3:])
        return np.mean(forward[:, 2] < -0.7)

    assert to_camera(1.0) > 0.7 and to_camera(0.0) < 0.4
