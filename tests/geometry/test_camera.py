"""Perspective projection, its inverse, and the ray through a crop's centre."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.geometry import camera

INTRINSICS = tf.constant([[1000.0, 900.0, 320.0, 240.0]], tf.float64)


def test_projects_by_hand():
    pixels = camera.project(tf.constant([[[1.0, -0.5, 2.0]]], tf.float64), INTRINSICS)
    np.testing.assert_allclose(pixels[0, 0], [820.0, 15.0])


def test_point_behind_the_camera_is_finite():
    assert np.all(np.isfinite(camera.project(tf.constant([[[1.0, 1.0, -3.0]]], tf.float64), INTRINSICS)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unproject_inverts_project(seed):
    rng = np.random.default_rng(seed)
    points = tf.constant(rng.normal(size=(1, 5, 3)) + [0, 0, 5])
    back = camera.unproject(camera.project(points, INTRINSICS), points[..., 2:], INTRINSICS)
    np.testing.assert_allclose(back, points, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_projection_gradient_matches_finite_differences(seed):
    points = tf.constant(np.random.default_rng(seed).normal(size=(1, 4, 3)) + [0, 0, 6])
    exact, numeric = tf.test.compute_gradient(lambda p: camera.project(p, INTRINSICS), [points], delta=1e-6)
    np.testing.assert_allclose(exact[0], numeric[0], rtol=1e-5, atol=1e-5)


def test_default_intrinsics_are_the_papers():
    assert camera.default_intrinsics(480, 640) == (640.0, 640.0, 320.0, 240.0)


def test_ray_of_a_centred_crop_is_the_axis():
    rotation = camera.camera_from_ray(tf.constant([[500.0, 500.0, 240.0, 240.0]]), 480)
    np.testing.assert_allclose(rotation[0], np.eye(3), atol=1e-7)


def test_ray_points_to_the_crops_centre():
    intrinsics = tf.constant([[700.0, 650.0, -300.0, 900.0]])
    rotation = camera.camera_from_ray(intrinsics, 480)
    np.testing.assert_allclose(rotation[0] @ tf.transpose(rotation[0]), np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation[0]) == pytest.approx(1.0, abs=1e-6)
    pixel = camera.project(rotation[:, None, :, 2], intrinsics)
    np.testing.assert_allclose(pixel[0, 0], [240.0, 240.0], atol=1e-3)


def test_projection_takes_an_unknown_batch():
    layer = camera.PerspectiveProjection()
    function = tf.function(layer.call, input_signature=[
        tf.TensorSpec([None, 3, 3], tf.float32), tf.TensorSpec([None, 4], tf.float32)])
    assert function(tf.ones([2, 3, 3]), tf.ones([2, 4])).shape == (2, 3, 2)
