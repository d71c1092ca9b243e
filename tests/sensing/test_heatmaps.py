"""Painting keypoints as K and reading them back."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.sensing import heatmaps


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_reading_inverts_painting(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(40, 440, (3, 137, 2)).astype(np.float32)
    confidence = rng.uniform(0.1, 1.0, (3, 137)).astype(np.float32)
    maps = heatmaps.paint_heatmaps(tf.constant(points), tf.constant(confidence))
    assert maps.shape == (3, 60, 60, 137)
    found, height = heatmaps.read_keypoints(maps)
    np.testing.assert_allclose(found, points, atol=0.1)  # crop pixels
    np.testing.assert_allclose(height, confidence, atol=1e-2)


def test_peak_lies_where_the_keypoint_lies():
    maps = heatmaps.paint_heatmaps(tf.constant([[[12.0, 100.0]]]), tf.ones([1, 1]))
    assert np.unravel_index(np.argmax(maps[0, :, :, 0]), (60, 60)) == (12, 1)  # row y, column x
    assert float(tf.reduce_max(maps)) == pytest.approx(1.0, abs=1e-6)


def test_unseen_keypoint_paints_nothing_and_reads_as_unseen():
    maps = heatmaps.paint_heatmaps(tf.constant([[[100.0, 100.0]]]), tf.zeros([1, 1]))
    assert float(tf.reduce_max(maps)) == 0.0
    found, confidence = heatmaps.read_keypoints(maps)
    np.testing.assert_allclose(found[0, 0], [240.0, 240.0])
    assert float(confidence[0, 0]) == 0.0


def test_lower_second_peak_does_not_pull():
    both = heatmaps.paint_heatmaps(tf.constant([[[100.0, 100.0]]]), tf.ones([1, 1]))
    both += heatmaps.paint_heatmaps(tf.constant([[[400.0, 300.0]]]), tf.fill([1, 1], 0.5))
    found, _ = heatmaps.read_keypoints(both)
    np.testing.assert_allclose(found[0, 0], [100.0, 100.0], atol=0.5)
