"""Keypoint sets of other data sets."""

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
    names, weights = keypoints.regressor(body, "h36m17")
    top = keypoints.regress(weights, posed)[0, names.index("head_top")]
    skull = posed.vertices[0, :, 1].numpy().max()
    assert abs(top[1] - skull) < 0.02


def test_unknown_set_is_refused(body):
    with pytest.raises(ValueError, match="keypoint set must be one of"):
        keypoints.regressor(body, "mpii")
