"""A body and what the networks of its parts say in, one state of the whole person out."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_graphics.geometry.transformation import axis_angle, quaternion, rotation_matrix_3d

from hund_tf.geometry import camera, rotations
from hund_tf.state import THETA_BODY, THETA_HAND, ModelState

_UNSEEN, _SURE = 0.3, 0.6  # mean confidence of a part's points under which it counts as not seen, over which as seen
# Turns from the T-pose that a part may ask of its joint, of its axis and about it: followed up to the one, none from the other.
_LEAN, _TWIST = np.radians((80.0, 120.0)), np.radians((110.0, 150.0))
_JOINTS = ("left_wrist", "right_wrist", "head")
_ELBOWS = {"left_wrist": "left_elbow", "right_wrist": "right_elbow"}
_ASTRAY = 0.3, 0.5  # metres across the line of sight: a wrist seen as near as the one to the body's is pointed at, as far not
_ELBOWS_SHARE = 0.5  # of a wrist's twist: two bones of the forearm turn about each other all along it


class PartEstimates(NamedTuple):
    """What part networks say of B people, in the camera of the person's crop; hands are themselves, not mirrored.

    Attributes:
        theta: `[B, 2, 90]`, theta_lh and theta_rh.
        expression: `[B, 20]`.
        rotation: `[B, 3, 6]`, camera-from-part of left hand, right hand and head.
        place: `[B, 2, 3]`, of left and right wrist, metres.
        weight: `[B, 3]`, 0 where a part is not seen to 1, see `seen_weight`.
    """

    theta: tf.Tensor
    expression: tf.Tensor
    rotation: tf.Tensor
    place: tf.Tensor
    weight: tf.Tensor


def seen_weight(confidence):
    """How much a part counts: confidence of its points `[B, N]` -> `[B]`, 0 to 1, continuous."""
    return _ramp(tf.reduce_mean(confidence, -1), _UNSEEN, _SURE)


def fuse(body, state, estimates):
    """Puts hands, expression, wrists and head into the body's state.

    A part counts as much as it is seen, less where it asks for a turn that no joint makes. So far a forearm points at the place
    of its hand, the wrist turns towards the hand's own rotation, and the head to the face's; so far codes go from the prior's
    mean to the part's. The elbow takes half of a wrist's twist, as forearms do. Placement and shape are the body's.

    Args:
        body: `GenerativeBody`.
        state: `ModelState` of the body network, camera frame.
        estimates: `PartEstimates`.

    Returns:
        `ModelState`, and how much each part counted `[B, 3]`: at 0 it stands as the body network and the prior have it.
    """
    posed, index = body(state, mesh=None), body.joint_names.index
    turns = global_rotations(body.parents, posed.joint_rotations, state.rotation)
    local, joints, shares = tf.unstack(posed.joint_rotations, axis=1), tf.unstack(posed.joints, axis=1), []
    for i, name in enumerate(_JOINTS):
        joint, seen = index(name), rotations.matrix_from_6d(estimates.rotation[:, i])
        parent = body.parents[joint]
        axis = tf.linalg.normalize(joints[joint] - joints[parent], axis=-1)[0]  # of the limb before it
        axis = tf.linalg.matvec(turns[parent], axis, transpose_a=True)
        wanted = tf.matmul(turns[parent], seen, transpose_a=True)
        shares.append(estimates.weight[:, i] * _possible(wanted, axis))
        if name in _ELBOWS:
            elbow = index(_ELBOWS[name])
            _point(local, turns, joints, (body.parents[elbow], elbow, joint), estimates.place[:, i], shares[-1])
            wanted = tf.matmul(turns[elbow], seen, transpose_a=True)
        local[joint] = _turned_towards(local[joint], wanted, shares[-1])
        if name in _ELBOWS:
            moved = _about(axis, _twist_and_lean(local[joint], axis)[0] * _ELBOWS_SHARE * shares[-1])
            local[elbow], local[joint] = local[elbow] @ moved, tf.matmul(moved, local[joint], transpose_a=True)
    shares = tf.stack(shares, -1)
    theta = body.theta_from_rotations(tf.stack(local, 1))[:, :THETA_BODY]
    hands = tf.reshape(estimates.theta * shares[:, :2, None], [-1, 2 * THETA_HAND])
    return ModelState(tf.concat([theta, hands], -1), state.shape, estimates.expression * shares[:, 2:], state.rotation,
                      state.translation), shares


def global_rotations(parents, local, rotation):
    """Turns of all joints in the camera frame: list of `[B, 3, 3]`, from local ones `[B, J, 3, 3]` and the root's `[B, 6]`."""
    turns = [rotations.matrix_from_6d(rotation) @ local[:, 0]]
    for joint in range(1, len(parents)):
        turns.append(turns[parents[joint]] @ local[:, joint])
    return turns


