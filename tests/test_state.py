"""The packed state of the body network: inverse, hand value, independence of the lens."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.geometry.rotations import matrix_from_6d, matrix_to_6d
from hund_tf.state import FACING_ROTATION, BodyStateCodec

CODEC = BodyStateCodec()
INTRINSICS = tf.constant([[900.0, 900.0, 100.0, 300.0], [3000.0, 2500.0, -900.0, 240.0]])


@pytest.mark.parametrize("seed", [0, 1])
def test_pack_inverts_unpack(seed):
    packed = CODEC.initial(2) + tf.constant(np.random.default_rng(seed).normal(0, 0.3, (2, CODEC.size)), tf.float32)
    state = CODEC.unpack(packed, INTRINSICS, 480)
    again = CODEC.pack(state, INTRINSICS, 480).numpy()
    rotation = slice(142, 148)
    np.testing.assert_allclose(np.delete(again, rotation, 1), np.delete(packed, rotation, 1), atol=2e-4)
    np.testing.assert_allclose(again[:, rotation], matrix_to_6d(matrix_from_6d(packed[:, rotation])), atol=1e-5)


def test_rotation_is_two_columns_of_a_rotation():
    packed = CODEC.initial(2) + tf.constant(np.random.default_rng(2).normal(0, 2, (2, CODEC.size)), tf.float32)
    first, second = np.split(CODEC.unpack(packed, INTRINSICS, 480).rotation.numpy(), 2, axis=1)
    np.testing.assert_allclose([np.sum(first * first, 1), np.sum(second * second, 1)], 1, atol=1e-5)
    np.testing.assert_allclose(np.sum(first * second, 1), 0, atol=1e-5)


def test_mean_state_fills_a_centred_crop():
    state = CODEC.unpack(CODEC.initial(1), tf.constant([[960.0, 960.0, 240.0, 240.0]]), 480)
    np.testing.assert_allclose(state.translation[0], [0.0, 0.0, 2.0 * 1.7], atol=1e-6)
    np.testing.assert_allclose(state.rotation[0], FACING_ROTATION, atol=1e-6)
    assert state.theta.shape == (1, 306)


def test_longer_lens_moves_the_person_away_and_no_more():
    near, far = (CODEC.unpack(CODEC.initial(1), tf.constant([[f, f, 240.0, 240.0]]), 480) for f in (500.0, 1000.0))
    np.testing.assert_allclose(far.translation, 2 * near.translation, atol=1e-5)
    np.testing.assert_allclose(far.rotation, near.rotation, atol=1e-6)
