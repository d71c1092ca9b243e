"""Each loss by a value worked out by hand, at its awkward point, and its gradient."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.losses import alignment, meta_losses, priors, supervision


def test_keypoint_alignment_by_hand():
    projected = tf.constant([[[3.0, 4.0], [0.0, 0.0], [9.0, 9.0]]])
    loss = alignment.keypoint_alignment(projected, tf.zeros([1, 3, 2]), tf.constant([[1.0, 1.0, 0.0]]))
    np.testing.assert_allclose(loss, [2.5])


def test_keypoint_alignment_without_keypoints_is_zero():
    loss = alignment.keypoint_alignment(tf.ones([1, 3, 2]), tf.zeros([1, 3, 2]), tf.zeros([1, 3]))
    np.testing.assert_allclose(loss, [0.0])


def test_safe_norm_has_a_finite_gradient_at_zero():
    x = tf.zeros([1, 2])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = alignment.safe_norm(x)
    np.testing.assert_allclose(tape.gradient(y, x), 0.0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_keypoint_alignment_gradient(seed):
    rng = np.random.default_rng(seed)
    points, target = (tf.constant(rng.normal(size=(2, 5, 2))) for _ in range(2))
    weight = tf.constant(rng.random((2, 5)))
    exact, numeric = tf.test.compute_gradient(
        lambda p: alignment.keypoint_alignment(p, target, weight), [points], delta=1e-6)
    np.testing.assert_allclose(exact[0], numeric[0], rtol=1e-5, atol=1e-7)


def test_part_alignment_of_the_same_maps_is_zero_and_of_disjoint_ones_is_three():
    maps = tf.one_hot(tf.constant([[[0, 3], [5, 0]]]), 15)
    rendered = tf.concat([maps, 1 - maps[..., :1]], -1)
    np.testing.assert_allclose(alignment.part_alignment(rendered, maps), [0.0])
    other = tf.one_hot(tf.constant([[[1, 0], [0, 1]]]), 15)
    rendered = tf.concat([other, 1 - other[..., :1]], -1)
    np.testing.assert_allclose(alignment.part_alignment(rendered, maps), [3.0])


def test_gaussian_prior_by_hand():
    np.testing.assert_allclose(priors.gaussian_prior(tf.constant([[3.0, 4.0]])), [25.0])


def test_mean_point_error_by_hand():
    points = tf.constant([[[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]]])
    np.testing.assert_allclose(supervision.mean_point_error(points, tf.zeros_like(points)), [1.5])
    weights = tf.constant([1.0, 3.0])
    np.testing.assert_allclose(supervision.mean_point_error(points, tf.zeros_like(points), weights), [0.75])


STAGES = tf.constant([[4.0, 1.0], [3.0, 2.0], [3.5, 0.5]])


@pytest.mark.parametrize("name, value", [
    ("sum", [10.5, 3.5]), ("last", [3.5, 0.5]), ("min", [3.0, 0.5]), ("max", [4.0, 2.0]), ("oi", [-1.0, -0.5])])
def test_meta_losses_by_hand(name, value):
    np.testing.assert_allclose(meta_losses.by_name(name)(STAGES), value)


def test_unknown_meta_loss_is_refused():
    with pytest.raises(ValueError, match="must be one of"):
        meta_losses.by_name("median")
