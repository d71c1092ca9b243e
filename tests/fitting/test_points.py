"""Points of known bodies are found again: joints of a set, with gaps, with one shape for all frames."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.fitting import points
from hund_tf.geometry import rotations
from hund_tf.state import ModelState


def known_state(frames, seed=0):
    """One person in frames of their own pose and heading."""
    rng = np.random.default_rng(seed)
    theta = np.concatenate([rng.normal(0, 0.7, (frames, 126)), np.zeros([frames, 180])], 1)
    state = ModelState(theta, np.repeat(rng.normal(0, 0.7, (1, 16)), frames, 0), np.zeros([frames, 20]),
                       rng.normal(size=(frames, 6)), rng.normal(size=(frames, 3)) * 2)
    return ModelState(*(tf.constant(x, tf.float32) for x in state))


@pytest.mark.slow
def test_joints_of_a_person_are_found_again(body, fitter):
    state = known_state(2)
    names, sites = points.sites_of_set(body, "smpl24")
    posed = body(state, mesh=None)
    seen = np.take(np.concatenate([posed.joints, posed.keypoints], 1), sites.corners, axis=1)
    seen = (seen * sites.weights[..., None]).sum(2)
    gaps = seen.copy()
    gaps[0, names.index("left_wrist")] = np.nan
    fit = fitter.fit(gaps, sites, iterations=50)
    assert fit.residual_mm.max() < 4
    distance = 1000 * np.linalg.norm(fit.points - seen, axis=-1)
    assert np.sort(distance.ravel())[-2] < 12 and np.median(distance) < 3  # all but the one that was not given
    np.testing.assert_array_equal(fit.state.shape[0], fit.state.shape[1])
    found = rotations.matrix_from_6d(fit.state.rotation)
    np.testing.assert_allclose(found @ tf.transpose(found, [0, 2, 1]), np.tile(np.eye(3), [2, 1, 1]), atol=1e-5)
    assert np.abs(fit.state.theta[:, 126:]).max() == 0  # fingers were not asked for


def test_sites_are_the_places_their_weights_say(body):
    weights = np.zeros([2, 200], np.float32)
    weights[0, 3], weights[1, [5, 150]] = 1, (0.25, 0.75)
    sites = points.sites_of_weights(weights)
    assert sites.corners.shape == (2, 2) and sites.corners[0, 0] == 3
    np.testing.assert_allclose(sites.weights, [[1, 0], [0.25, 0.75]])
    np.testing.assert_array_equal(sites.corners[1], [5, 150])


def test_points_are_checked(body, fitter):
    _, sites = points.sites_of_set(body, "coco17")
    with pytest.raises(ValueError, match=r"must be \[N, 17, 3\]"):
        fitter.fit(np.zeros([2, 16, 3]), sites)
    gaps = np.zeros([2, 17, 3])
    gaps[1, 2:] = np.nan
    with pytest.raises(ValueError, match="at least 3 known points. Received: 2 in frame 1"):
        fitter.fit(gaps, sites)
