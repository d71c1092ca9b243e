"""Joint limits: bends that people can do and cannot, on both sides."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hund_tf.body.rules import BODY_JOINTS
from hund_tf.training import joint_limits


def verdict(**turns):
    """Joints out of their limits, of the T-pose with some joints turned by rotation vectors, degrees."""
    local = np.tile(np.eye(3), (1, len(BODY_JOINTS), 1, 1))
    for joint, turn in turns.items():
        local[0, BODY_JOINTS.index(joint)] = Rotation.from_rotvec(turn, degrees=True).as_matrix()
    within = joint_limits.within_limits(local, BODY_JOINTS)[0]
    return {name for name, good in zip(BODY_JOINTS, within) if not good}


@pytest.mark.parametrize("turns", [
    {}, {"left_knee": (130, 0, 0)}, {"right_knee": (130, 0, 0)}, {"left_elbow": (0, -140, 0)}, {"right_elbow": (0, 140, 0)},
    {"left_hip": (-100, 0, 0)}, {"left_hip": (0, 0, 45)}, {"right_hip": (0, 0, -45)}, {"left_shoulder": (0, 0, -85)},
    {"right_shoulder": (0, 0, 85)}, {"left_shoulder": (0, -90, 0)}, {"left_shoulder": (0, 0, 80)},
    {"spine1": (25, 0, 0), "spine2": (25, 0, 0), "spine3": (25, 0, 0)}])
def test_what_people_do_is_within(turns):
    assert verdict(**turns) == set()


@pytest.mark.parametrize("joint, turn", [
    ("left_knee", (-40, 0, 0)), ("right_knee", (0, 0, 50)), ("left_elbow", (0, 40, 0)), ("right_elbow", (0, -40, 0)),
    ("left_hip", (80, 0, 0)), ("right_hip", (0, 0, 90)), ("left_shoulder", (0, 110, 0)), ("right_shoulder", (0, -110, 0)),
    ("left_shoulder", (170, 0, 0)), ("left_ankle", (90, 0, 0)), ("head", (0, 120, 0)), ("spine3", (-90, 0, 0))])
def test_what_breaks_a_joint_is_not(joint, turn):
    assert verdict(**{joint: turn}) == {joint}


def test_slack_widens_the_limits():
    local = np.tile(np.eye(3), (1, len(BODY_JOINTS), 1, 1))
    local[0, BODY_JOINTS.index("left_knee")] = Rotation.from_rotvec((-20, 0, 0), degrees=True).as_matrix()
    assert not joint_limits.within_limits(local, BODY_JOINTS, slack=10).all()
    assert joint_limits.within_limits(local, BODY_JOINTS, slack=25).all()
