"""The packed state of the body network: inverse, hand value, independence of the lens."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.state import FACING_ROTATION, BodyStateCodec

CODEC = BodyStateCodec()
INTRINSICS = tf.constant([[900.0, 900.0, 100.0, 300.0], [3000.0, 2500.0, -900.0, 240.0]])


@pytest.mark.parametrize("seed", [0, 1])
def test_pack_inverts_unpack(seed):
    packed = CODEC.initial(2) + tf.constant(np.random.default_rng(seed).normal(0, 0.3, (2, CODEC.size)), tf.float32)
    state = CODEC.unpack(packed, INTRINSICS, 480)
    np.testing.assert_allclose(CODEC.pack(state, INTRINSICS, 480), packed, atol=2e-4)


def test_mean_state_fills_a_centred_crop():
    state = CODEC.unpack(CODEC.initial(1), tf.constant([[960.0, 960.0, 240.0, 240.0]]), 480)
    np.testing.assert_allclose(state.translation[0], [0.0, 0.0, 2.0 * 1.7], atol=1e-6)
    np.testing.assert_allclose(state.rotation[0], FACING_ROTATION, atol=1e-6)
    assert state.theta.shape == (1, 306)


def test_longer_lens_moves_the_person_away_and_no_more():
    near, far = (CODEC.unpack(CODEC.initial(1), tf.constant([[f, f, 240.0, 240.0]]), 480) for f in (500.0, 1000.0))
    np.testing.assert_allclose(far.translation, 2 * near.translation, atol=1e-5)
    np.testing.assert_allclose(far.rotation, near.rotation, atol=1e-6)
