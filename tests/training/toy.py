"""A toy network whose step takes milliseconds without XLA: a linear body, batches of made-up evidence and their labels."""

import numpy as np
import tensorflow as tf

from hund_tf.body.generative_body import BodyOutput
from hund_tf.config import HundConfig, ObjectiveConfig
from hund_tf.geometry import camera, rotations
from hund_tf.networks.context_encoder import READ_KEYPOINTS, EvidenceSummary
from hund_tf.state import ModelState
from hund_tf.training.examples import state_labels
from hund_tf.training.regimes import TrainableHund

INTRINSICS = (480.0, 480.0, 240.0, 240.0)
_JOINTS, _KEYPOINTS, _BLOBS = 63, 137, 22


class LinearBody:
    """Joints, keypoints and 22 tetrahedra as large as a person, all linear in the codes; takes what `GenerativeBody` takes."""

    def __init__(self):
        rng = np.random.default_rng(0)
        points = rng.uniform([-0.4, -0.8, -0.15], [0.4, 0.8, 0.15], [_JOINTS + _KEYPOINTS + _BLOBS, 3])
        corners = 0.06 * np.array([[1, 0, 0], [-0.5, 0, 0.9], [-0.5, 0, -0.9], [0, 1, 0]])
        blobs = points[-_BLOBS:, None] + corners
        points = np.concatenate([points[:-_BLOBS], blobs.reshape(-1, 3)])
        self._points, self._basis = np.float32(points), np.float32(0.02 * rng.normal(size=(306 + 16, points.size)))

    def __call__(self, state, mesh):
        codes = tf.concat([state.theta, state.shape], -1)
        points = self._points + tf.reshape(codes @ self._basis, [-1, *self._points.shape])
        points = tf.matmul(points, rotations.matrix_from_6d(state.rotation), transpose_b=True) + state.translation[:, None]
        joints, keypoints, vertices = tf.split(points, [_JOINTS, _KEYPOINTS, 4 * _BLOBS], axis=1)
        return BodyOutput(None if mesh is None else vertices, joints, keypoints, None)

    def faces(self, mesh):
        """int32 `[88, 3]`."""
        faces = np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]], np.int32)
        return (faces + 4 * np.arange(_BLOBS, dtype=np.int32)[:, None, None]).reshape(-1, 3)

    def part_labels(self, mesh):
        """int32 `[88]`, 1 to 14."""
        return np.int32(1 + np.arange(4 * _BLOBS) // 4 % 14)


def make(body, num_stages=2, part_map_size=0, training=None, units=16):
    """A small `TrainableHund` of a toy body, without XLA; the same weights each time."""
    config = HundConfig(num_stages=num_stages, units=units, context_dim=16,
                        objective=ObjectiveConfig(part_map_size=part_map_size))
    extra = {} if training is None else {"training": training}
    model = TrainableHund(config, body, compile_geometry=False, **extra)
    model.build_weights()
    rng = np.random.default_rng(3)
    for variable in model.trainable_variables:
        size = 0.0 if len(variable.shape) < 2 else (0.02 if variable.shape[-1] == 151 else 0.5) / np.sqrt(np.prod(variable.shape[:-1]))
        variable.assign(size * rng.normal(size=variable.shape))
    return model


def truth(count=4, seed=0):
    """`ModelState` of people who stand about before the camera, as arrays."""
    rng = np.random.default_rng(seed)
    theta, shape = 0.5 * rng.normal(size=(count, 306)), 0.5 * rng.normal(size=(count, 16))
    places = rng.normal(size=(count, 3)) * [0.1, 0.1, 0.2] + [0, 0, 3.0]
    parts = theta, shape, np.zeros((count, 20)), np.tile([1.0, 0, 0, 0, -1, 0], (count, 1)), places
    return ModelState(*(np.float32(part) for part in parts))


def evidence(body, state, seed=0):
    """`EvidenceSummary` of those people: right keypoints, made-up maps."""
    rng, count = np.random.default_rng(seed), len(state.theta)
    intrinsics = tf.constant(np.tile(np.float32(INTRINSICS), (count, 1)))
    points = body(ModelState(*map(tf.constant, state)), mesh=None).keypoints
    pixels = camera.project(tf.gather(points, READ_KEYPOINTS, axis=1), intrinsics)
    parts = tf.nn.softmax(tf.constant(rng.normal(size=(count, 60, 60, 15)), tf.float32))
    maps = [tf.constant(rng.random((count, *shape)), tf.float32) for shape in ((15, 15, 256), (30, 30, 152))]
    return EvidenceSummary(*maps, keypoints=pixels, confidence=tf.ones([count, len(READ_KEYPOINTS)]),
                           landmarks3d=points[:, :25] - points[:, 8:9], landmarks3d_confidence=tf.ones([count, 25]),
                           part_maps=parts, intrinsics=intrinsics)


def batch(body, count=4, seed=0):
    """`(EvidenceSummary, TrainingLabels)` with every state known."""
    state = truth(count, seed)
    return evidence(body, state, seed), state_labels(ModelState(*map(tf.constant, state)))
