"""Parts put into the body: true ones give the true person, unseen ones change nothing, and between is no jump."""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.config import PartConfig
from hund_tf.geometry import rotations
from hund_tf.state import EXPRESSION, SHAPE, ModelState
from hund_tf.whole_body import fusion
from hund_tf.whole_body.hund_part import HundPart
from hund_tf.whole_body.part_networks import PartNetworks

JOINTS = ("left_wrist", "right_wrist", "head")


class Seen(NamedTuple):
    keypoints: tf.Tensor
    confidence: tf.Tensor
    depths: tf.Tensor


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
    weights = np.linspace(0, 1, 41)
    points = [body(fusion.fuse(body, rough, parts._replace(weight=tf.fill([4, 3], float(w))))[0], mesh=None).keypoints.numpy()
              for w in weights]
    assert max(np.abs(a - b).max() for a, b in zip(points[1:], points)) < 0.02
    confidence = tf.constant(np.linspace(0, 1, 101)[:, None] * np.ones([1, 21]), tf.float32)
    seen = fusion.seen_weight(confidence).numpy()
    assert seen[0] == 0 and seen[-1] == 1 and np.diff(seen).min() >= 0 and np.diff(seen).max() < 0.06


def test_a_hand_that_asks_for_the_impossible_is_not_followed(body, people):
    _, rough, parts = people
    turned = rotations.matrix_to_6d(rotations.matrix_from_6d(parts.rotation) @ tf.constant(np.diag([1.0, -1, -1]), tf.float32))
    fused, followed = fusion.fuse(body, rough, parts._replace(rotation=turned))
    np.testing.assert_array_equal(followed, 0.0)
    assert np.isfinite(fused.theta).all()


def test_a_mirrored_photo_gives_the_mirrored_hands(body):
    """Whatever the weights: left and right change places, and rotations are seen in the mirror."""
    networks = PartNetworks(HundPart(PartConfig("hand", num_stages=2), body), HundPart(PartConfig("face", num_stages=2), body))
    rng, intrinsics = np.random.default_rng(6), tf.constant([[600.0, 600.0, 240.0, 240.0]] * 2)
    points = tf.constant(rng.uniform(100, 380, (2, 137, 2)), tf.float32)
    confidence, depths = rng.uniform(0.3, 1, (2, 137)), rng.normal(0, 9, (2, 137))
    seen = Seen(points, tf.constant(confidence, tf.float32), tf.constant(depths, tf.float32))
    swap = np.r_[:95, 116:137, 95:116]
    mirrored = Seen(*(tf.gather(x, swap, axis=1) for x in (points * [-1.0, 1.0] + [480.0, 0.0], seen.confidence, seen.depths)))
    shape = tf.constant(rng.normal(size=(2, SHAPE)), tf.float32)
    there, here = networks(mirrored, shape, intrinsics), networks(seen, shape, intrinsics)
    np.testing.assert_allclose(there.theta, here.theta[:, ::-1], atol=1e-4)
    np.testing.assert_allclose(there.weight[:, :2], here.weight[:, 1::-1], atol=1e-6)
    np.testing.assert_allclose(rotations.matrix_from_6d(there.rotation[:, :2]),
                               rotations.mirrored(rotations.matrix_from_6d(here.rotation[:, 1::-1])), atol=1e-4)
