"""Perspective projection, its inverse, and the ray through a crop's centre."""

import keras
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


def test_gradient_of_a_point_behind_the_camera_is_finite_and_keeps_depth():
    """Depth is held there, so it gets no gradient; x and y move the pixel by f / 0.05."""
    points = tf.constant([[[0.1, -0.2, -3.0], [0.0, 0.0, 0.0]]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(points)
        pixels = camera.project(points, INTRINSICS)
    np.testing.assert_allclose(tape.gradient(pixels, points)[0], [[1000 / 0.05, 900 / 0.05, 0.0]] * 2)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradient_of_the_intrinsics_matches_finite_differences(seed):
    points = tf.constant(np.random.default_rng(seed).normal(size=(1, 4, 3)) + [0, 0, 6])
    exact, numeric = tf.test.compute_gradient(lambda c: camera.project(points, c), [INTRINSICS], delta=1e-4)
    np.testing.assert_allclose(exact[0], numeric[0], rtol=1e-5, atol=1e-5)


def test_default_intrinsics_are_the_papers():
    assert camera.default_intrinsics(480, 640) == (640.0, 640.0, 320.0, 240.0)
    assert camera.default_intrinsics(801, 333) == (801.0, 801.0, 166.5, 400.5)


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


def test_layer_by_hand_and_from_its_config():
    layer = camera.PerspectiveProjection(name="lens")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert isinstance(again, camera.PerspectiveProjection) and again.get_config() == layer.get_config()
    pixels = again(tf.constant([[[1.0, -0.5, 2.0]]]), tf.constant([[1000.0, 900.0, 320.0, 240.0]]))
    np.testing.assert_allclose(pixels[0, 0], [820.0, 15.0])


def test_each_example_has_its_own_camera():
    points = tf.constant([[[1.0, 1.0, 2.0]], [[1.0, 1.0, 2.0]]])
    pixels = camera.project(points, tf.constant([[10.0, 10.0, 0.0, 0.0], [20.0, 40.0, 3.0, 4.0]]))
    np.testing.assert_allclose(pixels[:, 0], [[5.0, 5.0], [13.0, 24.0]])


@pytest.mark.parametrize("form", ["keras", "tf"])
def test_model_with_the_layer_is_saved_and_loaded(tmp_path, form):
    points, intrinsics = keras.Input([None, 3]), keras.Input([4])
    model = keras.Model([points, intrinsics], camera.PerspectiveProjection()(points, intrinsics))
    path = str(tmp_path / ("camera.keras" if form == "keras" else "camera"))
    model.save(path, save_format=form)
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(3, 5, 3)).astype(np.float32) + [0, 0, 4],
              np.tile(np.float32([500, 510, 320, 240]), [3, 1])]
    np.testing.assert_allclose(keras.models.load_model(path)(values), model(values), rtol=1e-6)


def test_saved_model_of_the_layer_takes_any_batch(tmp_path):
    layer = camera.PerspectiveProjection()
    call = tf.function(lambda points_camera, intrinsics: layer(points_camera, intrinsics), input_signature=[
        tf.TensorSpec([None, None, 3], tf.float32), tf.TensorSpec([None, 4], tf.float32)])
    tf.saved_model.save(layer, str(tmp_path / "m"), signatures=call)
    served = tf.saved_model.load(str(tmp_path / "m")).signatures["serving_default"]
    for batch, count in ((1, 1), (2, 7), (0, 3)):
        answer, = served(points_camera=tf.ones([batch, count, 3]), intrinsics=tf.ones([batch, 4])).values()
        assert answer.shape == (batch, count, 2) and np.all(answer.numpy() == 2.0)


@pytest.mark.parametrize("call, words", [
    (lambda: camera.PerspectiveProjection()(tf.ones([2, 7, 4]), tf.ones([2, 4])),
     r"`points_camera` must be \[B, N, 3\]. Received: \(2, 7, 4\)."),
    (lambda: camera.project(tf.ones([7, 3]), tf.ones([1, 4])), r"`points_camera` must be .* Received: \(7, 3\)."),
    (lambda: camera.project(tf.ones([1, 7, 3]), tf.ones([4])), r"`intrinsics` must be \[B, 4\]. Received: \(4,\)."),
    (lambda: camera.unproject(tf.ones([1, 7, 2]), tf.ones([1, 7]), tf.ones([1, 4])), r"`depth` must be \[B, N, 1\]"),
    (lambda: camera.unproject(tf.ones([1, 7, 3]), tf.ones([1, 7, 1]), tf.ones([1, 4])), r"`pixels` must be \[B, N"),
    (lambda: camera.default_intrinsics(0, 640), "`height` and `width` must be positive. Received: 0, 640.")])
def test_errors_say_the_rule_and_what_came(call, words):
    with pytest.raises(ValueError, match=words):
        call()
