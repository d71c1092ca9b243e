"""Views of parts: upright, exact for the camera, and the way back; a right hand is a left one in a mirror."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.geometry import camera, rotations
from hund_tf.state import EXPRESSION, SHAPE, THETA_HAND, ModelState
from hund_tf.whole_body import attention
from hund_tf.whole_body.part_objective import pose, relative_depths
from hund_tf.whole_body.part_shapes import PartShape
from hund_tf.whole_body.part_state import PartState

INTRINSICS = tf.constant([[700.0, 700.0, 240.0, 100.0], [900.0, 900.0, -300.0, 240.0], [500.0, 500.0, 240.0, 240.0]])
_PARTS = {"left": ("hand", slice(95, 116), "left_wrist"), "right": ("hand", slice(116, 137), "right_wrist"),
          "face": ("face", slice(25, 95), "head")}


@pytest.fixture(scope="module")
def body():
    return GenerativeBody.from_asset()


def posed_part(body, which, rng):
    """A body in the T-pose somewhere before the camera: codes and shape, and keypoints and root of a part."""
    kind, points, root = _PARTS[which]
    hand, face = rng.normal(0, 0.6, (3, THETA_HAND)), rng.normal(0, 0.6, (3, EXPRESSION))
    upright = body.theta_from_rotations(tf.eye(3, batch_shape=[3, len(body.joint_names)]))[:, :126]
    hands = [hand if which == side else np.zeros_like(hand) for side in ("left", "right")]
    betas, rotation = rng.normal(0, 0.6, (3, SHAPE)), rng.normal(size=(3, 6))
    state = ModelState(tf.concat([upright, *hands], 1), betas, face, rotation, np.array([[0.2, 0.1, 3.0]] * 3))
    posed = body(ModelState(*(tf.cast(x, tf.float32) for x in state)), mesh=None)
    codes = tf.constant(face if kind == "face" else hand, tf.float32)
    joint = posed.joints[:, body.joint_names.index(root)]
    return kind, codes, state, posed.keypoints[:, points], joint


@pytest.mark.parametrize("which", _PARTS)
def test_the_truth_is_the_truth_in_the_view(body, which):
    """The part's own state, seen in the view, gives the keypoints there; and brought back, those of the body."""
    kind, codes, state, keypoints, root = posed_part(body, which, np.random.default_rng(4))
    shape = tf.constant(state.shape, tf.float32)
    mean = tf.reduce_mean(keypoints[..., 2], -1, keepdims=True)
    depths = (keypoints[..., 2] - root[:, None, 2]) / mean * INTRINSICS[:, :1]
    pixels = camera.project(keypoints, INTRINSICS)
    view = attention.look_at(kind, pixels, tf.ones(pixels.shape[:2]), depths, shape, INTRINSICS, which == "right")
    start, end = attention.UPRIGHT[kind]
    up = (view.evidence.keypoints[:, end] - view.evidence.keypoints[:, start]).numpy()
    np.testing.assert_allclose(up[:, 0] / up[:, 1], 0.0, atol=1e-3)
    assert (up[:, 1] < 0).all()
    rotation, translation = rotations.matrix_from_6d(tf.constant(state.rotation, tf.float32)), root
    if which == "right":
        rotation, translation = rotations.mirrored(rotation), translation * [-1.0, 1.0, 1.0]
    turned = attention._turned(view.turn)
    seen = PartState(codes, rotations.matrix_to_6d(turned @ rotation), tf.einsum("bij,bj->bi", turned, translation))
    part = PartShape(body, kind)
    found = pose(part, seen, shape)
    np.testing.assert_allclose(camera.project(found, view.evidence.intrinsics), view.evidence.keypoints, atol=0.6)
    np.testing.assert_allclose(relative_depths(found, view.evidence.intrinsics), view.evidence.depths, atol=5e-3)
    back = attention.look_back(view, seen)
    np.testing.assert_allclose(back.translation, root, atol=1e-5)
    np.testing.assert_allclose(rotations.matrix_from_6d(back.rotation),
                               rotations.matrix_from_6d(tf.constant(state.rotation, tf.float32)), atol=1e-5)


def test_nothing_seen_is_a_finite_view():
    view = attention.look_at("hand", tf.zeros([3, 21, 2]), tf.zeros([3, 21]), tf.zeros([3, 21]), tf.zeros([3, 16]), INTRINSICS)
    assert all(np.isfinite(x).all() for x in (*view.evidence, view.turn))
