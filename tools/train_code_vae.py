"""Fits the VAE of shape or expression codes: components of drawn bodies in, encoder, decoder and skip weights out."""

import numpy as np
import tensorflow as tf

from hund_tf.body import code_vae

HIDDEN = 96
BATCH = 1024


def fit(components, scales, codes, spread, steps, rng, report=None):
    """Trains a VAE on components.

    Args:
        components: `[N, P]`, of bodies to learn from.
        scales: `[P]`, metres that a unit of each component moves the mesh (root mean square).
        codes: int, Z.
        spread: float, metres; error of the mesh that the likelihood takes for granted. Smaller: truer bodies, codes further
            from N(0, I).
        steps: int.
        rng: `np.random.Generator`.
        report: optional callable `(step, CodeVAE)`, called ten times.

    Returns:
        `(encoder, decoder, encoder_skip, decoder_skip)` as `CodeVAE` takes them, NumPy.
    """
    components, width, weight = components.astype(np.float32), len(scales), tf.constant(np.square(scales / spread), tf.float32)
    encoder = _new_layers((width, HIDDEN, HIDDEN, 2 * codes), rng)
    encoder[-1][1].assign(np.repeat([0.0, -3.0], codes))
    decoder = _new_layers((codes, HIDDEN, HIDDEN, width), rng)
    decoder_skip = tf.Variable(np.eye(codes, width), dtype=tf.float32)
    encoder_skip = tf.Variable(np.eye(width, codes), dtype=tf.float32)
    variables = [v for layer in encoder + decoder for v in layer] + [encoder_skip, decoder_skip]
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(2e-3, steps), clipnorm=10.0)

    @tf.function(jit_compile=True)
    def gradients(truth, noise):
        with tf.GradientTape() as tape:
            mean, log_variance = tf.split(code_vae.mlp(encoder, truth), 2, axis=-1)
            mean += tf.matmul(truth, encoder_skip)
            drawn = mean + tf.exp(0.5 * log_variance) * noise
            centre = code_vae.mlp(decoder, tf.zeros([1, codes]))
            decoded = tf.matmul(drawn, decoder_skip) + code_vae.mlp(decoder, drawn) - centre
            error = 0.5 * tf.reduce_sum(tf.square(decoded - truth) * weight, -1)
            divergence = 0.5 * tf.reduce_sum(tf.square(mean) + tf.exp(log_variance) - log_variance - 1.0, -1)
            loss = tf.reduce_mean(error + divergence)
        return tape.gradient(loss, variables)

    @tf.function
    def step(truth, noise):
        optimizer.apply_gradients(zip(gradients(truth, noise), variables))

    def values():
        return ([(w.numpy(), b.numpy()) for w, b in encoder], [(w.numpy(), b.numpy()) for w, b in decoder],
                encoder_skip.numpy(), decoder_skip.numpy())

    for number in range(steps):
        step(components[rng.integers(0, len(components), BATCH)], rng.normal(size=(BATCH, codes)).astype(np.float32))
        if report and (number + 1) % max(steps // 10, 1) == 0:
            report(number + 1, code_vae.CodeVAE(*values()))
    return values()


def _new_layers(sizes, rng):
    """Weights and biases as variables; the last layer starts small, so that the VAE starts as its linear part."""
    layers = []
    for i, (width, out) in enumerate(zip(sizes[:-1], sizes[1:])):
        spread = 0.02 if i == len(sizes) - 2 else 1.0
        layers.append((tf.Variable(rng.normal(0, spread / np.sqrt(width), (width, out)), dtype=tf.float32),
                       tf.Variable(tf.zeros([out]))))
    return layers
