"""Shape and expression codes: latent codes, N(0, I), to linear components of the mesh and back."""

import numpy as np
import tensorflow as tf


class CodeVAE:
    """A variational auto-encoder over the components of a linear basis.

    The decoder is `components = z @ decoder_skip + mlp(z) - mlp(0)`: code 0 is the mean body or the neutral face. A
    basis turns components into metres, so that a whole mesh costs no more than P linear directions. The encoder's
    mean is `components @ encoder_skip + mlp(components)`.

    Letters: B batch, Z codes, P components.

    Args:
        encoder: list of `(weights, bias)`, P inputs to 2 Z outputs: mean, then log variance.
        decoder: list of `(weights, bias)`, Z inputs to P outputs.
        encoder_skip: `[P, Z]`.
        decoder_skip: `[Z, P]`.

    Raises:
        ValueError: if the sizes do not fit.

    Source: paper, Sec. 2.1; Kingma and Welling, ICLR 2014.
    """

    def __init__(self, encoder, decoder, encoder_skip, decoder_skip):
        codes, components = np.shape(decoder_skip)
        if np.shape(encoder_skip) != (components, codes):
            raise ValueError(f"encoder_skip must be [{components}, {codes}]. Received: {np.shape(encoder_skip)}.")
        _check_layers("encoder", encoder, components, 2 * codes)
        _check_layers("decoder", decoder, codes, components)
        self.num_codes, self.num_components = codes, components
        with tf.init_scope():
            self._encoder, self._decoder = ([(tf.constant(w, tf.float32), tf.constant(b, tf.float32)) for w, b in layers]
                                            for layers in (encoder, decoder))
            self._encoder_skip, self._decoder_skip = (tf.constant(x, tf.float32) for x in (encoder_skip, decoder_skip))
            self._centre = mlp(self._decoder, tf.zeros([1, codes]))

    def decode(self, codes):
        """Codes `[B, Z]` -> components `[B, P]`."""
        return tf.matmul(codes, self._decoder_skip) + mlp(self._decoder, codes) - self._centre

    def encode(self, components):
        """Components `[B, P]` -> mean and log variance of the codes, `[B, Z]` each."""
        mean, log_variance = tf.split(mlp(self._encoder, components), 2, axis=-1)
        return mean + tf.matmul(components, self._encoder_skip), log_variance


class LinearCodes:
    """Codes that are the first components themselves: linear PCA.

    Args:
        num_codes: int.
    """

    def __init__(self, num_codes):
        self.num_codes = self.num_components = num_codes

    def decode(self, codes):
        """`[B, Z]` -> the same."""
        return codes

    def encode(self, components):
        """Components `[B, P]`, P >= Z -> mean `[B, Z]` and log variance, that of a certain code."""
        mean = components[:, :self.num_codes]
        return mean, tf.fill(tf.shape(mean), -np.inf)


def mlp(layers, x):
    """Dense layers with SiLU between them."""
    for weights, bias in layers[:-1]:
        x = tf.nn.silu(tf.matmul(x, weights) + bias)
    weights, bias = layers[-1]
    return tf.matmul(x, weights) + bias


def _check_layers(name, layers, inputs, outputs):
    shapes = [tuple(np.shape(weights)) for weights, _ in layers]
    sizes = [inputs] + [np.shape(bias)[-1] for _, bias in layers]
    if sizes[-1] != outputs or shapes != list(zip(sizes[:-1], sizes[1:])):
        raise ValueError(f"The {name} must read {inputs} numbers and give {outputs}, layer upon layer. Received weights: "
                         f"{shapes}.")
