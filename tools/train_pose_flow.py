"""Fits the coupling layers of a pose prior by maximum likelihood: 6D rotations in, orders and weights out."""

import numpy as np
import tensorflow as tf

from hund_tf.body import pose_flow

NOISE = 0.03  # spread added to every 6D number: rotations fill no volume of 6D space, a density needs one
COUPLINGS = 8
HIDDEN = 96
BATCH = 512


def fit(affine, samples, steps, rng, report=None):
    """Trains couplings on the codes of `affine`.

    Args:
        affine: `AffinePoseFlow`.
        samples: `[N, D]`, 6D rotations to learn from.
        steps: int.
        rng: `np.random.Generator`.
        report: optional callable `(step, PoseFlow)`, called ten times.

    Returns:
        `(orders [C, D], networks)` as `PoseFlow` takes them, NumPy.
    """
    kept, changed = affine.dim // 2, affine.dim - affine.dim // 2
    orders = np.stack([rng.permutation(affine.dim) for _ in range(COUPLINGS)]).astype(np.int32)
    networks = [_new_network((kept, HIDDEN, HIDDEN, 2 * changed), rng) for _ in range(COUPLINGS)]
    variables = [v for network in networks for layer in network for v in layer]
    rate = tf.keras.optimizers.schedules.CosineDecay(1e-3, steps)
    optimizer = tf.keras.optimizers.AdamW(rate, weight_decay=1e-3, clipnorm=5.0)
    average = [tf.Variable(v) for v in variables]

    @tf.function(jit_compile=True)
    def gradients(rotations6d):
        with tf.GradientTape() as tape:
            white = affine.inverse(rotations6d)
            chain = pose_flow.couplings(orders, networks)
            density = pose_flow.standard_normal_log_prob(chain.inverse(white))
            loss = -tf.reduce_mean(density + chain.inverse_log_det_jacobian(white, event_ndims=1))
        return tape.gradient(loss, variables)

    @tf.function
    def step(rotations6d):
        optimizer.apply_gradients(zip(gradients(rotations6d), variables))
        for mean, v in zip(average, variables):
            mean.assign_sub((mean - v) * 0.002)

    for number in range(steps):
        drawn = samples[rng.integers(0, len(samples), BATCH)] + rng.normal(0, NOISE, (BATCH, affine.dim))
        step(drawn.astype(np.float32))
        if report and (number + 1) % max(steps // 10, 1) == 0:
            report(number + 1, pose_flow.PoseFlow(affine, orders, _values(average, len(networks[0]))))
    return orders, _values(average, len(networks[0]))


def _new_network(sizes, rng):
    """Weights and biases as variables; the last layer starts at 0, so that the flow starts as its affine part."""
    layers = []
    for i, (width, out) in enumerate(zip(sizes[:-1], sizes[1:])):
        spread = 0.0 if i == len(sizes) - 2 else np.sqrt(2 / width)
        layers.append((tf.Variable(rng.normal(0, 1, (width, out)) * spread, dtype=tf.float32), tf.Variable(tf.zeros([out]))))
    return layers


def _values(flat, depth):
    pairs = [(flat[i].numpy(), flat[i + 1].numpy()) for i in range(0, len(flat), 2)]
    return [pairs[i:i + depth] for i in range(0, len(pairs), depth)]
