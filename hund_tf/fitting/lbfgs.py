"""L-BFGS on many objectives at once: a loss per row and a start in, the lowest point found, or the whole course, out.

The search is TensorFlow Probability's. Letters: B rows, each its own problem, S unknowns, N iterations.
"""

import dataclasses
from typing import NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """How the search goes; docs/descent.md has what was tried."""

    correction_pairs: int = 10  # steps that the estimate of the curvature remembers
    line_search_iterations: int = 8  # of Hager and Zhang's search along each direction
    tolerance: float = 1e-5  # a row stops where no part of its gradient is larger

    def __post_init__(self):
        for name in ("correction_pairs", "line_search_iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {getattr(self, name)}.")
        if not self.tolerance >= 0:
            raise ValueError(f"`tolerance` must not be negative. Received: {self.tolerance}.")


class Minimum(NamedTuple):
    """Where a search ended.

    Attributes:
        position: `[B, S]`, never with a higher loss than the start.
        loss: `[B]`.
        iterations: int, done; fewer than asked where every row stopped before.
        evaluations: int, of the objective and its gradient, each for all rows.
        stopped: bool `[B]`, rows that found nothing lower, or no slope, before the last iteration.
    """

    position: tf.Tensor
    loss: tf.Tensor
    iterations: tf.Tensor
    evaluations: tf.Tensor
    stopped: tf.Tensor


class Course(NamedTuple):
    """A search, iteration by iteration; the first entry is the start.

    Attributes:
        positions: `[N + 1, B, S]`.
        losses: `[N + 1, B]`.
        evaluations: int `[N + 1]`, so far.
    """

    positions: tf.Tensor
    losses: tf.Tensor
    evaluations: tf.Tensor


def minimize(objective, start, iterations, settings=SearchSettings(), scale=1.0):
    """Follows each row down.

    A row in which the search along a line fails begins anew from where it is, its memory cleared: distances that are not
    squared have kinks, where the curvature that was learned misleads. A row that fails twice running stops.

    Args:
        objective: callable `[B, S]` -> loss `[B]`; each row's loss depends on that row alone.
        start: `[B, S]`, float32.
        iterations: int, or int32 scalar tensor, the most iterations.
        settings: `SearchSettings`.
        scale: number or `[S]`, length of a natural step of each unknown; the search moves in units of it.

    Returns:
        `Minimum`.
    """
    iterations = tf.convert_to_tensor(iterations, tf.int32)
    objective = _with_gradient(objective, scale)
    first = _begin(objective, start, settings, scale)
    last, _ = tf.while_loop(
        lambda state, _: (state.num_iterations < iterations) & tf.reduce_any(~(state.failed | state.converged)),
        lambda state, fresh: _step(objective, state, fresh, settings), (first, _all_fresh(first)),
        parallel_iterations=1)
    better = last.objective_value < first.objective_value
    position = tf.where(better[:, None], last.position * scale, start)
    return Minimum(position, tf.where(better, last.objective_value, first.objective_value), last.num_iterations,
                   last.num_objective_evaluations, last.failed | last.converged)


def trace(objective, start, iterations, settings=SearchSettings(), scale=1.0):
    """The course of `minimize`: the very same search, with each iteration written down.

    Args:
        iterations: int.
        Others as `minimize`.

    Returns:
        `Course`; rows that stopped repeat their last entry.
    """
    objective = _with_gradient(objective, scale)
    first = _begin(objective, start, settings, scale)
    arrays = [tf.TensorArray(dtype, iterations + 1, element_shape=shape) for dtype, shape in (
        (tf.float32, start.shape), (tf.float32, start.shape[:1]), (tf.int32, ()))]

    def note(i, state, arrays):
        entries = (state.position * scale, state.objective_value, state.num_objective_evaluations)
        return [array.write(i, entry) for array, entry in zip(arrays, entries)]

    def step(i, state, fresh, arrays):
        state, fresh = _step(objective, state, fresh, settings)
        return i + 1, state, fresh, note(i + 1, state, arrays)

    done = tf.while_loop(lambda i, *_: i < iterations, step, (0, first, _all_fresh(first), note(0, first, arrays)),
                         parallel_iterations=1)
    return Course(*(array.stack() for array in done[-1]))


def _begin(objective, start, settings, scale):
    """The search before its first iteration; a search of nothing lends its record, so the objective is built once less."""
    start = tf.convert_to_tensor(start, tf.float32) / scale
    state = tfp.optimizer.lbfgs_minimize(
        lambda x: (tf.reduce_sum(x, -1), tf.ones_like(x)), initial_position=start, max_iterations=0,
        num_correction_pairs=settings.correction_pairs)
    loss, gradient = objective(start)
    flat = tf.reduce_max(tf.abs(gradient), axis=-1) <= settings.tolerance
    return state._replace(objective_value=loss, objective_gradient=gradient, converged=flat,
                          failed=~(tf.math.is_finite(loss) & tf.reduce_all(tf.math.is_finite(gradient), axis=-1)))


def _all_fresh(state):
    return tf.ones_like(state.failed)


def _step(objective, state, fresh, settings):
    """One iteration; `fresh` `[B]` marks rows that have no memory of an earlier step."""
    was_going = ~(state.failed | state.converged)
    state = tfp.optimizer.lbfgs_minimize(
        objective, initial_position=None, previous_optimizer_results=state,
        num_correction_pairs=settings.correction_pairs, tolerance=settings.tolerance,
        max_iterations=state.num_iterations + 1, max_line_search_iterations=settings.line_search_iterations)
    again = state.failed & was_going & ~fresh & tf.math.is_finite(state.objective_value)
    # One pair with step = gradient change = gradient makes L-BFGS go straight down the gradient; zeros would make 0 / 0.
    gradient = tf.where(again[:, None], state.objective_gradient, 0.0)
    restarted = tf.concat([tf.zeros_like(state.position_deltas[1:]), gradient[None]], axis=0)
    deltas = [tf.where(again[None, :, None], restarted, old) for old in (state.position_deltas, state.gradient_deltas)]
    state = state._replace(failed=state.failed & ~again, position_deltas=deltas[0], gradient_deltas=deltas[1])
    return state, again


def _with_gradient(objective, scale):
    """Position in units of `scale` -> loss and gradient, as a function of its own: the line search calls it from a dozen
    places, which would each hold a copy of the objective."""
    def loss_and_gradient(x):
        loss, gradient = tfp.math.value_and_gradient(lambda y: objective(y * scale), x)
        return tf.ensure_shape(loss, x.shape[:1]), tf.ensure_shape(gradient, x.shape)  # loops must not lose a known batch

    return tf.function(loss_and_gradient, autograph=False, experimental_attributes={"_noinline": True})
