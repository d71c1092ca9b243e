"""The affine pose prior."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.body import template
from hund_tf.body.pose_flow import AffinePoseFlow


def test_by_hand():
    flow = AffinePoseFlow([1.0, 2.0], [[2.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(flow.forward(tf.constant([[1.0, 3.0]])), [[1 + 2 + 3, 2 + 3]])


@pytest.mark.parametrize("part", template.POSE_PARTS)
def test_packaged_priors_invert_exactly(part):
    flow = AffinePoseFlow(*template.load_template(template.find_body()).pose_priors[part])
    theta = np.random.default_rng(0).normal(size=(50, flow.dim)).astype(np.float32)
    np.testing.assert_allclose(flow.inverse(flow.forward(tf.constant(theta))), theta, atol=1e-5)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"factor \[D, D\]"):
        AffinePoseFlow(np.zeros(3), np.eye(2))
