"""The baseline puts known points where they are."""

import numpy as np
import pytest

from hund_tf.evaluation import baselines

INTRINSICS = (500.0, 510.0, 320.0, 240.0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_place_finds_the_shift(seed):
    rng = np.random.default_rng(seed)
    points, shift = rng.normal(size=[25, 3]) * 0.4, np.array([0.3, -0.2, 4.0])
    moved = points + shift
    pixels = moved[:, :2] / moved[:, 2:] * INTRINSICS[:2] + INTRINSICS[2:]
    pixels[0] += 1000.0  # no weight, no effect
    weights = np.ones(25)
    weights[0] = 0.0
    np.testing.assert_allclose(baselines.place(points, pixels, weights, INTRINSICS), shift, atol=1e-9)


def test_place_without_any_weight_is_finite():
    assert np.all(np.isfinite(baselines.place(np.zeros([25, 3]), np.zeros([25, 2]), np.zeros(25), INTRINSICS)))
