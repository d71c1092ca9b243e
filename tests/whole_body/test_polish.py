"""Steps down a loss: lower, each row for itself, and none where none are asked for."""

import numpy as np
import tensorflow as tf

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.config import PartConfig
from hund_tf.training import part_evidence, part_scenes
from hund_tf.whole_body.hund_part import HundPart
from hund_tf.whole_body.polish import polish

SCALE = tf.constant([1.0, 1.0, 0.1])


def bowl(packed):
    return tf.reduce_sum(tf.square((packed - [0.2, -0.1, 0.02]) / SCALE), -1)


def test_goes_down_each_row_for_itself():
    start = tf.constant(np.random.default_rng(0).normal(0, 0.3, (5, 3)), tf.float32) * SCALE
    end = tf.function(polish, autograph=False)(bowl, start, SCALE, 20)
    assert np.all(bowl(end) < 0.7 * bowl(start) + 1e-3)
    np.testing.assert_allclose(polish(bowl, start[2:3], SCALE, 20), end[2:3], atol=1e-6)
    np.testing.assert_array_equal(polish(bowl, start, SCALE, 0), start)


def test_where_there_is_no_slope_it_stays():
    start = tf.ones([2, 3])
    np.testing.assert_array_equal(polish(lambda x: tf.reduce_sum(0.0 * x, -1), start, SCALE, 20), start)


def test_a_part_is_polished_after_its_stages():
    body = GenerativeBody.from_asset()
    plain = HundPart(PartConfig("hand", num_stages=2, polish_steps=0), body)
    polished = HundPart(PartConfig("hand", num_stages=2), body)
    for network in (plain, polished):
        network.build_weights()
    polished.set_weights(plain.get_weights())
    rng = np.random.default_rng(1)
    scene = part_scenes.sample_part_scenes(plain.part_shape, rng.normal(0, 0.5, (4, 90)), rng.normal(0, 0.5, (4, 16)), rng)
    evidence, _, _ = part_evidence.detect(plain.part_shape, {k: tf.constant(v) for k, v in scene.items()}, tf.constant([0, 1]))
    state = plain.solve(evidence)
    for value, staged in zip(state, plain(evidence).reports[-1].state):
        np.testing.assert_allclose(value, staged, atol=1e-4)
    losses = [network.objective(network.codec.pack(network.solve(evidence), evidence.intrinsics), evidence).loss
              for network in (plain, polished)]
    assert np.all(losses[1] < losses[0])
