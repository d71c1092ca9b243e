"""A toy network whose step takes milliseconds without XLA: a stick body, batches of made-up evidence and their labels."""

import numpy as np
import tensorflow as tf

from hund_tf.body import rules
from hund_tf.body.generative_body import GenerativeBody
from hund_tf.config import HundConfig, ObjectiveConfig
from hund_tf.geometry import camera
from hund_tf.networks.context_encoder import READ_KEYPOINTS, EvidenceSummary
from hund_tf.state import ModelState
from hund_tf.training.examples import state_labels
from hund_tf.training.regimes import TrainableHund

_LEFT = {"hip": (0.08, -0.08, 0), "knee": (0.08, -0.48, 0), "ankle": (0.08, -0.88, -0.03), "foot": (0.08, -0.92, 0.1),
         "collar": (0.04, 0.42, 0), "shoulder": (0.16, 0.44, 0), "elbow": (0.42, 0.44, 0), "wrist": (0.67, 0.44, 0)}
_MIDDLE = {"pelvis": (0, 0, 0), "spine1": (0, 0.1, 0), "spine2": (0, 0.22, 0), "spine3": (0, 0.3, 0),
           "neck": (0, 0.5, 0), "head": (0, 0.6, 0)}
_NAMES = rules.BODY_JOINTS + rules.FINGER_JOINTS
# joints at which BODY_25 lies; the other points lie on the head and the wrists
_BODY_25 = (15, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 15, 15, 15, 15, 10, 10, 7, 11, 11, 8)
_POINTS = (*_BODY_25, *(15,) * 70, *(20,) * 21, *(21,) * 21)
INTRINSICS = (480.0, 480.0, 240.0, 240.0)


def _place(name):
    side, _, part = name.partition("_")
    if name in _MIDDLE:
        return np.array(_MIDDLE[name], float)
    at = np.array(_LEFT[part] if part in _LEFT else _LEFT["wrist"], float)
    if part not in _LEFT:
        at += [0.05 + 0.03 * int(part[-1]), 0, 0.03 - 0.02 * rules.FINGERS.index(part[:-1])]
    return at * [-1 if side == "right" else 1, 1, 1]


def write_body(folder):
    """Writes the toy body; returns its path."""
    names = list(_NAMES)
    parents = list(rules.BODY_PARENTS)
    for name in rules.FINGER_JOINTS:
        parents.append(names.index(name.split("_")[0] + "_wrist") if name.endswith("1") else len(parents) - 1)
    joints = np.array([_place(name) for name in names])
    corners = 0.06 * np.array([[1, 0, 0], [-0.5, 0, 0.9], [-0.5, 0, -0.9], [0, 1, 0]])
    vertices = (joints[:22, None] + corners).reshape(-1, 3)
    owner = np.repeat(np.arange(22), 4)
    faces = (np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]]) + 4 * np.arange(22)[:, None, None]).reshape(-1, 3)
    bigger = 0.05 * np.eye(16)[0]
    mesh = {"vertices": vertices, "faces": faces, "shape": bigger[:, None, None] * vertices,
            "expression": np.zeros((20, *vertices.shape)), "part_labels": 1 + owner % 14, "skin_joints": owner[:, None],
            "skin_weights": np.ones((len(owner), 1))}
    prior = {}
    for part, count in (("body", 21), ("left_hand", 15), ("right_hand", 15)):
        prior[f"pose_{part}_mean"] = np.tile([1.0, 0, 0, 0, 1, 0], count)
        prior[f"pose_{part}_factor"] = 0.2 * np.eye(6 * count)
    path = f"{folder}/toy.npz"
    np.savez(
        path, joint_names=np.array(names), parents=np.array(parents), joints_template=joints,
        joints_shape=bigger[:, None, None] * joints, rest_rotations=np.tile(np.eye(3), (len(names), 1, 1)),
        twist_joints=np.zeros((0, 3), int), twist_axes=np.zeros((0, 3)), twist_signs=np.zeros(0),
        keypoint_names=np.array([f"point{i}" for i in range(137)]), keypoint_joints=np.eye(len(names))[list(_POINTS)],
        keypoint_vertices=np.zeros((137, 1), int), keypoint_vertex_weights=np.zeros((137, 1)),
        **{f"{size}_{key}": value for size in ("full", "low") for key, value in mesh.items()}, **prior)
    return path


def make(body, num_stages=2, part_map_size=0, training=None, units=16):
    """A small `TrainableHund` of the toy body, without XLA; the same weights each time."""
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


def load(folder):
    """The toy body, written to `folder`."""
    return GenerativeBody.from_asset(write_body(folder))
