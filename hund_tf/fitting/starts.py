"""Where a search over packed body states begins, and how long a natural step of each unknown is."""

import numpy as np
import tensorflow as tf

from hund_tf.state import SHAPE, THETA_BODY

ARMS_DOWN = np.deg2rad(45.0)  # of an A-pose, below the horizontal arms of the T-pose
# A radian or half a crop moves every keypoint, a code of one joint a few: in these units both pull about alike.
# Of the steps tried, these take the loss of L-BFGS lowest (docs/descent.md).
ROTATION_STEP, PLACEMENT_STEP = 0.3, 0.1


def a_pose(body, codec):
    """A person who stands upright with lowered arms, faces the camera and fills the crop: packed, `[1, S]`."""
    local = np.tile(np.eye(3), (1, len(body.joint_names), 1, 1))
    for name, sign in (("left_shoulder", -1.0), ("right_shoulder", 1.0)):
        cosine, sine = np.cos(ARMS_DOWN), sign * np.sin(ARMS_DOWN)
        local[0, body.joint_names.index(name)] = [[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]
    theta = body.theta_from_rotations(tf.constant(local, tf.float32))[:, :THETA_BODY]
    return tf.concat([theta, codec.initial(1)[:, THETA_BODY:]], axis=-1)


def natural_steps():
    """Length of a step of each packed unknown, `[S]`: codes have a deviation of 1, rotation and placement are stiffer."""
    return tf.constant((1.0,) * (THETA_BODY + SHAPE) + (ROTATION_STEP,) * 6 + (PLACEMENT_STEP,) * 3)
