"""Pose priors: latent pose codes, N(0, I), to 6D numbers of joint rotations and back, exactly, with their density."""

import numpy as np
import tensorflow as tf

MAX_LOG_SCALE = 1.5  # of one coupling: a code that no pose ever had still gives a pose of moderate size


class AffinePoseFlow:
    """`rotations6d = mean + theta @ factor`, a Gaussian of poses.

    Args:
        mean: `[D]`, mean 6D rotations, joints one after the other.
        factor: `[D, D]`, invertible; its rows are the poses' principal changes.
        dtype: of the computation. The way there and back is exact but for rounding: of codes to 1e-4 in float32.

    Raises:
        ValueError: if the shapes do not fit or the factor cannot be inverted.
    """

    def __init__(self, mean, factor, dtype=tf.float32):
        mean, factor = np.asarray(mean, np.float32), np.asarray(factor, np.float32)
        if mean.ndim != 1 or factor.shape != (len(mean), len(mean)):
            raise ValueError(f"mean must be [D] and factor [D, D]. Received: {mean.shape}, {factor.shape}.")
        self.dim = len(mean)
        exact = factor.astype(np.float64)
        if not np.linalg.cond(exact) < 1e7:
            raise ValueError(f"factor must be invertible. Received a condition number of {np.linalg.cond(exact):.3g}.")
        self.dtype = tf.as_dtype(dtype)
        self._log_volume = self.dtype.as_numpy_dtype(np.linalg.slogdet(exact)[1])
        with tf.init_scope():
            self._mean, self._factor, self._inverse = (
                tf.constant(x, self.dtype) for x in (mean, factor, np.linalg.inv(exact)))

    def forward(self, theta):
        """Codes `[B, D]` -> 6D rotations `[B, D]`; not yet orthonormal."""
        return self._mean + tf.matmul(theta, self._factor)

    def inverse(self, rotations6d):
        """6D rotations `[B, D]` -> codes `[B, D]`."""
        return tf.matmul(rotations6d - self._mean, self._inverse)

    def log_prob(self, rotations6d):
        """Log density of 6D rotations `[B, D]` -> `[B]`, in nats."""
        return standard_normal_log_prob(self.inverse(rotations6d)) - self._log_volume


class PoseFlow:
    """A normalizing flow: affine coupling layers on the codes of an `AffinePoseFlow` (RealNVP).

    Each coupling leaves one half of the numbers as they are; a small network reads that half and says how the other
    half is scaled and shifted. Between couplings the numbers change places in a fixed order. Both directions
    are closed forms; the couplings are TensorFlow Probability's `RealNVP`.

    Args:
        affine: `AffinePoseFlow`, the last step from codes to rotations; its dtype is that of the flow.
        orders: int `[C, D]`, a permutation for each of C couplings.
        networks: C lists of `(weights [I, O], bias [O])`, float; the last gives shifts, then log scales before they are
            limited to `MAX_LOG_SCALE`, of the D - D // 2 numbers that change.

    Raises:
        ValueError: if the shapes do not fit or an order is no permutation.

    Source: paper, Sec. 2.1, ref. [46]; Dinh et al., Density Estimation using Real NVP, ICLR 2017.
    """

    def __init__(self, affine, orders, networks):
        orders = np.asarray(orders, np.int32)
        self.dim, self._affine = affine.dim, affine
        _check_couplings(affine.dim, orders, networks)
        with tf.init_scope():
            networks = [[(tf.constant(w, affine.dtype), tf.constant(b, affine.dtype)) for w, b in network]
                        for network in networks]
        self._couplings = couplings(orders, networks)

    def forward(self, theta):
        """Codes `[B, D]` -> 6D rotations `[B, D]`; not yet orthonormal."""
        return self._affine.forward(self._couplings.forward(theta))

    def inverse(self, rotations6d):
        """6D rotations `[B, D]` -> codes `[B, D]`."""
        return self._couplings.inverse(self._affine.inverse(rotations6d))

    def log_prob(self, rotations6d):
        """Log density of 6D rotations `[B, D]` -> `[B]`, in nats."""
        white = self._affine.inverse(rotations6d)
        volume = self._couplings.inverse_log_det_jacobian(white, event_ndims=1)
        density = standard_normal_log_prob(self._couplings.inverse(white))
        return density + volume + self._affine.log_prob(rotations6d) - standard_normal_log_prob(white)


def forward_hands(left, right, theta_left, theta_right):
    """`left.forward` and `right.forward` of flows with the same couplings, which run once for both."""
    if isinstance(left, AffinePoseFlow):
        return left.forward(theta_left), right.forward(theta_right)
    white = tf.split(left._couplings.forward(tf.concat([theta_left, theta_right], axis=0)), 2)
    return left._affine.forward(white[0]), right._affine.forward(white[1])


def couplings(orders, networks):
    """The coupling layers as one bijector; arguments as of `PoseFlow`, weights tensors or variables."""
    from tensorflow_probability import bijectors  # a second to import, needed by bodies with a flow alone

    steps = []
    for order, network in zip(orders, networks):
        steps += [bijectors.RealNVP(num_masked=len(order) // 2, shift_and_log_scale_fn=_shift_and_log_scale(network)),
                  bijectors.Permute(order)]
    return bijectors.Chain(steps)


def standard_normal_log_prob(codes):
    """Log density of N(0, I): `[B, D]` -> `[B]`."""
    return -0.5 * tf.reduce_sum(tf.square(codes) + tf.cast(np.log(2 * np.pi), codes.dtype), axis=-1)


def _shift_and_log_scale(network):
    def read(kept, _, **kwargs):
        for weights, bias in network[:-1]:
            kept = tf.nn.relu(tf.matmul(kept, weights) + bias)
        weights, bias = network[-1]
        shift, log_scale = tf.split(tf.matmul(kept, weights) + bias, 2, axis=-1)
        return shift, MAX_LOG_SCALE * tf.tanh(log_scale / MAX_LOG_SCALE)

    return read


def _check_couplings(dim, orders, networks):
    if orders.ndim != 2 or len(orders) != len(networks) or np.any(np.sort(orders, axis=1) != np.arange(dim)):
        raise ValueError(f"orders must be [C, {dim}], permutations, one for each of C networks. Received: "
                         f"{orders.shape} and {len(networks)} networks.")
    for network in networks:
        sizes = [dim // 2] + [np.shape(bias)[-1] for _, bias in network]
        shapes = [tuple(np.shape(weights)) for weights, _ in network]
        if sizes[-1] != 2 * (dim - dim // 2) or shapes != list(zip(sizes[:-1], sizes[1:])):
            raise ValueError(f"A coupling of {dim} numbers must read {dim // 2} and give {2 * (dim - dim // 2)}, layer upon "
                             f"layer. Received weights: {shapes}.")
