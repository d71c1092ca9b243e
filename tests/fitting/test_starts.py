"""The A-pose stands as it should, and steps are those of the packed state."""

import numpy as np
import tensorflow as tf

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.fitting import starts
from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.state import BodyStateCodec


def test_a_pose_stands_with_lowered_arms_in_the_middle_of_the_crop():
    body, codec = GenerativeBody.from_asset(pose_prior="gaussian"), BodyStateCodec()
    state = codec.unpack(starts.a_pose(body, codec), tf.constant([[480.0, 480.0, 240.0, 240.0]]), CROP_SIZE)
    joints = dict(zip(body.joint_names, body(state, mesh=None).joints[0].numpy()))
    np.testing.assert_allclose(joints["pelvis"], [0.0, 0.0, 1.7], atol=1e-5)
    for side, sign in (("left", 1), ("right", -1)):  # the person faces the camera: its left is the camera's right
        arm = joints[f"{side}_wrist"] - joints[f"{side}_shoulder"]
        np.testing.assert_allclose(arm / np.linalg.norm(arm), [sign * 0.707, 0.707, 0.0], atol=0.12)
        leg = joints[f"{side}_ankle"] - joints[f"{side}_hip"]
        assert leg[1] > 0.97 * np.linalg.norm(leg)
    assert joints["head"][1] < joints["neck"][1] - 0.05


def test_every_unknown_has_a_step():
    assert starts.natural_steps().shape == (BodyStateCodec.size,) and np.all(starts.natural_steps() > 0)
