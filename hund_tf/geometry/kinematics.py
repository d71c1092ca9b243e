"""Forward kinematics: local rotations and bone offsets in, global rotations and joint positions out.

Rotations and points are planes, see `rotations.py`.
"""

import numpy as np
import tensorflow as tf

from hund_tf.geometry import rotations


def ancestor_steps(parents):
    """Index tables of pointer doubling: after step k each joint has met its 2^(k+1) nearest ancestors.

    Args:
        parents: int `[J]`, -1 for the root; parents come before their children.

    Returns:
        list of int32 `[J + 1]`; entry J stands for "above the root", the identity.
    """
    parents = np.asarray(parents)
    joints = len(parents)
    depth = np.zeros(joints, np.int64)
    for j in range(1, joints):
        depth[j] = depth[parents[j]] + 1
    above = np.append(np.where(parents < 0, joints, parents), joints)
    steps, reach = [], 1
    while reach <= depth.max():
        steps.append(above.astype(np.int32))
        above, reach = above[above], reach * 2
    return steps


def forward_kinematics(local_rotations, offsets, steps):
    """Chains local transforms from the root down, all joints at once (pointer doubling).

    A tree of depth 11 takes 4 products over all joints instead of 11 levels or 63 single ones.

    Args:
        local_rotations: planes `[3, 3, B, J]`, of each joint relative to its parent.
        offsets: planes `[3, B, J]`, from the parent's joint to the joint in the parent's frame, metres; of the
            root: its position.
        steps: from `ancestor_steps`.

    Returns:
        `(global_rotations [3, 3, B, J], positions [3, B, J])`.
    """
    joints = offsets.shape[-1]
    zero = tf.zeros_like(offsets[..., :1])
    identity = tf.reshape(tf.eye(3, dtype=offsets.dtype), [3, 3, 1, 1]) + zero
    turn = tf.concat([local_rotations, identity], axis=-1)
    place = tf.concat([offsets, zero], axis=-1)
    for above in steps:
        turn_above = take_joints(turn, above)
        place = rotations.rotate(turn_above, place) + take_joints(place, above)
        turn = rotations.compose(turn_above, turn)
    return turn[..., :joints], place[..., :joints]


def take_joints(planes, joints):
    """Picks joints: `[..., J]` and int `[K]` -> `[..., K]`; its gradient is one matrix product instead of a scatter."""
    count = planes.shape[-1]

    @tf.custom_gradient
    def take(planes):
        def gradient(upstream):
            chosen = tf.one_hot(joints, count, dtype=upstream.dtype)
            summed = tf.matmul(tf.reshape(upstream, [-1, len(joints)]), chosen)
            return tf.reshape(summed, tf.shape(planes))

        return tf.gather(planes, joints, axis=-1), gradient

    return take(planes)
