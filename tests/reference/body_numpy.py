"""The body posed joint by joint and vertex by vertex in plain float64 NumPy, straight from the formulas."""

import numpy as np


def pose(body, local_rotations, shape, expression, rotation6d, translation, mesh="full"):
    """Poses one body: `(vertices [V, 3], joints [63, 3], keypoints [137, 3])` in the camera frame.

    Args:
        body: `BodyTemplate`.
        local_rotations: `[63, 3, 3]`.
        shape, expression: components of the meshes, the first few or all.
        rotation6d, translation: `[6]`, `[3]`.
    """
    local_rotations = np.asarray(local_rotations, np.float64)
    heads = body.joints_template + np.tensordot(shape, body.joints_shape[:len(shape)], 1)
    turns, joints = [], []
    for j, parent in enumerate(body.parents):
        if parent < 0:
            turns.append(matrix_from_6d(rotation6d) @ local_rotations[j])
            joints.append(np.asarray(translation, np.float64))
        else:
            turns.append(turns[parent] @ local_rotations[j])
            bone = turns[parent] @ body.rest_rotations[parent] @ (heads[j] - heads[parent])
            joints.append(joints[parent] + bone)
    skin = [(turn @ rest, joint, head) for turn, rest, joint, head in zip(turns, body.rest_rotations, joints, heads)]
    for (base, start, end), axis, sign in zip(body.twist_joints, body.twist_axes, body.twist_signs):
        angle = twist_angle(skin[start][0].T @ skin[end][0], axis)
        skin.append((skin[base][0] @ about_axis(axis, sign * angle / 2), *skin[base][1:]))

    def posed(name):
        part = body.meshes[name]
        at_rest = (part.vertices + np.tensordot(shape, part.shape[:len(shape)], 1)
                   + np.tensordot(expression, part.expression[:len(expression)], 1))
        moved = np.zeros_like(at_rest, np.float64)
        for (turn, joint, head), weight in zip(skin, part.skin_weights.T):
            moved += weight[:, None] * ((at_rest - head) @ turn.T + joint)
        return moved

    full = posed("full")
    mixed = (full[body.keypoint_vertices] * body.keypoint_vertex_weights[..., None]).sum(1)
    keypoints = body.keypoint_joints @ np.array(joints) + mixed
    return full if mesh == "full" else posed(mesh), np.array(joints), keypoints


def matrix_from_6d(rotation6d):
    first, second = np.asarray(rotation6d[:3], np.float64), np.asarray(rotation6d[3:], np.float64)
    x = first / np.linalg.norm(first)
    y = second - (x @ second) * x
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def about_axis(axis, angle):
    x, y, z = axis / np.linalg.norm(axis)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew


def twist_angle(rotation, axis):
    """Angle of the twist about `axis` in the swing-twist decomposition."""
    turn = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    return 2 * np.arctan2(axis @ turn, 1 + np.trace(rotation))
