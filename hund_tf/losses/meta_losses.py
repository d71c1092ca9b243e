"""How the losses of the stages make the loss that is learned (Eqs. 7 and 8)."""

import tensorflow as tf


def last(losses):
    """The last stage's loss: `[M, B]` -> `[B]` (Eq. 7)."""
    return losses[-1]


def total(losses):
    """The sum over stages: `[M, B]` -> `[B]` (Eq. 7, 'sum')."""
    return tf.reduce_sum(losses, axis=0)


def lowest(losses):
    """The smallest loss of all stages: `[M, B]` -> `[B]` (Eq. 7, 'min')."""
    return tf.reduce_min(losses, axis=0)


def highest(losses):
    """The largest loss of all stages: `[M, B]` -> `[B]` (Eq. 7, 'max')."""
    return tf.reduce_max(losses, axis=0)


def observable_improvement(losses):
    """What each stage gains over the best before it, never positive: `[M, B]` -> `[B]` (Eq. 8)."""
    losses = tf.unstack(losses, axis=0)
    best, gain = losses[0], tf.zeros_like(losses[0])
    for loss in losses[1:]:
        gain += tf.minimum(loss - best, 0.0)
        best = tf.minimum(best, loss)
    return gain


META_LOSSES = {"sum": total, "last": last, "min": lowest, "max": highest, "oi": observable_improvement}


def by_name(name):
    """The meta-loss called `name`; ValueError lists the names there are."""
    if name not in META_LOSSES:
        raise ValueError(f"`meta_loss` must be one of {sorted(META_LOSSES)}. Received: {name!r}.")
    return META_LOSSES[name]
