"""Losses of the first CNN: values by hand, zero where there is nothing to learn, gradients, weights."""

import math

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.losses.maps import feature_loss, heatmap_loss, part_loss


def test_heatmap_loss_by_hand():
    """Two pixels, targets 1 and 0.5, both said to be 0.5: ln 2 and nothing, half of it a pixel."""
    loss = heatmap_loss(tf.zeros([1, 1, 2, 1]), tf.constant([1.0, 0.5], shape=[1, 1, 2, 1]), tf.ones([1, 1]))
    np.testing.assert_allclose(loss, [math.log(2) / 2], rtol=1e-6)


def test_heatmap_loss_is_least_where_the_target_is_said():
    targets = tf.constant(np.random.default_rng(0).uniform(0.05, 0.95, (2, 4, 4, 3)))
    logits = tf.math.log(targets / (1 - targets))
    weight = tf.ones([2, 3], tf.float64)
    np.testing.assert_allclose(heatmap_loss(logits, targets, weight), [0, 0], atol=1e-12)
    assert np.all(heatmap_loss(logits + 0.1, targets, weight) > 1e-4)


def test_heatmap_loss_counts_keypoints_by_weight():
    """Maps with losses of ln 2 and 0 a pixel; the third counts nothing whatever it says."""
    logits = tf.constant([[0.0, 0.0, 50.0]])[:, None, None]
    targets = tf.constant([[1.0, 0.5, 0.0]])[:, None, None]
    np.testing.assert_allclose(heatmap_loss(logits, targets, tf.constant([[3.0, 1.0, 0.0]])), [0.75 * math.log(2)], rtol=1e-6)
    np.testing.assert_array_equal(heatmap_loss(logits, targets, tf.zeros([1, 3])), [0.0])


def test_part_loss_by_hand():
    """One pixel of background, weight 1/2, sure to 1/2; one of part 3, weight 1, sure to 1/4."""
    logits = np.full([1, 1, 2, 15], -100.0)
    logits[0, 0, 0, :2] = 0.0
    logits[0, 0, 1, :4] = 0.0
    targets = np.eye(15)[[0, 3]][None, None]
    expected = (0.5 * math.log(2) + math.log(4)) / 1.5
    np.testing.assert_allclose(part_loss(tf.constant(logits), tf.constant(targets)), [expected], rtol=1e-6)


def test_part_loss_without_any_pixel_that_counts():
    targets = tf.one_hot(tf.zeros([1, 2, 2], tf.int32), 15)
    np.testing.assert_array_equal(part_loss(tf.ones([1, 2, 2, 15]), targets, background_weight=0.0), [0.0])


def test_feature_loss_by_hand():
    """2x2 pixels that average to 2 where 4 is wanted: (2 - 4)^2 / 4^2; nothing said costs 1, and all said 0."""
    features = tf.constant([[0.0, 2.0], [2.0, 4.0]])[None, ..., None]
    np.testing.assert_allclose(feature_loss(features, tf.fill([1, 1, 1, 1], 4.0)), [0.25])
    np.testing.assert_allclose(feature_loss(0 * features, tf.fill([1, 1, 1, 1], 4.0)), [1.0])
    np.testing.assert_allclose(feature_loss(features, tf.fill([1, 1, 1, 1], 2.0)), [0.0])
    np.testing.assert_array_equal(feature_loss(0 * features, tf.zeros([1, 1, 1, 1])), [0.0])


def test_feature_loss_gradient_matches_finite_differences():
    rng = np.random.default_rng(2)
    targets = tf.constant(rng.normal(size=(2, 1, 1, 2)))
    exact, numeric = tf.test.compute_gradient(lambda x: feature_loss(x, targets), [tf.constant(rng.normal(size=(2, 2, 2, 2)))],
                                              delta=1e-6)
    np.testing.assert_allclose(exact[0], numeric[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shift", [0.0, 60.0, -60.0])
def test_gradients_match_finite_differences_also_where_the_sigmoid_is_flat(shift):
    rng = np.random.default_rng(1)
    targets = tf.constant(rng.choice([0.0, 0.3, 1.0], (2, 1, 2, 3)))
    weight = tf.constant(rng.uniform(0, 1, (2, 3)))
    parts = tf.nn.softmax(tf.constant(3 * rng.normal(size=(1, 1, 2, 15))))
    for loss, shape in ((lambda x: heatmap_loss(x, targets, weight), targets.shape),
                        (lambda x: part_loss(x, parts), parts.shape)):
        logits = tf.constant(rng.normal(size=shape) + shift)
        exact, numeric = tf.test.compute_gradient(loss, [logits], delta=1e-6)
        np.testing.assert_allclose(exact[0], numeric[0], rtol=1e-5, atol=1e-5)
        assert np.all(np.isfinite(exact[0]))


def test_heatmap_loss_still_pulls_on_a_sure_mistake():
    logits = tf.Variable(tf.fill([1, 1, 1, 1], -40.0))
    with tf.GradientTape() as tape:
        loss = heatmap_loss(logits, tf.ones([1, 1, 1, 1]), tf.ones([1, 1]))
    np.testing.assert_allclose(tape.gradient(loss, logits), [[[[-1.0]]]], rtol=1e-6)


def test_unknown_batch():
    run = tf.function(lambda a, b: heatmap_loss(a, b, tf.ones([tf.shape(a)[0], 3])) + part_loss(a, b), input_signature=[
        tf.TensorSpec([None, 2, 2, 3])] * 2)
    assert run(tf.zeros([5, 2, 2, 3]), tf.ones([5, 2, 2, 3]) / 3).shape == [5]
