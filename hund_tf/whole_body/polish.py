"""Packed states and their loss in, states with a lower loss out: a few steps of Adam, each row for itself."""

import tensorflow as tf

_RATE = 0.05  # of the first step, in units of `scale`; it falls to 0
_DECAY, _SQUARE_DECAY, _LEAST = 0.8, 0.9, 1e-2


def polish(loss, packed, scale, steps):
    """Follows each row down its loss.

    Args:
        loss: callable `[B, S]` -> `[B]`; each row's loss depends on that row alone.
        packed: `[B, S]`, float32.
        scale: `[S]`, length of a natural step of each unknown.
        steps: int, at least 0.

    Returns:
        `[B, S]`.

    Source: Kingma and Ba, Adam, ICLR 2015, with other decays: so few steps need a short memory.
    """
    def step(i, packed, mean, square):
        with tf.GradientTape() as tape:
            tape.watch(packed)
            value = loss(packed)
        slope = tape.gradient(value, packed) * scale
        mean = _DECAY * mean + (1.0 - _DECAY) * slope
        square = _SQUARE_DECAY * square + (1.0 - _SQUARE_DECAY) * tf.square(slope)
        count = tf.cast(i + 1, tf.float32)
        way = mean / (1.0 - _DECAY**count) / (tf.sqrt(square / (1.0 - _SQUARE_DECAY**count)) + _LEAST)
        return i + 1, packed - _RATE * (1.0 - tf.cast(i, tf.float32) / steps) * scale * way, mean, square

    zeros = tf.zeros_like(packed)
    return tf.while_loop(lambda i, *_: i < steps, step, [0, packed, zeros, zeros], parallel_iterations=1)[1]
