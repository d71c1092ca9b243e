"""Keypoints for a body that has none: the packaged body's 137 in, their places on another body's joints and mesh out.

A keypoint that is a mixture of joints keeps its joints by name. A fingertip is the skin furthest along the last bone,
as on the packaged body, an eye the foremost point of its ball. All others are approximate: head, foot or hand of the
packaged body is fitted to the other's by an affine map (both in the T-pose, iterated nearest points), and the keypoint
goes to the nearest surface point. docs/bodies.md has the errors measured.
"""

import re

import numpy as np

from hund_tf.body import part_labels, surface

_ROUNDS = 40
_CLOUD = 700  # points of a part that the fit uses
_TRIM = 0.85  # share of the pairs, the nearest, that count: parts of two bodies end at different seams
_STIFFNESS = 0.02  # pull of the fitted map towards the plain scaling it starts from


def transferred(source, target):
    """Keypoint arrays of the schema for another body.

    Args:
        source: `BodyTemplate`, the packaged body.
        target: dict of `joint_names` (J), `joints` `[J, 3]`, `vertices` `[V, 3]`, `faces` `[F, 3]`, `weights` `[V, J]`,
            `labels` `[V]` (1..14), all in the T-pose, metres; `real_joints`, names of the joints that stand where their
            names say; `landmarks`, dict of keypoint names and their `(corners [3], weights [3])`, known beforehand.

    Returns:
        dict of `keypoint_names`, `keypoint_joints`, `keypoint_vertices`, `keypoint_vertex_weights`.
    """
    names, joint_names = source.keypoint_names, list(target["joint_names"])
    known = {**_extremes(target), **target["landmarks"]}
    vertices, joints = _t_posed(source)
    points = source.keypoint_joints @ joints + (
        vertices[source.keypoint_vertices] * source.keypoint_vertex_weights[..., None]).sum(1)
    joint_rows = np.zeros((len(names), len(joint_names)), np.float32)
    corners = np.zeros((len(names), 3), np.int32)
    weights = np.zeros((len(names), 3), np.float32)
    left = {}  # part label -> keypoints that must be fitted
    for i, name in enumerate(names):
        used = np.flatnonzero(source.keypoint_joints[i])
        if name in known:
            corners[i], weights[i] = known[name]
        elif len(used) and all(source.joint_names[j] in target["real_joints"] for j in used):
            for j in used:
                joint_rows[i, joint_names.index(source.joint_names[j])] = source.keypoint_joints[i, j]
        else:
            left.setdefault(_part(name), []).append(i)
    source_faces = surface.largest_part(source.meshes["full"].faces, len(vertices))
    target_faces = surface.largest_part(target["faces"], len(target["vertices"]))
    for label, rows in left.items():
        faces = _faces_of(label, target_faces, target["labels"])
        clouds = (surface.sample(vertices, _faces_of(label, source_faces, source.meshes["full"].part_labels), _CLOUD),
                  surface.sample(target["vertices"], faces, _CLOUD))
        fitted = _fitted(*clouds, label, points[rows])
        corners[rows], weights[rows] = surface.nearest_points(fitted, target["vertices"], faces)
    return {"keypoint_names": np.array(names), "keypoint_joints": joint_rows, "keypoint_vertices": corners,
            "keypoint_vertex_weights": weights}


def _extremes(target):
    """Fingertips and eyes: of the skin that a joint moves most, the vertex that lies furthest in a direction."""
    owner, vertices, found = target["weights"].argmax(1), target["vertices"], {}
    at = dict(zip(target["joint_names"], target["joints"]))
    for name in target["real_joints"]:
        own = owner == target["joint_names"].index(name)
        side, _, part = name.partition("_")
        if part == "eye":
            direction, known = np.array([0.0, 0, 1]), (name, f"face_{side}_pupil")
        elif part.endswith("3"):
            direction, known = at[name] - at[name[:-1] + "2"], (f"{side}_hand_{part[:-1]}4",)
        else:
            continue
        if own.any():
            vertex = np.flatnonzero(own)[(vertices[own] @ direction).argmax()]
            found.update({key: ([vertex] * 3, [1.0, 0, 0]) for key in known})
    return found


def _part(keypoint):
    side, hand = re.match(r"(left|right)?_?(hand_)?", keypoint).groups()
    if hand:
        return part_labels.HANDS[side]
    return part_labels.FEET[side] if keypoint.endswith(("toe", "heel")) else part_labels.HEAD


def _faces_of(label, faces, labels):
    own = faces[(labels[faces] == label).all(1)]
    if not len(own):
        raise ValueError(f"Each part needs skin that its joints move. Received: a mesh without faces of part {label}.")
    return own


def _t_posed(body):
    """Vertices of the full mesh and joints of the mean body in its T-pose; twist bones stay with their joint."""
    turns, at = body.rest_rotations, body.joints_template
    joints = np.zeros_like(at)
    for j, parent in enumerate(body.parents[1:], 1):
        joints[j] = joints[parent] + turns[parent] @ (at[j] - at[parent])
    mesh = body.meshes["full"]
    bones = np.concatenate([np.arange(len(at)), body.twist_joints[:, 0]]).astype(int)
    vertices = np.zeros_like(mesh.vertices)
    for bone, weight in zip(bones, mesh.skin_weights.T):
        vertices += weight[:, None] * ((mesh.vertices - at[bone]) @ turns[bone].T + joints[bone])
    return vertices, joints


def _fitted(source, target, label, points):
    """Points carried by the affine map that lays the cloud of a part `source` `[N, 3]` on `target` `[M, 3]`."""
    scale, start, end = _first_guess(source, target, label)
    source, points = scale * (source - start) + end, scale * (points - start) + end
    origin, linear, shift = source.mean(0), np.eye(3), np.zeros(3)
    for _ in range(_ROUNDS):
        moved = (source - origin) @ linear.T + origin + shift
        to = surface.nearest(moved, target, 1)[:, 0]
        back = surface.nearest(target, moved, 1)[:, 0]
        x = np.concatenate([source, source[back]]) - origin
        y = np.concatenate([target[to], target]) - origin
        far = np.linalg.norm(y - np.concatenate([moved, moved[back]]) + origin, axis=1)
        near = far <= np.quantile(far, _TRIM)
        x, y = np.concatenate([x[near], np.ones((near.sum(), 1))], axis=1), y[near]
        pull = _STIFFNESS * np.diag([*np.diag(x[:, :3].T @ x[:, :3]), 0.0])
        solved = np.linalg.solve(x.T @ x + pull, x.T @ y + pull @ np.eye(4, 3))
        linear, shift = solved[:3].T, solved[3]
    return (points - origin) @ linear.T + origin + shift


def _first_guess(source, target, label):
    """Scale and a pair of points that match: crown and nose of a head, sole of a foot, tips of a hand."""
    low, middle, high = range(3)
    if label == part_labels.HEAD:
        axis, pick = 0, (middle, high, high)
    elif label in part_labels.FEET.values():
        axis, pick = 2, (middle, low, middle)
    else:
        axis, pick = 0, (high if label == part_labels.HANDS["left"] else low, middle, middle)
    boxes = [np.stack([cloud.min(0), (cloud.min(0) + cloud.max(0)) / 2, cloud.max(0)]) for cloud in (source, target)]
    start, end = (box[pick, range(3)] for box in boxes)
    size, size_to = (box[high] - box[low] for box in boxes)
    return size_to[axis] / size[axis], start, end
