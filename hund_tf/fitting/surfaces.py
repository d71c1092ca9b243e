"""Where the vertices of another body lie on ours: its mesh and joints in, a place on our skin for each vertex out.

Our body is laid on the other's rest shape, first by the joints that both have, then by nearest points of the skins, over
and over. The places found there serve for every other pose of that body.
"""

from typing import NamedTuple

import numpy as np

from hund_tf.body import surface
from hund_tf.fitting import points

_ROUNDS = 4  # of nearest points; later ones move vertices by less than a millimetre
_TRIM = 0.95  # share of the pairs, the nearest, that count: eyeballs and the inside of a mouth have no partner
_PAIRS = 2000  # vertices that a round uses


class Registration(NamedTuple):
    """A body laid on another's rest shape.

    Attributes:
        sites: `points.Sites`, a place on our skin for each vertex of the other.
        fit: `points.Fit`, our body on the other's.
        distance_mm: `[V]`, from each vertex to our skin there.
    """

    sites: points.Sites
    fit: points.Fit
    distance_mm: np.ndarray


def register(fitter, vertices, joints, joint_sites, rounds=_ROUNDS, iterations=60):
    """Finds the places of a body's vertices.

    Args:
        fitter: `points.PointFitter` with a mesh; with `hands` fingers follow too.
        vertices: `[V, 3]`, of the other body, metres, any pose that its joints describe.
        joints: `[P, 3]`, some of its joints in that pose; NaN where unknown.
        joint_sites: `points.Sites` of P places, the same joints on our body.
        rounds: int, how often nearest points are sought.
        iterations: int, of each fit.

    Returns:
        `Registration`.

    Raises:
        ValueError: if the fitter has no mesh or a shape is another one.
    """
    if fitter.mesh is None:
        raise ValueError("`fitter` must have a mesh, 'full' or 'low'. Received: one without.")
    vertices = np.asarray(vertices, np.float64)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"`vertices` must be [V, 3]. Received: {vertices.shape}.")
    fit = fitter.fit(np.asarray(joints, np.float64)[None], joint_sites, iterations)
    some = np.random.default_rng(0).permutation(len(vertices))[:_PAIRS]
    for _ in range(rounds):
        sites, distance = _nearest(fitter, fit.state, vertices[some])
        targets = np.where((distance <= np.quantile(distance, _TRIM))[:, None], vertices[some], np.nan)
        fit = fitter.fit(targets[None], sites, iterations, start=fit.state)
    sites, distance = _nearest(fitter, fit.state, vertices)
    return Registration(sites, fit, 1000 * distance)


def surface_sites(body, corners, weights):
    """`points.Sites` of places on a mesh, from vertex numbers and weights `[P, 3]`."""
    first = len(body.joint_names) + len(body.keypoint_names)
    return points.Sites((np.asarray(corners) + first).astype(np.int32), np.asarray(weights, np.float32))


def _nearest(fitter, state, vertices):
    """The skin's points nearest to the vertices: `Sites` and distances `[V]`, metres."""
    own = fitter.body(state, mesh=fitter.mesh).vertices[0].numpy().astype(np.float64)
    corners, weights = surface.nearest_points(vertices, own, fitter.body.faces(fitter.mesh))
    found = (own[corners] * weights[..., None]).sum(1)
    return surface_sites(fitter.body, corners, weights), np.linalg.norm(found - vertices, axis=1)
