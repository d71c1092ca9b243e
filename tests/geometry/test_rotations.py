"""Rotations: the 6D layout, its inverse and its awkward points; the half twist."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.geometry import numerics, rotations


def random_rotations(seed, count=5):
    rng = np.random.default_rng(seed)
    return rotations.matrix_from_6d(tf.constant(rng.normal(size=(count, 6))))


def test_identity_has_the_first_two_unit_columns():
    np.testing.assert_allclose(rotations.matrix_from_6d(tf.constant([rotations.IDENTITY_6D]))[0], np.eye(3), atol=1e-7)


def test_quarter_turn_about_z_by_hand():
    # x goes to y, y goes to -x: columns (0, 1, 0) and (-1, 0, 0).
    turn = rotations.matrix_from_6d(tf.constant([0.0, 1.0, 0.0, -1.0, 0.0, 0.0]))
    np.testing.assert_allclose(turn, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-7)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_matrices_survive_the_round_trip(seed):
    turn = random_rotations(seed)
    again = rotations.matrix_from_6d(rotations.matrix_to_6d(turn))
    np.testing.assert_allclose(again, turn, atol=1e-9)
    np.testing.assert_allclose(turn @ tf.linalg.matrix_transpose(turn), np.tile(np.eye(3), (5, 1, 1)), atol=1e-9)


def test_length_and_lean_of_the_columns_do_not_matter():
    six = tf.constant([[0.3, 0.0, 0.0, 5.0, 2.0, 0.0]], tf.float64)
    np.testing.assert_allclose(rotations.matrix_from_6d(six)[0], np.eye(3), atol=1e-9)


def test_gradient_matches_finite_differences():
    six = np.random.default_rng(3).normal(size=(2, 6))
    exact, numeric = tf.test.compute_gradient(rotations.matrix_from_6d, [tf.constant(six)], delta=1e-6)
    np.testing.assert_allclose(exact[0], numeric[0], atol=1e-7)


@pytest.mark.parametrize("six", [[0.0] * 6, [1.0, 0.0, 0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
def test_values_and_gradients_stay_finite_where_columns_vanish_or_agree(six):
    six = tf.constant([six])
    with tf.GradientTape() as tape:
        tape.watch(six)
        turn = rotations.matrix_from_6d(six)
        total = tf.reduce_sum(tf.square(turn))
    assert np.all(np.isfinite(turn)) and np.all(np.isfinite(tape.gradient(total, six)))


def test_compose_and_rotate_equal_matrix_products():
    a, b = random_rotations(4), random_rotations(5)
    points = tf.constant(np.random.default_rng(6).normal(size=(5, 3)))
    planes = tf.transpose(a, [1, 2, 0])
    composed = rotations.compose(planes, tf.transpose(b, [1, 2, 0]))
    np.testing.assert_allclose(tf.transpose(composed, [2, 0, 1]), a @ b, atol=1e-12)
    rotated = rotations.rotate(planes, tf.transpose(points))
    np.testing.assert_allclose(tf.transpose(rotated), (a @ points[..., None])[..., 0], atol=1e-12)


def test_planes_hold_each_entry_of_all_joints():
    matrices = tf.reshape(tf.range(2 * 4 * 9), [2, 4, 3, 3])
    planes = rotations.planes_from_matrix(matrices)
    np.testing.assert_array_equal(planes, np.transpose(matrices, [2, 3, 0, 1]))
    np.testing.assert_array_equal(rotations.points_from_planes(planes[1]), matrices[:, :, 1])


def test_mirror_is_a_conjugation_with_the_flip_of_x():
    turn, flip = random_rotations(7), np.diag([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(rotations.mirrored(turn), flip @ turn.numpy() @ flip, atol=1e-12)


@pytest.mark.parametrize("angle", [-3.0, -1.0, 0.0, 0.4, 3.0])
def test_half_twist_of_a_pure_twist_is_half_its_angle(angle):
    axis = np.array([0.6, 0.0, 0.8])
    turn = rotations.about_axis(tf.constant(axis), tf.constant(np.cos(angle)), tf.constant(np.sin(angle)))
    half = rotations.half_twist(turn, tf.constant(axis))
    np.testing.assert_allclose(half @ half, turn, atol=1e-4)
    back = rotations.half_twist(turn, tf.constant(axis), -1.0)
    np.testing.assert_allclose(half @ back, np.eye(3), atol=1e-9)


def test_half_twist_ignores_a_swing():
    swing = rotations.about_axis(tf.constant([0.0, 1.0, 0.0]), tf.constant(0.0), tf.constant(1.0))
    np.testing.assert_allclose(rotations.half_twist(swing, tf.constant([1.0, 0.0, 0.0])), np.eye(3), atol=1e-5)


def test_half_twist_gradient_is_finite_at_half_a_turn():
    turn = tf.linalg.diag(tf.constant([1.0, -1.0, -1.0]))
    with tf.GradientTape() as tape:
        tape.watch(turn)
        total = tf.reduce_sum(rotations.half_twist(turn, tf.constant([1.0, 0.0, 0.0])))
    assert np.all(np.isfinite(tape.gradient(total, turn)))


def test_safe_norm_has_a_zero_gradient_at_zero():
    x = tf.zeros([2, 3])
    with tf.GradientTape() as tape:
        tape.watch(x)
        norm = numerics.safe_norm(x)
    np.testing.assert_allclose(norm, 0.0, atol=2e-6)
    np.testing.assert_array_equal(tape.gradient(norm, x), 0.0)
    np.testing.assert_allclose(numerics.safe_norm(tf.constant([3.0, 4.0])), 5.0, rtol=1e-6)