def _point(local, turns, joints, chain, place, weight):
    """Points a forearm at where its wrist `[B, 3]` is seen, the elbow stays: changes the lists of rotations, turns and joints.

    It points across the line of sight: how far the hand is from the camera, its size does not tell well enough
    (docs/whole_body.md).
    """
    shoulder, elbow, wrist = chain
    across = place * (joints[wrist][:, 2:] / tf.maximum(place[:, 2:], camera.MIN_DEPTH_M)) - joints[wrist]
    weight = weight * (1.0 - _ramp(tf.norm(across, axis=-1), *_ASTRAY))
    aim = joints[wrist] + weight[:, None] * across
    forearm = joints[wrist] - joints[elbow]
    turn = _between(forearm, aim - joints[elbow])
    joints[wrist] = joints[elbow] + tf.linalg.matvec(turn, forearm)
    turns[elbow] = turn @ turns[elbow]
    local[elbow] = tf.matmul(turns[shoulder], turns[elbow], transpose_a=True)


def _between(start, end):
    """The smallest rotations `[B, 3, 3]` from one direction `[B, 3]` to another; none between opposite ones."""
    start, end = (tf.math.l2_normalize(x, axis=-1, epsilon=1e-12) for x in (start, end))
    axis = tf.linalg.cross(start, end)
    sine, cosine = tf.norm(axis, axis=-1, keepdims=True), tf.reduce_sum(start * end, -1, keepdims=True)
    turned = sine > 1e-6
    axis = tf.where(turned, axis / tf.maximum(sine, 1e-6), [[1.0, 0.0, 0.0]])
    return rotation_matrix_3d.from_axis_angle(axis, tf.where(turned, tf.atan2(sine, cosine), 0.0))


def _possible(turn, axis):
    """Share `[B]` in which a joint can make a turn `[B, 3, 3]` from the T-pose: 1 if it is near, 0 if it is far."""
    twist, lean = _twist_and_lean(turn, axis)
    return (1.0 - _ramp(lean, *_LEAN)) * (1.0 - _ramp(tf.abs(twist), *_TWIST))


def _twist_and_lean(turn, axis):
    """Rotations `[B, 3, 3]` as a turn about an axis `[B, 3]` and one of that axis: angles `[B]`, -pi to pi and 0 to pi."""
    parts = quaternion.from_rotation_matrix(_proper(turn))  # x, y, z, w
    along, real = tf.reduce_sum(parts[:, :3] * axis, -1), parts[:, 3]
    twist = 2.0 * tf.atan2(tf.where(real < 0, -along, along), tf.abs(real))
    return twist, 2.0 * tf.acos(tf.clip_by_value(tf.sqrt(tf.square(along) + tf.square(real)), 0.0, 1.0))


def _about(axis, angle):
    """Rotations `[B, 3, 3]` by angles `[B]` about axes `[B, 3]`."""
    return rotation_matrix_3d.from_axis_angle(axis, angle[:, None])


def _turned_towards(start, end, share):
    """Rotations `[B, 3, 3]` on the way from one to another, after a share `[B]` of it."""
    axis, angle = axis_angle.from_rotation_matrix(_proper(tf.matmul(start, end, transpose_a=True)))
    return start @ rotation_matrix_3d.from_axis_angle(axis, angle * share[:, None])


def _proper(matrix):
    """Rounding errors of products removed."""
    return rotations.matrix_from_6d(rotations.matrix_to_6d(matrix))


def _ramp(value, low, high):
    """0 up to `low`, 1 from `high` on, smooth between."""
    share = tf.clip_by_value((value - low) / (high - low), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)
