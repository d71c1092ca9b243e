"""The 137 OpenPose keypoints as weighted joints and vertices of the body."""

import os

import numpy as np

import makehuman
from body_skeleton import JOINT_NAMES, SKIN_NAMES

_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_BODY = (  # BODY_25: joints to average, or the name of a surface point below
    ("nose", "nose"), ("neck", ("left_shoulder", "right_shoulder")), ("right_shoulder", ("right_shoulder",)),
    ("right_elbow", ("right_elbow",)), ("right_wrist", ("right_wrist",)), ("left_shoulder", ("left_shoulder",)),
    ("left_elbow", ("left_elbow",)), ("left_wrist", ("left_wrist",)), ("mid_hip", ("left_hip", "right_hip")),
    ("right_hip", ("right_hip",)), ("right_knee", ("right_knee",)), ("right_ankle", ("right_ankle",)),
    ("left_hip", ("left_hip",)), ("left_knee", ("left_knee",)), ("left_ankle", ("left_ankle",)),
    ("right_eye", "right_eye"), ("left_eye", "left_eye"), ("right_ear", "right_ear"), ("left_ear", "left_ear"),
    ("left_big_toe", "left_big_toe"), ("left_small_toe", "left_small_toe"), ("left_heel", "left_heel"),
    ("right_big_toe", "right_big_toe"), ("right_small_toe", "right_small_toe"), ("right_heel", "right_heel"))
# Where landmark networks and annotators put a hand's points beside its joints: creases and knuckles rather than the centres
# that bones turn about. A point moves so far from its own joint towards another; below 0 away from it. Fitted to 25 hands of
# photos together with their poses; each half of the hands alone gives nearly the same (docs/bodies.md).
_HAND_MOVES = {"wrist": ("middle1", 0.05), "thumb1": ("wrist", 0.16), "thumb2": ("thumb1", -0.09), "thumb3": ("thumb2", 0.05)}
_FINGER_MOVES = {"1": ("wrist", 0.09), "2": ("{finger}1", -0.11), "3": ("{finger}2", -0.16)}
FACE_NAMES = tuple(f"face_{part}_{i}" for part, count in (
    ("jaw", 17), ("right_brow", 5), ("left_brow", 5), ("nose", 9), ("right_eye", 6), ("left_eye", 6),
    ("mouth", 20)) for i in range(count)) + ("face_right_pupil", "face_left_pupil")
FACE_TABLE = os.path.join(os.path.dirname(__file__), "face_points.csv")
CORNERS = 4  # vertices a keypoint may mix


def regressors(rig, kept, mesh, joints, mirror):
    """Arrays `keypoint_names`, `keypoint_joints`, `keypoint_vertices`, `keypoint_vertex_weights` of the schema."""
    number = np.full(makehuman.VERTICES, -1)
    number[kept] = np.arange(len(kept))
    points = _surface_points(mesh, joints, mirror, number)
    names, rows = [], []
    for name, source in _BODY:
        names.append(name)
        rows.append(source if isinstance(source, tuple) else points[source])
    face = _face_points(number, points)
    names += FACE_NAMES
    rows += face
    for side in ("left", "right"):
        names.append(f"{side}_hand_wrist")
        rows.append(hand_joints(side, "wrist"))
        for finger in _FINGERS:
            names += [f"{side}_hand_{finger}{i}" for i in (1, 2, 3, 4)]
            rows += [hand_joints(side, f"{finger}{i}") for i in (1, 2, 3)] + [points[f"{side}_{finger}_tip"]]

    joint_weights = np.zeros((len(rows), len(JOINT_NAMES)), np.float32)
    vertices = np.zeros((len(rows), CORNERS), np.uint16)
    vertex_weights = np.zeros((len(rows), CORNERS), np.float32)
    for i, row in enumerate(rows):
        if isinstance(row, dict):
            for joint, weight in row.items():
                joint_weights[i, JOINT_NAMES.index(joint)] = weight
        elif isinstance(row[0], str):
            for joint in row:
                joint_weights[i, JOINT_NAMES.index(joint)] = 1 / len(row)
        else:
            for k, (vertex, weight) in enumerate(row):
                vertices[i, k], vertex_weights[i, k] = vertex, weight
    return {"keypoint_names": np.array(names), "keypoint_joints": joint_weights, "keypoint_vertices": vertices,
            "keypoint_vertex_weights": vertex_weights}


def hand_joints(side, name):
    """Joints and their weights of a hand's keypoint, "wrist" or a finger's "index1" to "index3"."""
    towards, share = _HAND_MOVES.get(name) or _FINGER_MOVES[name[-1]]
    towards = towards.format(finger=name[:-1])
    return {f"{side}_{name}": 1.0 - share, f"{side}_{towards}": share}


def _surface_points(mesh, joints, mirror, number):
    """Named surface points, each a list of (vertex, weight)."""
    at, weights = mesh["vertices"], mesh["weights"]
    owner = weights.argmax(1)
    skin = np.arange(len(at)) < makehuman.SKIN[1]
    joint_at = {name: joints[i] for i, name in enumerate(JOINT_NAMES)}

    def best(mask, score):
        vertex = np.flatnonzero(mask)
        return vertex[score[vertex].argmax()]

    def owned(*names):
        return skin & np.isin(owner, [SKIN_NAMES.index(name) for name in names])

    points = {"nose": [(best(owned("head") & (np.abs(at[:, 0]) < 0.004) & (at[:, 1] > joint_at["jaw"][1]), at[:, 2]), 1.0)]}
    foot, ankle = owned("left_foot"), joint_at["left_ankle"]
    inner = foot & (at[:, 0] < np.quantile(at[foot, 0], 0.3))
    outer = foot & (at[:, 0] > np.quantile(at[foot, 0], 0.85))
    left = {"big_toe": best(inner, at[:, 2]), "small_toe": best(outer, at[:, 2]),
            "heel": best(owned("left_ankle") & (at[:, 1] < ankle[1] - 0.03), -at[:, 2]),
            "ear": _nearest(at, owned("head") & (at[:, 0] > 0), joint_at["left_eye"] * [0, 1, 0] + _EAR),
            "eye": best((np.arange(len(at)) >= number[makehuman.EYES[0]]) & (np.arange(len(at)) <= number[makehuman.EYES[1] - 1])
                        & (at[:, 0] > 0), at[:, 2])}
    for finger in _FINGERS:
        tip = at[:] @ (joint_at[f"left_{finger}3"] - joint_at[f"left_{finger}2"])
        left[f"{finger}_tip"] = best(owned(f"left_{finger}3"), tip)
    for name, vertex in left.items():
        points[f"left_{name}"] = [(vertex, 1.0)]
        points[f"right_{name}"] = [(mirror[vertex], 1.0)]
    return points


_EAR = np.array([0.078, -0.006, 0.0])  # metres, of the ear canal; x out, y from the eyes


def _nearest(at, mask, target):
    vertex = np.flatnonzero(mask)
    return vertex[np.linalg.norm(at[vertex] - target, axis=1).argmin()]


def _face_points(number, points):
    """68 face points from the table of base-mesh corners (see place_face_points.py), then the pupils."""
    if not os.path.exists(FACE_TABLE):
        return [points["nose"]] * 68 + [points["right_eye"], points["left_eye"]]
    table = np.loadtxt(FACE_TABLE, delimiter=",", skiprows=1)
    rows = [[(number[int(v)], w) for v, w in zip(row[:3], row[3:])] for row in table]
    return rows + [points["right_eye"], points["left_eye"]]
