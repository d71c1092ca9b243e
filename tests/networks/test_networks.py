"""Parameter counts of the paper, and descent on an objective that needs no body."""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.networks.context_encoder import ContextEncoder, EvidenceSummary
from hund_tf.networks.descent_cell import DescentCell
from hund_tf.networks.neural_descent import NeuralDescent
from hund_tf.state import BodyStateCodec

S = BodyStateCodec.size


class Report(NamedTuple):
    loss: tf.Tensor
    feedback: tf.Tensor


def quadratic(state, target):
    loss = tf.reduce_sum(tf.square(state - target), -1)
    return Report(loss, tf.concat([loss[:, None], target - state], -1))


def summary(batch=2):
    shapes = ((15, 15, 256), (30, 30, 152), (31, 2), (31,), (25, 3), (25,), (60, 60, 15))
    rng = np.random.default_rng(0)
    return EvidenceSummary(*(tf.constant(rng.random((batch, *s)), tf.float32) for s in shapes),
                           intrinsics=tf.fill([batch, 4], 480.0))


def test_parameter_counts_of_the_paper():
    encoder, cell = ContextEncoder(S), DescentCell(S)
    context, state = encoder(summary(), BodyStateCodec().initial(2))
    cell(state, cell.initial_memory(2), tf.zeros([2, 67]), context)
    assert cell.lstm.count_params() == 525_312
    assert abs(encoder.count_params() + cell.count_params() - 950_000) < 0.02 * 950_000


def test_descent_returns_every_stage():
    descent = NeuralDescent(DescentCell(3), quadratic, num_stages=4)
    course = descent(tf.zeros([2, 3]), tf.zeros([2, 5]), tf.ones([2, 3]))
    assert len(course.states) == len(course.reports) == 5
    assert course.states[-1].shape == (2, 3) and course.losses.shape == (5, 2)
    np.testing.assert_array_equal(course.losses[1], course.reports[1].loss)
    assert len(course.memories) == 5 and all(part.shape == (2, 256) for part in course.memories[-1])
    assert np.all(course.memories[0][0] == 0) and np.any(course.memories[1][0] != course.memories[4][0])
    assert len(descent(tf.zeros([2, 3]), tf.zeros([2, 5]), tf.ones([2, 3]), num_stages=2).states) == 3


def test_stages_share_one_cell():
    descent = NeuralDescent(DescentCell(3), quadratic)
    descent(tf.zeros([1, 3]), tf.zeros([1, 5]), tf.ones([1, 3]), num_stages=1)
    before = len(descent.trainable_variables)
    descent(tf.zeros([1, 3]), tf.zeros([1, 5]), tf.ones([1, 3]), num_stages=7)
    assert len(descent.trainable_variables) == before


@pytest.mark.slow
def test_descent_learns_to_minimise():
    tf.random.set_seed(0)
    descent = NeuralDescent(DescentCell(3, units=16), quadratic, num_stages=5)
    optimizer = tf.keras.optimizers.Adam(1e-2)

    @tf.function
    def step():
        target = tf.random.normal([32, 3])
        with tf.GradientTape() as tape:
            course = descent(tf.zeros([32, 3]), tf.zeros([32, 1]), target)
            loss = tf.add_n([tf.reduce_mean(r.loss) for r in course.reports[1:]])
        optimizer.minimize(loss, descent.trainable_variables, tape)
        return tf.reduce_mean(course.reports[0].loss), tf.reduce_mean(course.reports[-1].loss)

    for _ in range(200):
        first, last = step()
    assert last < 0.2 * first


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_states_stay_float32_under_mixed_precision(policy):
    encoder, cell = ContextEncoder(S, dtype=policy), DescentCell(S, dtype=policy)
    context, state = encoder(summary(), BodyStateCodec().initial(2))
    descent = NeuralDescent(cell, quadratic, num_stages=2)(state, context, tf.zeros([2, S]))
    assert context.dtype == state.dtype == descent.states[-1].dtype == descent.losses.dtype == tf.float32
    assert encoder.dense.compute_dtype == cell.lstm.compute_dtype == policy[6:]
    assert np.all(np.isfinite(descent.states[-1]))
    plain = ContextEncoder(S)
    plain(summary(), BodyStateCodec().initial(2))
    plain.set_weights(encoder.get_weights())
    _, expected = plain(summary(), BodyStateCodec().initial(2))
    np.testing.assert_allclose(state, expected, atol=0.05)
    assert ContextEncoder.from_config(encoder.get_config()).dense.compute_dtype == policy[6:]


@pytest.mark.parametrize("build, words", [
    (lambda: DescentCell(0), "`state_dim` and `units` must be positive. Received: 0, 256."),
    (lambda: ContextEncoder(3, -1), "`state_dim` and `context_dim` must be positive. Received: 3, -1."),
    (lambda: NeuralDescent(DescentCell(3), quadratic, -1), "`num_stages` must not be negative. Received: -1.")])
def test_bad_settings_are_refused(build, words):
    with pytest.raises(ValueError) as error:
        build()
    assert words in str(error.value)
