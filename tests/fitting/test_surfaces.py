"""Meshes: noise is averaged away, and another topology finds its places and its pose."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.body import surface
from hund_tf.fitting import points, surfaces
from hund_tf.state import ModelState


def state_of(theta, shape, translation):
    upright = np.tile([1.0, 0, 0, 0, 1, 0], [len(theta), 1])
    parts = (theta, shape, np.zeros([len(theta), 20]), upright, translation)
    return ModelState(*(tf.constant(x, tf.float32) for x in parts))


def random_state(rng, spread):
    theta = np.concatenate([rng.normal(0, spread, (1, 126)), np.zeros([1, 180])], 1)
    return state_of(theta, rng.normal(0, 0.7, (1, 16)), rng.normal(size=(1, 3)))


def test_a_noisy_mesh_is_met_below_its_noise(body, fitter):
    rng = np.random.default_rng(0)
    true = body(random_state(rng, 0.7), mesh="low").vertices.numpy()
    numbers = np.arange(0, true.shape[1])[:, None]
    noise = rng.normal(0, 0.005, true.shape)  # 5 mm each way, 8 mm in space
    fit = fitter.fit(true + noise, surfaces.surface_sites(body, numbers, np.ones(numbers.shape)), iterations=40)
    assert np.linalg.norm(fit.points - true, axis=-1).mean() < 0.005
    assert 6 < fit.residual_mm[0] < 10


def test_another_topology_finds_its_places(body, fitter):
    """Points strewn over the skin of one shape are known again when that body takes another pose."""
    rng = np.random.default_rng(1)
    rest, posed = random_state(rng, 0.0), random_state(rng, 0.7)
    posed = posed._replace(shape=rest.shape)
    faces = body.faces("full")
    bodies = [body(state, mesh="full") for state in (rest, posed)]
    strewn = surface.sample(bodies[0].vertices[0].numpy(), faces, 600)
    corners, weights = surface.nearest_points(strewn, bodies[0].vertices[0].numpy().astype(float), faces)
    moved = surface.mix(bodies[1].vertices[0].numpy(), corners, weights)
    joint_sites = points.sites_of_weights(np.eye(22, 200))
    found = surfaces.register(fitter, strewn, bodies[0].joints[0, :22].numpy(), joint_sites, rounds=1, iterations=20)
    assert np.median(found.distance_mm) < 4  # the low mesh is coarser than the full one
    fit = fitter.fit(moved[None], found.sites, iterations=40)
    own = body(fit.state, mesh=None).joints[0, :22]
    assert fit.residual_mm[0] < 8
    assert np.linalg.norm(own - bodies[1].joints[0, :22], axis=-1).mean() < 0.01


def test_register_is_checked(body, fitter):
    sites = points.sites_of_weights(np.eye(3, 200))
    with pytest.raises(ValueError, match="must have a mesh"):
        surfaces.register(points.PointFitter(body), np.zeros([4, 3]), np.zeros([3, 3]), sites)
    with pytest.raises(ValueError, match=r"must be \[V, 3\]"):
        surfaces.register(fitter, np.zeros([1, 4, 3]), np.zeros([3, 3]), sites)
