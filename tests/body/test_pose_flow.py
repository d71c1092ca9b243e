"""Pose priors: by hand, both ways, their density against the Jacobian, and their errors."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.body import template
from hund_tf.body.generative_body import GenerativeBody
from hund_tf.body.pose_flow import MAX_LOG_SCALE, AffinePoseFlow, PoseFlow


def small_flow(seed=0, dim=5, couplings=3, hidden=8, strength=0.5):
    rng = np.random.default_rng(seed)
    affine = AffinePoseFlow(rng.normal(size=dim), np.eye(dim) + 0.2 * rng.normal(size=(dim, dim)))
    kept, changed = dim // 2, dim - dim // 2
    networks = [[(strength * rng.normal(size=shape), strength * rng.normal(size=shape[1]))
                 for shape in ((kept, hidden), (hidden, 2 * changed))] for _ in range(couplings)]
    return PoseFlow(affine, np.stack([rng.permutation(dim) for _ in range(couplings)]), networks)


@pytest.fixture(scope="module")
def flows():
    body = GenerativeBody.from_asset()
    return {"body": body.pose_flow_body, "left_hand": body.pose_flow_left_hand, "right_hand": body.pose_flow_right_hand}


def codes(dim, count=50, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def test_affine_by_hand():
    flow = AffinePoseFlow([1.0, 2.0], [[2.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(flow.forward(tf.constant([[1.0, 3.0]])), [[1 + 2 + 3, 2 + 3]])
    # density of the mean: a standard normal at 0, less the logarithm of the volume factor 2
    np.testing.assert_allclose(flow.log_prob(tf.constant([[1.0, 2.0]])), [-np.log(2 * np.pi) - np.log(2)], rtol=1e-6)


def test_one_coupling_by_hand():
    # Two numbers: the first is kept, the second is scaled by exp(tanh-limited 0.4 x) and shifted by 3 x; then they swap.
    flow = PoseFlow(AffinePoseFlow([0.0, 0.0], np.eye(2)), [[1, 0]], [[(np.array([[3.0, 0.4]]), np.zeros(2))]])
    scale = np.exp(MAX_LOG_SCALE * np.tanh(0.4 * 2.0 / MAX_LOG_SCALE))
    # codes -> rotations: the chain's last bijector comes first, so the numbers swap, then the coupling acts
    np.testing.assert_allclose(flow.forward(tf.constant([[5.0, 2.0]])), [[2.0, 5.0 * scale + 6.0]], rtol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_log_density_has_the_volume_of_the_jacobian(seed):
    flow = small_flow(seed)
    theta = tf.constant(codes(5, 4, seed))
    with tf.GradientTape() as tape:
        tape.watch(theta)
        rotations = flow.forward(theta)
    jacobian = tape.batch_jacobian(rotations, theta).numpy().astype(np.float64)
    normal = -0.5 * (np.square(theta.numpy()).sum(1) + 5 * np.log(2 * np.pi))
    expected = normal - np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(flow.log_prob(tf.constant(rotations.numpy())), expected, atol=1e-4)


@pytest.mark.slow
def test_packaged_flow_has_the_volume_of_its_jacobian(flows):
    theta = tf.constant(codes(126, 2))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(theta)
        rotations = flows["body"].forward(theta)
    jacobian = tape.batch_jacobian(rotations, theta, experimental_use_pfor=False).numpy().astype(np.float64)
    normal = -0.5 * (np.square(theta.numpy()).sum(1) + 126 * np.log(2 * np.pi))
    expected = normal - np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(flows["body"].log_prob(tf.constant(rotations.numpy())), expected, rtol=1e-4)


@pytest.mark.parametrize("part", template.POSE_PARTS)
def test_packaged_flows_invert_exactly_in_float64(part):
    body = template.load_template(template.find_body())
    flow = PoseFlow(AffinePoseFlow(*body.pose_priors[part], dtype=tf.float64), *body.pose_flows[part])
    theta = codes(flow.dim, 500).astype(np.float64)
    rotations = flow.forward(tf.constant(theta)).numpy()
    np.testing.assert_allclose(flow.inverse(tf.constant(rotations)), theta, atol=1e-8)


@pytest.mark.parametrize("part", template.POSE_PARTS)
def test_packaged_flows_invert(flows, part):
    flow, theta = flows[part], codes(flows[part].dim)
    rotations = flow.forward(tf.constant(theta)).numpy()  # NumPy in between: a bijector remembers its tensors
    np.testing.assert_allclose(flow.inverse(tf.constant(rotations)), theta, atol=1e-4)
    again = flow.forward(tf.constant(flow.inverse(tf.constant(rotations)).numpy()))
    np.testing.assert_allclose(again, rotations, atol=1e-5)


def test_mirrored_hands_have_the_same_codes(flows):
    theta = tf.constant(codes(90, 3))
    mirror = np.tile([1.0, -1.0, -1.0, -1.0, 1.0, 1.0], 15)
    np.testing.assert_allclose(flows["right_hand"].forward(theta), flows["left_hand"].forward(theta) * mirror, atol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_unknown_batch_in_a_graph(compiled):
    flow, theta = small_flow(), tf.constant(codes(5, 3))
    forward = tf.function(flow.forward, input_signature=[tf.TensorSpec([None, 5])], jit_compile=compiled)
    np.testing.assert_allclose(forward(theta), flow.forward(theta), rtol=1e-5)


def test_a_code_far_from_all_poses_stays_finite(flows):
    assert np.all(np.isfinite(flows["body"].forward(tf.fill([1, 126], 100.0))))


def test_wrong_shapes_are_refused():
    affine = AffinePoseFlow(np.zeros(4), np.eye(4))
    network = [(np.zeros((2, 4)), np.zeros(4))]
    with pytest.raises(ValueError, match=r"factor \[D, D\]"):
        AffinePoseFlow(np.zeros(3), np.eye(2))
    with pytest.raises(ValueError, match=r"orders must be \[C, 4\], permutations"):
        PoseFlow(affine, [[0, 1, 2, 2]], [network])
    with pytest.raises(ValueError, match=r"one for each of C networks. Received: \(1, 4\) and 2"):
        PoseFlow(affine, [[0, 1, 2, 3]], [network, network])
    with pytest.raises(ValueError, match="must read 2 and give 4"):
        PoseFlow(affine, [[0, 1, 2, 3]], [[(np.zeros((2, 3)), np.zeros(3))]])
