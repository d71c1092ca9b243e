"""Shape and expression codes: by hand, both ways, and their errors."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.body.code_vae import CodeVAE, LinearCodes
from hund_tf.body.generative_body import GenerativeBody


@pytest.fixture(scope="module")
def body():
    return GenerativeBody.from_asset()


def silu(x):
    return x / (1 + np.exp(-x))


def small_vae():
    """One code, two components, one hidden unit each way."""
    encoder = [(np.array([[1.0], [0.0]]), np.zeros(1)), (np.array([[0.5, 2.0]]), np.array([0.0, -1.0]))]
    decoder = [(np.array([[2.0]]), np.array([1.0])), (np.array([[1.0, -1.0]]), np.array([7.0, 8.0]))]
    return CodeVAE(encoder, decoder, np.array([[0.0], [3.0]]), np.array([[10.0, 0.0]]))


def test_decodes_by_hand():
    # hidden silu(2 z + 1), less that of z = 0; biases of the last layer fall out; and the skip 10 z
    bend = silu(2 * 0.5 + 1) - silu(1.0)
    np.testing.assert_allclose(small_vae().decode(tf.constant([[0.5]])), [[5.0 + bend, -bend]], rtol=1e-6)


def test_encodes_by_hand():
    mean, log_variance = small_vae().encode(tf.constant([[0.4, 0.2]]))
    np.testing.assert_allclose(mean, [[0.5 * silu(0.4) + 3 * 0.2]], rtol=1e-6)
    np.testing.assert_allclose(log_variance, [[2 * silu(0.4) - 1]], rtol=1e-6)


def test_code_zero_is_the_mean_body_and_the_neutral_face(body):
    for codes in (body.shape_codes, body.expression_codes):
        np.testing.assert_array_equal(codes.decode(tf.zeros([1, codes.num_codes])), np.zeros((1, codes.num_components)))


@pytest.mark.parametrize("name, millimetres", [("shape", 3.0), ("expression", 0.2)])
def test_drawn_bodies_and_faces_come_back_through_their_codes(body, name, millimetres):
    vae = getattr(body, name + "_codes")
    drawn = vae.decode(tf.constant(np.random.default_rng(0).normal(size=(50, vae.num_codes)), tf.float32))
    again = vae.decode(vae.encode(drawn)[0])
    moved = np.tensordot(again - drawn, getattr(body._template.meshes["low"], name), 1)
    whole = np.tensordot(drawn, getattr(body._template.meshes["low"], name), 1)
    error, size = (1000 * np.linalg.norm(x, axis=-1).mean() for x in (moved, whole))
    assert error < millimetres and error < 0.3 * size


def test_linear_codes_are_the_first_components():
    codes = LinearCodes(2)
    mean, log_variance = codes.encode(tf.constant([[1.0, 2.0, 3.0]]))
    np.testing.assert_array_equal(mean, [[1.0, 2.0]])
    assert np.all(np.exp(log_variance) == 0)
    np.testing.assert_array_equal(codes.decode(mean), mean)


def test_wrong_sizes_are_refused():
    layer = [(np.zeros((2, 3)), np.zeros(3))]
    with pytest.raises(ValueError, match=r"encoder_skip must be \[2, 1\]"):
        CodeVAE(layer, layer, np.zeros((1, 2)), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="encoder must read 2 numbers and give 2"):
        CodeVAE(layer, layer, np.zeros((2, 1)), np.zeros((1, 2)))
