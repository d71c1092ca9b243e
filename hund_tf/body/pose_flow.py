"""Pose prior: latent pose codes, N(0, I), to 6D joint rotations and back, exactly."""

import numpy as np
import tensorflow as tf


class AffinePoseFlow:
    """`rotations6d = mean + theta @ factor`, an invertible Gaussian model of poses.

    Args:
        mean: `[D]`, mean 6D rotations, joints one after the other.
        factor: `[D, D]`, invertible; its rows are the poses' principal changes.

    Raises:
        ValueError: if the shapes do not fit.

    Source: paper, Sec. 2.1; an affine map stands in for its normalizing flow.
    """

    def __init__(self, mean, factor):
        mean, factor = np.asarray(mean, np.float32), np.asarray(factor, np.float32)
        if mean.ndim != 1 or factor.shape != (len(mean), len(mean)):
            raise ValueError(f"mean must be [D] and factor [D, D]. Received: {mean.shape}, {factor.shape}.")
        self.dim = len(mean)
        with tf.init_scope():
            self._mean, self._factor = tf.constant(mean), tf.constant(factor)
            self._inverse = tf.constant(np.linalg.inv(factor.astype(np.float64)).astype(np.float32))

    def forward(self, theta):
        """Codes `[B, D]` -> 6D rotations `[B, D]`; not yet orthonormal."""
        return self._mean + tf.matmul(theta, self._factor)

    def inverse(self, rotations6d):
        """6D rotations `[B, D]` -> codes `[B, D]`."""
        return tf.matmul(rotations6d - self._mean, self._inverse)
