"""The search against problems whose answers are known, its course, its rows and its rules."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.fitting import lbfgs

CENTRE = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]], np.float32)
SCALES = np.array([1.0, 30.0, 0.2], np.float32)


def bowl(x):
    return tf.reduce_sum(SCALES * tf.square(x - CENTRE), -1)


def valley(x):
    """Rosenbrock's, lowest at (1, 1)."""
    return tf.square(1 - x[:, 0]) + 100 * tf.square(x[:, 1] - tf.square(x[:, 0]))


def distances(x):
    """Sum of distances to two points: kinked at both, flat between them, 2 at best."""
    return tf.norm(x - [1.0, 0.0], axis=-1) + tf.norm(x + [1.0, 0.0], axis=-1)


def test_finds_the_bottom_of_a_bowl_for_each_row():
    found = lbfgs.minimize(bowl, tf.zeros([2, 3]), 30)
    np.testing.assert_allclose(found.position, CENTRE, atol=1e-4)
    np.testing.assert_allclose(found.loss, 0.0, atol=1e-6)
    assert found.stopped.numpy().all() and found.iterations < 30


def test_finds_the_end_of_a_valley_and_rows_do_not_mix():
    starts = tf.constant([[0.4, 0.3], [1.3, 1.5]])
    np.testing.assert_allclose(lbfgs.minimize(valley, starts, 30).position, 1.0, atol=5e-3)
    alone, both = (lbfgs.minimize(valley, x, 4) for x in (starts[1:], starts))
    np.testing.assert_allclose(alone.loss, both.loss[1:], rtol=1e-3, atol=1e-6)


def test_goes_on_past_a_kink():
    found = lbfgs.minimize(distances, tf.constant([[3.0, 2.0], [0.3, -2.0]]), 30)
    np.testing.assert_allclose(found.loss, 2.0, atol=2e-3)


def test_a_row_whose_line_search_fails_begins_anew():
    """Sums of distances with kinks all around: without new beginnings the last row stops at 0.1."""
    rng = np.random.default_rng(0)
    matrices = tf.constant(rng.normal(size=(12, 2, 4)), tf.float32)
    rng.normal(size=(12, 2))
    start = tf.constant(rng.normal(size=(4, 4)) * 2, tf.float32)[3:]

    def loss(x):
        distances = tf.norm(tf.einsum("nij,bj->bni", matrices, x - 1.0), axis=-1)
        return tf.reduce_mean(distances, -1) + 0.1 * tf.abs(x[:, 0] - x[:, 1])

    assert lbfgs.minimize(loss, start, 20).loss[0] < 0.01


def test_scale_changes_the_way_and_not_the_goal():
    found = lbfgs.minimize(bowl, tf.zeros([2, 3]), 8, scale=tf.constant(SCALES**-0.5))
    np.testing.assert_allclose(found.position, CENTRE, atol=1e-4)  # a round bowl: two iterations would do
    assert found.evaluations < lbfgs.minimize(bowl, tf.zeros([2, 3]), 8).evaluations


@pytest.mark.parametrize("iterations", [0, 6])
def test_course_ends_where_the_search_does(iterations):
    starts = tf.constant([[-1.2, 1.0], [2.0, 2.0]])
    course, end = (search(valley, starts, iterations) for search in (lbfgs.trace, lbfgs.minimize))
    assert course.positions.shape == (iterations + 1, 2, 2) and course.losses.shape == (iterations + 1, 2)
    np.testing.assert_array_equal(course.positions[0], starts)
    np.testing.assert_allclose(course.positions[-1], end.position, rtol=1e-6)
    np.testing.assert_allclose(course.losses[-1], end.loss, rtol=1e-6)
    assert course.evaluations[-1] == end.evaluations and end.iterations == iterations
    np.testing.assert_allclose(course.losses[0], valley(starts))
    assert np.all(np.diff(course.losses, axis=0) < 1e-6)


@pytest.mark.slow
def test_same_compiled_with_the_number_of_iterations_as_a_tensor():
    run = tf.function(lambda start, n: lbfgs.minimize(bowl, start, n), jit_compile=True, autograph=False)
    for n in (1, 4):
        plain = lbfgs.minimize(bowl, tf.zeros([2, 3]), n)
        np.testing.assert_allclose(run(tf.zeros([2, 3]), tf.constant(n)).loss, plain.loss, rtol=1e-3)


def test_a_row_that_is_not_finite_stays_and_stops_no_other():
    def loss(x):
        return tf.where(x[:, 0] > 5, np.nan, tf.reduce_sum(tf.square(x), -1))

    found = lbfgs.minimize(loss, tf.constant([[9.0, 1.0], [1.0, 2.0]]), 10)
    np.testing.assert_array_equal(found.position[0], [9.0, 1.0])
    np.testing.assert_allclose(found.position[1], 0.0, atol=1e-4)


def test_an_objective_that_forgets_its_batch_is_fine():
    def forgetful(x):
        return tf.boolean_mask(valley(x), x[:, 0] > -9)

    search = tf.function(lambda: lbfgs.minimize(forgetful, tf.zeros([1, 2]), 2), autograph=False)
    assert search.get_concrete_function().structured_outputs.loss.shape == (1,)


@pytest.mark.parametrize("wrong", [{"correction_pairs": 0}, {"line_search_iterations": 0}, {"tolerance": -1.0}])
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must"):
        lbfgs.SearchSettings(**wrong)
