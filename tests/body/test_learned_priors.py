"""Learned priors of a body file: arrays to arguments and back."""

import numpy as np

from hund_tf.body import learned_priors


def layers(rng, *sizes):
    return [(rng.normal(size=(width, out)), rng.normal(size=out)) for width, out in zip(sizes[:-1], sizes[1:])]


def same(found, expected):
    for (w, b), (expected_w, expected_b) in zip(found, expected):
        np.testing.assert_allclose(w, expected_w, rtol=2e-3)  # weights are kept in float16
        np.testing.assert_allclose(b, expected_b, rtol=1e-6)


def test_flows_survive_the_round_trip():
    rng = np.random.default_rng(0)
    orders, networks = {}, {}
    arrays = {}
    for kind, size in (("body", 6), ("hand", 4)):
        orders[kind] = np.stack([rng.permutation(size) for _ in range(3)])
        networks[kind] = [layers(rng, size // 2, 7, size) for _ in range(3)]
        arrays.update(learned_priors.pose_flow_arrays(kind, orders[kind], networks[kind]))
    flows = learned_priors.read_pose_flows(arrays, ("body", "left_hand", "right_hand"))
    for part, kind in (("body", "body"), ("left_hand", "hand"), ("right_hand", "hand")):
        np.testing.assert_array_equal(flows[part][0], orders[kind])
        for found, expected in zip(flows[part][1], networks[kind]):
            same(found, expected)


def test_vaes_survive_the_round_trip():
    rng = np.random.default_rng(1)
    fitted = {name: (layers(rng, 5, 6, 4), layers(rng, 2, 6, 5), rng.normal(size=(5, 2)), rng.normal(size=(2, 5)))
              for name in learned_priors.VAES}
    arrays = {key: value for name in fitted for key, value in learned_priors.vae_arrays(name, fitted[name]).items()}
    vaes = learned_priors.read_vaes(arrays, {"shape": 5, "expression": 5})
    for name, (encoder, decoder, *skips) in fitted.items():
        same(vaes[name][0], encoder)
        same(vaes[name][1], decoder)
        for found, expected in zip(vaes[name][2:], skips):
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_file_without_any_has_none():
    assert learned_priors.read_pose_flows({}, ("body",)) == {} and learned_priors.read_vaes({}, {}) == {}
