"""Parts put into the body: true ones give the true person, unseen ones change nothing, and between is no jump."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.transform import Rotation

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.config import PartConfig
from hund_tf.geometry import rotations
from hund_tf.state import EXPRESSION, SHAPE, ModelState
from hund_tf.whole_body import fusion
from hund_tf.whole_body.hund_part import HundPart
from hund_tf.whole_body.part_networks import PartLandmarks, PartNetworks

JOINTS = ("left_wrist", "right_wrist", "head")


@pytest.fixture(scope="module")
def body():
    return GenerativeBody.from_asset()


@pytest.fixture(scope="module")
def people(body):
    """True people, their bodies with other wrists, heads and still hands and faces, and what true parts say."""
    rng, count = np.random.default_rng(5), 4
    state = ModelState(*(tf.constant(x, tf.float32) for x in (
        rng.normal(0, 0.4, (count, 306)), rng.normal(size=(count, SHAPE)), rng.normal(size=(count, EXPRESSION)),
        rng.normal(size=(count, 6)), [[0.1, 0.2, 3.0]] * count)))
    local = body.rotations_from_theta(state.theta)
    turns = fusion.global_rotations(body.parents, local, state.rotation)
    wrong = tf.unstack(local, axis=1)
    for name in JOINTS:
        joint = body.joint_names.index(name)
        wrong[joint] = wrong[joint] @ rotations.matrix_from_6d(tf.constant([[1.0, 0.3, 0, -0.3, 1, 0.2]] * count))
    theta = tf.concat([body.theta_from_rotations(tf.stack(wrong, 1))[:, :126], tf.zeros([count, 180])], 1)
    rough = state._replace(theta=theta, expression=tf.zeros([count, EXPRESSION]))
    parts = fusion.PartEstimates(
        theta=tf.reshape(state.theta[:, 126:], [count, 2, 90]), expression=state.expression,
        rotation=tf.stack([rotations.matrix_to_6d(turns[body.joint_names.index(name)]) for name in JOINTS], 1),
        place=tf.gather(body(state, mesh=None).joints, [body.joint_names.index(name) for name in JOINTS[:2]], axis=1),
        weight=tf.ones([count, 3]))
    return state, rough, parts


def test_true_parts_give_the_true_person(body, people):
    state, rough, parts = people
    fused, followed = fusion.fuse(body, rough, parts)
    np.testing.assert_allclose(followed, 1.0)
    np.testing.assert_allclose(body(fused, mesh=None).keypoints, body(state, mesh=None).keypoints, atol=2e-4)


def test_unseen_parts_change_nothing(body, people):
    _, rough, parts = people
    fused, followed = fusion.fuse(body, rough, parts._replace(weight=tf.zeros([4, 3])))
    np.testing.assert_array_equal(followed, 0.0)
    np.testing.assert_allclose(body(fused, mesh=None).keypoints, body(rough, mesh=None).keypoints, atol=2e-4)


def test_a_little_less_confidence_changes_a_little(body, people):
    _, rough, parts = people
    points_at = tf.function(lambda weight: body(fusion.fuse(body, rough, parts._replace(weight=tf.fill([4, 3], weight)))[0],
                                                mesh=None).keypoints, autograph=False)
    points = [points_at(tf.constant(weight, tf.float32)).numpy() for weight in np.linspace(0, 1, 41)]
    assert max(np.abs(a - b).max() for a, b in zip(points[1:], points)) < 0.02
    confidence = tf.constant(np.linspace(0, 1, 101)[:, None] * np.ones([1, 21]), tf.float32)
    seen = fusion.seen_weight(confidence).numpy()
    assert seen[0] == 0 and seen[-1] == 1 and np.diff(seen).min() >= 0 and np.diff(seen).max() < 0.06


def test_a_hand_that_asks_for_the_impossible_is_not_followed(body, people):
    _, rough, parts = people
    turned = rotations.matrix_to_6d(rotations.matrix_from_6d(parts.rotation) @ tf.constant(np.diag([1.0, -1, -1]), tf.float32))
    fused, followed = fusion.fuse(body, rough, parts._replace(rotation=turned))
    np.testing.assert_array_equal(followed, 0.0)
    np.testing.assert_allclose(body(fused, mesh=None).joints, body(rough, mesh=None).joints, atol=2e-4)


def test_half_a_turn_of_twist_is_one():
    turn = tf.constant([np.diag([1.0, -1.0, -1.0])], tf.float32)
    twist, lean = fusion._twist_and_lean(turn, tf.constant([[1.0, 0.0, 0.0]]))
    assert abs(float(twist[0])) == pytest.approx(np.pi, abs=1e-3) and float(lean[0]) == pytest.approx(0.0, abs=1e-3)


def test_a_mirrored_photo_gives_the_mirrored_hands(body):
    """Whatever the weights: left and right change places, and rotations are seen in the mirror."""
    networks = PartNetworks(body, HundPart(PartConfig("hand", num_stages=2), body), HundPart(PartConfig("face", num_stages=2), body))
    rng, intrinsics = np.random.default_rng(6), tf.constant([[600.0, 600.0, 240.0, 240.0]] * 2)
    points = tf.constant(rng.uniform(100, 380, (2, 137, 2)), tf.float32)
    confidence, depths = rng.uniform(0.3, 1, (2, 137)), rng.normal(0, 9, (2, 137))
    seen = PartLandmarks(points, tf.constant(confidence, tf.float32), tf.constant(depths, tf.float32))
    swap = np.r_[:95, 116:137, 95:116]
    mirrored = PartLandmarks(*(tf.gather(x, swap, axis=1) for x in (points * [-1.0, 1.0] + [480.0, 0.0], seen.confidence, seen.depths)))
    shape = tf.constant(rng.normal(size=(2, SHAPE)), tf.float32)
    there, here = networks(mirrored, shape, intrinsics), networks(seen, shape, intrinsics)
    np.testing.assert_allclose(there.theta, here.theta[:, ::-1], atol=1e-4)
    np.testing.assert_allclose(there.weight[:, :2], here.weight[:, 1::-1], atol=1e-6)
    np.testing.assert_allclose(rotations.matrix_from_6d(there.rotation[:, :2]),
                               rotations.mirrored(rotations.matrix_from_6d(here.rotation[:, 1::-1])), atol=1e-4)


def test_elbow_and_wrist_share_a_twist(body, people):
    """A palm turned over by 90 degrees: neither joint turns more than about half of it, nothing moves but the hand."""
    _, rough, parts = people
    rough = rough._replace(theta=body.theta_from_rotations(tf.tile(tf.eye(3)[None, None], [4, len(body.joint_names), 1, 1])))
    turns = fusion.global_rotations(body.parents, body.rotations_from_theta(rough.theta), rough.rotation)
    joints, at = body(rough, mesh=None).joints.numpy(), body.joint_names.index
    wanted = []
    for side in ("left", "right"):
        forearm = joints[:, at(f"{side}_wrist")] - joints[:, at(f"{side}_elbow")]
        over = Rotation.from_rotvec(np.pi / 2 * forearm / np.linalg.norm(forearm, axis=1, keepdims=True)).as_matrix()
        wanted.append(tf.constant(over, tf.float32) @ turns[at(f"{side}_wrist")])
    both = tf.stack([rotations.matrix_to_6d(turn) for turn in wanted], 1)
    parts = parts._replace(place=tf.constant(joints[:, [at(name) for name in JOINTS[:2]]]))
    parts = parts._replace(rotation=tf.concat([both, parts.rotation[:, 2:]], 1), weight=tf.constant([[1.0, 1, 0]] * 4))
    fused, shares = fusion.fuse(body, rough, parts)
    np.testing.assert_allclose(shares, [[1, 1, 0]] * 4)
    local = body.rotations_from_theta(fused.theta)
    for side, turn in zip(("left", "right"), wanted):
        for joint in ("elbow", "wrist"):
            turned = local[:, at(f"{side}_{joint}")].numpy()
            np.testing.assert_allclose(np.degrees(np.arccos((np.trace(turned, axis1=1, axis2=2) - 1) / 2)), 45, atol=0.5)
        found = fusion.global_rotations(body.parents, local, fused.rotation)[at(f"{side}_wrist")]
        np.testing.assert_allclose(found, turn, atol=2e-4)
    after = body(fused, mesh=None).joints.numpy()
    still = [i for i, name in enumerate(body.joint_names) if not any(
        part in name for part in ("index", "middle", "ring", "pinky", "thumb"))]
    np.testing.assert_allclose(after[:, still], joints[:, still], atol=1e-4)


def test_a_forearm_points_at_its_hand(body, people):
    """The wrist comes nearer to where it is seen, the elbow stays, and one seen far astray is not pointed at."""
    _, rough, parts = people
    joints, at = body(rough, mesh=None).joints.numpy(), body.joint_names.index
    wrist, elbow = at("left_wrist"), at("left_elbow")
    for shift, moves in ((0.05, True), (0.8, False)):
        seen = joints[:, [wrist, at("right_wrist")]] + [shift, 0, 0]
        fused, _ = fusion.fuse(body, rough, parts._replace(place=tf.constant(seen, tf.float32)))
        found = body(fused, mesh=None).joints.numpy()
        before, after = (np.linalg.norm((x[:, wrist] / x[:, wrist, 2:] - seen[:, 0] / seen[:, 0, 2:])[:, :2], axis=-1)
                         for x in (joints, found))
        np.testing.assert_allclose(found[:, elbow], joints[:, elbow], atol=2e-4)
        assert np.all(after < 0.95 * before) if moves else np.allclose(found[:, wrist], joints[:, wrist], atol=2e-4)
