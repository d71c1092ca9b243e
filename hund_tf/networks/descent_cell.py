"""One refinement stage of neural descent: state and loss in, better state out."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("hund_tf")
class DescentCell(keras.layers.Layer):
    """Moves the state one stage: `s_i, m_i = RNN_delta(s_{i-1}, m_{i-1}, L_u, s^c)`.

    All stages share one cell, so they share its weights delta. The input is projected to the LSTM's
    width, which gives the 525,312 parameters of the paper's 256-unit LSTM, and the LSTM's output is a step
    added to the state.
    Letters: B batch, S state size, D context size, L size of the loss report, U LSTM units.

    Args:
        state_dim: int, S.
        units: int, U. Defaults to `256`.

    Call arguments:
        state: `[B, S]`, packed.
        memory: pair of `[B, U]`, LSTM hidden and carry.
        loss: `[B, L]`, L_u of `state` (Eq. 3) and the terms it is made of. The paper passes the
            value alone; its terms say which part of the state to mend.
        context: `[B, D]`, image code with the crop intrinsics appended.

    Returns:
        `(state, memory)` one stage later, same shapes.

    Raises:
        ValueError: if `state_dim` or `units` is not positive.

    Source: Zanfir et al., CVPR 2021, Sec. 2.2, Eq. 2.
    """

    def __init__(self, state_dim, units=256, **kwargs):
        super().__init__(autocast=False, **kwargs)  # the state stays float32 under any policy; only the layers obey it
        if state_dim < 1 or units < 1:
            raise ValueError(f"`state_dim` and `units` must be positive. Received: {state_dim}, {units}.")
        self.state_dim, self.units = state_dim, units
        policy = self.dtype_policy
        self.project = keras.layers.Dense(units, activation="swish", name="project", dtype=policy)
        self.lstm = keras.layers.LSTMCell(units, name="lstm", dtype=policy)
        self.to_step = keras.layers.Dense(state_dim, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
                                          name="to_step", dtype=policy)

    def initial_memory(self, batch):
        """Zero memory: pair of `[batch, U]`."""
        return tf.zeros([batch, self.units], self.compute_dtype), tf.zeros([batch, self.units], self.compute_dtype)

    def call(self, state, memory, loss, context):
        x = self.project(tf.concat([context, state, loss], axis=-1))
        output, memory = self.lstm(x, list(memory))
        return state + tf.cast(self.to_step(output), state.dtype), tuple(memory)

    def get_config(self):
        return {**super().get_config(), "state_dim": self.state_dim, "units": self.units}
