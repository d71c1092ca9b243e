"""Keypoint sets of other data sets."""

import types

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.body import keypoints
from hund_tf.body.generative_body import GenerativeBody


@pytest.fixture(scope="module")
def body():
    return GenerativeBody.from_asset()


@pytest.fixture(scope="module")
def posed(body):
    rest = tf.tile(tf.eye(3)[None, None], [1, 63, 1, 1])
    return body.pose_from_rotations(rest, tf.zeros([1, 16]), tf.zeros([1, 20]), tf.constant([[1.0, 0, 0, 0, 1, 0]]),
                                    tf.zeros([1, 3]))


@pytest.mark.parametrize("name, count", [("smpl24", 24), ("coco17", 17), ("h36m17", 17), ("lsp14", 14)])
def test_sets_have_their_size_and_move_with_the_body(body, posed, name, count):
    names, weights = keypoints.regressor(body, name)
    assert len(names) == len(set(names)) == count
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-6)
    points = keypoints.regress(weights, posed)[0].numpy()
    for point, (x, _, _) in zip(names, points):
        assert x > 0.01 if point.startswith("left") else x < -0.01 if point.startswith("right") else abs(x) < 0.01, point


def test_head_top_is_near_the_top_of_the_skull(body, posed):
    names, weights = keypoints.regressor(body, "lsp14")
    top = keypoints.regress(weights, posed)[0, names.index("head_top")]
    skull = posed.vertices[0, :, 1].numpy().max()
    assert abs(top[1] - skull) < 0.02


def test_h36m_bones_have_the_published_proportions(body, posed):
    """Bone lengths of the captured skeleton, mm, scaled to our legs and arms; shoulders differ between people."""
    names, weights = keypoints.regressor(body, "h36m17")
    points = dict(zip(names, keypoints.regress(weights, posed)[0].numpy() * 1000))
    limbs = {("left_hip", "left_knee"): 443, ("left_knee", "left_ankle"): 454, ("left_shoulder", "left_elbow"): 279,
             ("left_elbow", "left_wrist"): 252}
    trunk = {("pelvis", "left_hip"): 133, ("pelvis", "spine"): 233, ("spine", "thorax"): 257,
             ("thorax", "neck_nose"): 121, ("neck_nose", "head"): 115}
    ours = {bone: np.linalg.norm(points[bone[0]] - points[bone[1]]) for bone in (*limbs, *trunk)}
    scale = sum(ours[bone] for bone in limbs) / sum(limbs.values())
    assert 0.85 < scale < 1.0
    for bone, length in {**limbs, **trunk}.items():
        assert abs(ours[bone] / (scale * length) - 1) < 0.1, (bone, ours[bone], scale * length)


def test_points_of_a_rigid_part_move_rigidly(body, posed):
    """Turning the right thigh moves no hip, turning the head keeps the head's points at their distances."""
    turned = np.tile(np.eye(3, dtype=np.float32), [1, 63, 1, 1])
    quarter = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
    for joint in ("right_hip", "head"):
        turned[0, body.joint_names.index(joint)] = quarter
    bent = body.pose_from_rotations(tf.constant(turned), tf.zeros([1, 16]), tf.zeros([1, 20]),
                                    tf.constant([[1.0, 0, 0, 0, 1, 0]]), tf.zeros([1, 3]))
    for name in keypoints.SETS:
        names, weights = keypoints.regressor(body, name)
        before, after = (dict(zip(names, keypoints.regress(weights, pose)[0].numpy())) for pose in (posed, bent))
        np.testing.assert_allclose(after["right_hip"], before["right_hip"], atol=1e-5)
        assert np.linalg.norm(after["right_knee"] - before["right_knee"]) > 0.3
    joint = body.joint_names.index("head")
    for name, point in (("lsp14", "head_top"), ("h36m17", "head")):
        names, weights = keypoints.regressor(body, name)
        distance = [np.linalg.norm(keypoints.regress(weights, pose)[0, names.index(point)] - pose.joints[0, joint])
                    for pose in (posed, bent)]
        np.testing.assert_allclose(*distance, atol=0.01)  # ears give a little at a quarter turn


def test_unknown_set_is_refused(body):
    with pytest.raises(ValueError, match="keypoint set must be one of"):
        keypoints.regressor(body, "mpii")


def test_a_body_that_lacks_a_point_is_refused(body):
    bare = types.SimpleNamespace(joint_names=body.joint_names, keypoint_names=("neck",))
    with pytest.raises(ValueError, match="must have a joint or keypoint 'nose'"):
        keypoints.regressor(bare, "coco17")
