"""A body and what the networks of its parts say in, one state of the whole person out."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_graphics.geometry.transformation import axis_angle, rotation_matrix_3d

from hund_tf.geometry import rotations
from hund_tf.state import THETA_BODY, THETA_HAND, ModelState

_UNSEEN, _SURE = 0.3, 0.6  # mean confidence of a part's points under which it counts as not seen, over which as seen
_NEAR, _FAR = np.radians(70.0), np.radians(120.0)  # turns a part asks of its joint: followed up to the one, none from the other
_JOINTS = ("left_wrist", "right_wrist", "head")


class PartEstimates(NamedTuple):
    """What part networks say of B people, in the camera of the person's crop; hands are themselves, not mirrored.

    Attributes:
        theta: `[B, 2, 90]`, theta_lh and theta_rh.
        expression: `[B, 20]`.
        rotation: `[B, 3, 6]`, camera-from-part of left hand, right hand and head.
        weight: `[B, 3]`, 0 where a part is not seen to 1, see `seen_weight`.
    """

    theta: tf.Tensor
    expression: tf.Tensor
    rotation: tf.Tensor
    weight: tf.Tensor


def seen_weight(confidence):
    """How much a part counts: confidence of its points `[B, N]` -> `[B]`, 0 to 1, continuous."""
    return _ramp(tf.reduce_mean(confidence, -1), _UNSEEN, _SURE)


def fuse(body, state, estimates):
    """Puts hands, expression, wrists and head into the body's state.

    Codes go to the prior's mean as a part's weight falls. A wrist turns towards the hand's own rotation as far as the weight
    says, less the farther that is from the body's estimate; so does the head. Placement and shape are the body's.

    Args:
        body: `GenerativeBody`.
        state: `ModelState` of the body network, camera frame.
        estimates: `PartEstimates`.

    Returns:
        `ModelState`, and the weights with which the joints followed `[B, 3]`: at 0 a part stands as the body network and the
        prior have it.
    """
    local = body.rotations_from_theta(state.theta)
    turns = global_rotations(body.parents, local, state.rotation)
    local, followed = tf.unstack(local, axis=1), []
    for i, name in enumerate(_JOINTS):
        joint = body.joint_names.index(name)
        wanted = tf.matmul(turns[body.parents[joint]], rotations.matrix_from_6d(estimates.rotation[:, i]), transpose_a=True)
        local[joint], share = _turned_towards(local[joint], wanted, estimates.weight[:, i])
        followed.append(share)
    theta = body.theta_from_rotations(tf.stack(local, 1))[:, :THETA_BODY]
    hands = tf.reshape(estimates.theta * estimates.weight[:, :2, None], [-1, 2 * THETA_HAND])
    state = ModelState(tf.concat([theta, hands], -1), state.shape, estimates.expression * estimates.weight[:, 2:],
                       state.rotation, state.translation)
    return state, tf.stack(followed, -1)


def global_rotations(parents, local, rotation):
    """Turns of all joints in the camera frame: list of `[B, 3, 3]`, from local ones `[B, J, 3, 3]` and the root's `[B, 6]`."""
    turns = [rotations.matrix_from_6d(rotation) @ local[:, 0]]
    for joint in range(1, len(parents)):
        turns.append(turns[parents[joint]] @ local[:, joint])
    return turns


def _turned_towards(start, end, weight):
    """Rotations `[B, 3, 3]` on the way from one to another, and how much of the way they went `[B]`."""
    axis, angle = axis_angle.from_rotation_matrix(_proper(tf.matmul(start, end, transpose_a=True)))
    share = weight * (1.0 - _ramp(tf.abs(angle[:, 0]), _NEAR, _FAR))
    return start @ rotation_matrix_3d.from_axis_angle(axis, angle * share[:, None]), share


def _proper(matrix):
    """Rounding errors of products removed."""
    return rotations.matrix_from_6d(rotations.matrix_to_6d(matrix))


def _ramp(value, low, high):
    """0 up to `low`, 1 from `high` on, smooth between."""
    share = tf.clip_by_value((value - low) / (high - low), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)
