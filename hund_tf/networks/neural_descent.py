"""M stages of one shared descent cell: the first state in, every state on the way down out."""

from typing import NamedTuple

import keras
import tensorflow as tf


class Descent(NamedTuple):
    """The course of one descent; the first entry of each list belongs to s_0.

    Attributes:
        states: M + 1 tensors `[B, S]`, packed.
        reports: M + 1 reports of the objective, with `loss` `[B]` and `feedback` `[B, L]`.
        memories: M + 1 pairs of `[B, U]`, LSTM hidden and carry.
    """

    states: list
    reports: list
    memories: list

    @property
    def losses(self):
        """`[M + 1, B]`, the objective at every state."""
        return tf.stack([report.loss for report in self.reports])


@keras.saving.register_keras_serializable("hund_tf")
class NeuralDescent(keras.layers.Layer):
    """Unrolls a descent cell over M stages, computing the objective between them.

    The objective is given, so this layer knows no body and no camera. The same call runs in training
    and in use: no gradient of the objective is ever taken here.

    Args:
        cell: `DescentCell`.
        objective: callable `(state [B, S], evidence) -> report`, a tuple with `loss` `[B]` and `feedback`
            `[B, L]`.
        num_stages: int, M. Defaults to `5`.

    Call arguments:
        state: `[B, S]`, s_0.
        context: `[B, D]`.
        evidence: what the objective compares the state with.
        num_stages: int, overrides the constructor's.

    Returns:
        `Descent`.

    Raises:
        ValueError: if `num_stages` is negative.

    Source: Zanfir et al., CVPR 2021, Sec. 2.2, Eq. 2.
    """

    def __init__(self, cell, objective, num_stages=5, **kwargs):
        super().__init__(autocast=False, **kwargs)  # states and losses stay float32 under any policy
        self.cell, self.objective = cell, objective
        self.num_stages = _checked(num_stages)

    def call(self, state, context, evidence, num_stages=None):
        stages = self.num_stages if num_stages is None else _checked(num_stages)
        states, memories = [state], [self.cell.initial_memory(tf.shape(state)[0])]
        reports = [self.objective(state, evidence)]
        for _ in range(stages):
            state, memory = self.cell(states[-1], memories[-1], reports[-1].feedback, context)
            states.append(state)
            memories.append(memory)
            reports.append(self.objective(state, evidence))
        return Descent(states, reports, memories)

    def get_config(self):
        return {**super().get_config(), "cell": self.cell, "objective": self.objective,
                "num_stages": self.num_stages}


def _checked(num_stages):
    if num_stages < 0:
        raise ValueError(f"`num_stages` must not be negative. Received: {num_stages}.")
    return num_stages
