"""Regions of body parts."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.sensing import regions, sampling


@pytest.mark.parametrize("high, angle", [((0, -1), 0), ((1, 0), np.pi / 2), ((-1, 0), -np.pi / 2), ((1, -1), np.pi / 4)])
def test_upright_angle_by_hand(high, angle):
    found = regions.upright_angle(tf.zeros([1, 2]), tf.constant([high], tf.float32))
    np.testing.assert_allclose(found, [angle], atol=1e-6)


@pytest.mark.parametrize("right, angle", [((1, 0), 0), ((0, 1), np.pi / 2), ((1, 1), np.pi / 4)])
def test_level_angle_by_hand(right, angle):
    np.testing.assert_allclose(regions.level_angle(tf.zeros([1, 2]), tf.constant([right], tf.float32)), [angle], atol=1e-6)


def test_in_its_region_high_stands_above_low():
    rng = np.random.default_rng(0)
    low, high = (tf.constant(rng.uniform(0, 100, (5, 2)), tf.float32) for _ in range(2))
    region = regions.square_region(low, tf.fill([5], 50.0), regions.upright_angle(low, high))
    up = sampling.points_to_image(tf.constant([[[0.5, 0.5], [0.5, 0.0]]]) * tf.ones([5, 1, 1]), region)
    along = (up[:, 1] - up[:, 0]) / 25
    np.testing.assert_allclose(up[:, 0], low, atol=1e-4)
    np.testing.assert_allclose(along, (high - low) / tf.norm(high - low, axis=-1, keepdims=True), atol=1e-5)


def test_inverse_region_brings_a_map_back():
    """A blob seen in a turned region lies where it lay."""
    image = np.zeros([1, 128, 128, 1], np.float32)
    image[0, 40:56, 70:86] = 1
    region = tf.constant([[60.0, 60.0, 110.0, 0.7]])
    seen = sampling.sample_regions(image, region, 128)
    back = regions.inverse_region(region, 128.0) * tf.constant([128.0, 128.0, 128.0, 1.0])
    again = sampling.sample_regions(seen, back, 64)[0, :, :, 0].numpy()
    rows, columns = np.indices((64, 64)) + 0.5
    assert (again * columns).sum() / again.sum() * 2 == pytest.approx(78, abs=0.3)
    assert (again * rows).sum() / again.sum() * 2 == pytest.approx(48, abs=0.3)
