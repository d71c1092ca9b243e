"""Fits the body to 3D points: places on the body and where they were seen in, a state per frame out.

Letters: N frames, P points, C places that a point is mixed of, J joints, K keypoints, V vertices.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hund_tf.body import keypoints
from hund_tf.fitting import lbfgs
from hund_tf.geometry import rotations
from hund_tf.losses import priors
from hund_tf.state import EXPRESSION, SHAPE, THETA, THETA_BODY, ModelState

_SIZES = (THETA, SHAPE, 6, 3)
_DATA_WEIGHT = 1e4  # per square metre of the mean squared distance: 1 at a centimetre
_PRIOR_WEIGHT = 1e-4  # on ||theta||^2 and ||beta||^2: a typical pose costs as much as a millimetre
_CHUNK = 32  # frames at a time, so that their meshes fit in memory


class Sites(NamedTuple):
    """Places on a body, each a mixture of its joints, keypoints and vertices, numbered in that order.

    Attributes:
        corners: int32 `[P, C]`, below J + K + V.
        weights: float32 `[P, C]`.
    """

    corners: np.ndarray
    weights: np.ndarray


class Fit(NamedTuple):
    """Bodies laid on points; NumPy.

    Attributes:
        state: `ModelState` of `[N, ...]`, in the frame of the points.
        points: `[N, P, 3]`, the places of the fitted bodies.
        residual_mm: `[N]`, mean distance over the points that were given; NaN where none was.
    """

    state: ModelState
    points: np.ndarray
    residual_mm: np.ndarray


def sites_of_set(body, name):
    """The points of a keypoint set: `(names, Sites)`; see `body.keypoints`."""
    names, weights = keypoints.regressor(body, name)
    return names, sites_of_weights(weights)


def sites_of_weights(weights):
    """Rows of weights over joints, keypoints and, if as long, vertices, `[P, M]` -> `Sites`."""
    weights = np.asarray(weights, np.float32)
    count = max(int((weights != 0).sum(1).max()), 1)
    corners = np.argsort(weights == 0, axis=1, kind="stable")[:, :count]
    return Sites(corners.astype(np.int32), np.take_along_axis(weights, corners, 1))


class PointFitter:
    """Lays a body on points, by L-BFGS in stages: placement, then pose, then all; at last one shape for all frames.

    Args:
        body: `GenerativeBody`.
        mesh: "full", "low" or None, what the vertices of `Sites` belong to; without vertices None is several times faster.
        hands: bool, whether fingers move.
        settings: `lbfgs.SearchSettings`.

    Raises:
        ValueError: if points and places do not fit, or a frame has fewer than three points.
    """

    def __init__(self, body, mesh=None, hands=False, settings=lbfgs.SearchSettings()):
        self.body, self.mesh, self.hands, self._settings = body, mesh, hands, settings
        specs = [tf.TensorSpec(shape, kind) for shape, kind in (
            ((None, sum(_SIZES)), tf.float32), ((None, None, 3), tf.float32), ((None, None), tf.float32),
            ((None, None), tf.int32), ((None, None), tf.float32), ((sum(_SIZES),), tf.float32), ((), tf.float32),
            ((), tf.int32))]
        self._descend = tf.function(self._descend_eagerly, autograph=False, input_signature=specs)
        self._place = tf.function(self._points, autograph=False, input_signature=[specs[0], specs[3], specs[4]])

    def fit(self, points, sites, iterations=100, shared_shape=True, start=None):
        """Fits one person.

        Args:
            points: `[N, P, 3]`, metres; NaN where a point is not known.
            sites: `Sites` of P places.
            iterations: int, of the stage that moves all; the others take half as many.
            shared_shape: bool, whether all frames have one shape code.
            start: `ModelState` of N frames, where to begin; the mean body, turned and shifted onto the points, if None.

        Returns:
            `Fit`.
        """
        points = _checked(points, sites)
        known = np.isfinite(points).all(-1)
        if points.shape[0] and known.sum(1).min() < 3:
            raise ValueError(f"Each frame must have at least 3 known points. Received: {known.sum(1).min()} in frame "
                             f"{known.sum(1).argmin()}.")
        points, known = np.where(known[..., None], points, 0.0).astype(np.float32), known.astype(np.float32)
        packed = np.zeros([len(points), sum(_SIZES)], np.float32) if start is None else _pack(start)
        if start is None:
            packed[:, THETA + SHAPE:] = self._first_placement(points, known, sites)
            packed = self._stage(packed, points, known, sites, self._free(shape=False), 10.0, iterations // 2)
        packed = self._stage(packed, points, known, sites, self._free(), 1.0, iterations)
        if shared_shape and len(packed) > 1:
            packed[:, THETA:THETA + SHAPE] = packed[:, THETA:THETA + SHAPE].mean(0)
            packed = self._stage(packed, points, known, sites, self._free(shape=False), 1.0, iterations // 2)
        found = self._each_chunk(self._place, packed, sites=sites)
        distance = np.linalg.norm(found - points, axis=-1) * known
        residual = 1000 * distance.sum(1) / np.where(known.sum(1) > 0, known.sum(1), np.nan)
        return Fit(ModelState(*(x.numpy() for x in _unpack(tf.constant(packed)))), found, residual)

    def _free(self, shape=True):
        """Which unknowns move: `[S]`, 1 or 0."""
        parts = [np.ones(THETA_BODY), np.full(THETA - THETA_BODY, self.hands), np.full(SHAPE, shape), np.ones(9)]
        return np.concatenate(parts).astype(np.float32)

    def _first_placement(self, points, known, sites):
        """Rotation and translation `[N, 9]` that lay the mean body on the points, least squares."""
        upright = np.zeros([1, sum(_SIZES)], np.float32)
        upright[0, THETA + SHAPE:THETA + SHAPE + 6] = rotations.IDENTITY_6D
        own = self._place(upright, *sites).numpy()[0]
        placed = []
        for seen, weight in zip(points, known):
            total = weight.sum()
            middle, centre = weight @ own / total, weight @ seen / total
            u, _, v = np.linalg.svd((own - middle).T @ ((seen - centre) * weight[:, None]))
            turn = (u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v).T
            placed.append(np.concatenate([turn[:, 0], turn[:, 1], centre - turn @ middle]))
        return np.reshape(placed, [-1, 9])

    def _stage(self, packed, points, known, sites, free, stiffness, iterations):
        def run(packed, points, known, *sites):
            return self._descend(packed, points, known, *sites, free, stiffness * _PRIOR_WEIGHT, iterations)

        return self._each_chunk(run, packed, points, known, sites=sites).copy()

    @staticmethod
    def _each_chunk(run, *arrays, sites):
        rows = range(0, max(len(arrays[0]), 1), _CHUNK)
        return np.concatenate([run(*(x[i:i + _CHUNK] for x in arrays), *sites).numpy() for i in rows])

    def _descend_eagerly(self, packed, points, known, corners, weights, free, prior_weight, iterations):
        def loss(moved):
            moved = packed + free * (moved - packed)
            distance = tf.reduce_sum(tf.square(self._points(moved, corners, weights) - points), -1)
            data = tf.reduce_sum(known * distance, -1) / tf.maximum(tf.reduce_sum(known, -1), 1.0)
            theta, shape = moved[:, :THETA], moved[:, THETA:THETA + SHAPE]
            return _DATA_WEIGHT * data + prior_weight * (priors.gaussian_prior(theta) + priors.gaussian_prior(shape))

        return lbfgs.minimize(loss, packed, iterations, self._settings, _steps()).position

    def _points(self, packed, corners, weights):
        posed = self.body(_unpack(packed), mesh=self.mesh)
        places = [posed.joints, posed.keypoints] + ([] if self.mesh is None else [posed.vertices])
        return tf.reduce_sum(tf.gather(tf.concat(places, 1), corners, axis=1) * weights[..., None], axis=2)


def _checked(points, sites):
    points = np.asarray(points, np.float64)
    if points.ndim != 3 or points.shape[1:] != (len(sites.corners), 3):
        raise ValueError(f"`points` must be [N, {len(sites.corners)}, 3], a point for each place. Received: {points.shape}.")
    return points


def _steps():
    """Natural length of a step of each unknown; placement is stiffer than a code (metres, parts of a unit)."""
    return tf.constant((1.0,) * (THETA + SHAPE) + (0.1,) * 9)


def _unpack(packed):
    theta, shape, rotation, translation = tf.split(packed, _SIZES, axis=-1)
    rotation = rotations.matrix_to_6d(rotations.matrix_from_6d(rotation))
    return ModelState(theta, shape, tf.zeros([tf.shape(packed)[0], EXPRESSION]), rotation, translation)


def _pack(state):
    parts = (state.theta, state.shape, state.rotation, state.translation)
    return np.concatenate([np.asarray(x, np.float32) for x in parts], axis=1)
