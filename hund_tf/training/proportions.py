"""Human proportions: codes of bodies drawn from the shape prior in, codes of bodies as people are out.

The shape prior must reach everybody, so the bodies it draws differ more than people do: the ratio of thigh to shin by 13 % where
people's differ by 3. Where training scenes show such bodies, a short thigh in a photo may always be a short thigh, and the
network cannot learn that it reaches towards the camera.
"""

import numpy as np
import tensorflow as tf

from hund_tf.state import EXPRESSION, SHAPE, ModelState

# Standard deviations of logarithms among people. Stature and shoulders: the 2012 survey of U.S. Army personnel (Gordon et al.,
# Natick/TR-15/007), women and men alike many. Arms to legs: 64 to 74 of 100 in 314 skeletons of six peoples (Jungers), so about
# 3.5 % with the breadth of the landmarks. The others are of that order in anthropology: rounded up.
SPREAD = {"stature": 0.055, "thigh to shin": 0.035, "upper arm to forearm": 0.04, "arm to leg": 0.035, "trunk to leg": 0.05,
          "shoulders to stature": 0.055}
_SAMPLES, _SEED = 512, 0


def human(body):
    """The matrix `[16, 16]` that makes codes drawn from N(0, I) those of bodies with human proportions.

    The measures' logarithms are nearly linear in the codes; a code moves along the directions that change them, and
    keeps all else. A measure that varies less than people's is left as it is.

    Args:
        body: `GenerativeBody`.

    Returns:
        float64 array; multiply codes `[N, 16]` by it from the right.
    """
    codes = np.random.default_rng(_SEED).normal(size=(_SAMPLES, SHAPE))
    values = np.log(measure(body, codes))
    slopes = np.linalg.lstsq(np.c_[codes, np.ones(_SAMPLES)], values, rcond=None)[0][:-1]  # [16, measures]
    keep = np.minimum(np.array(list(SPREAD.values())) / values.std(0), 1.0)
    return np.eye(SHAPE) - slopes * (1.0 - keep) @ np.linalg.pinv(slopes)


def measure(body, codes):
    """Lengths (metres) and ratios of bodies at rest, `[N, 6]` in the order of `SPREAD`, from shape codes `[N, 16]`."""
    count = len(codes)
    theta = body.theta_from_rotations(tf.eye(3, batch_shape=[count, len(body.joint_names)]))
    posed = body(ModelState(
        theta=theta, shape=tf.constant(codes, tf.float32), expression=tf.zeros([count, EXPRESSION]),
        rotation=tf.tile([[1.0, 0, 0, 0, 1, 0]], [count, 1]), translation=tf.zeros([count, 3])), mesh="low")
    joints, index = posed.joints.numpy(), body.joint_names.index

    def bone(start, end):
        return np.mean([np.linalg.norm(joints[:, index(f"{side}_{start}")] - joints[:, index(f"{side}_{end}")], axis=-1)
                        for side in ("left", "right")], axis=0)

    def middle(name):
        return (joints[:, index(f"left_{name}")] + joints[:, index(f"right_{name}")]) / 2

    stature = np.ptp(posed.vertices.numpy()[..., 1], axis=1)
    thigh, shin, upper, fore = bone("hip", "knee"), bone("knee", "ankle"), bone("shoulder", "elbow"), bone("elbow", "wrist")
    trunk = np.linalg.norm(middle("shoulder") - middle("hip"), axis=-1)
    shoulders = np.linalg.norm(joints[:, index("left_shoulder")] - joints[:, index("right_shoulder")], axis=-1)
    return np.stack([stature, thigh / shin, upper / fore, (upper + fore) / (thigh + shin), trunk / (thigh + shin),
                     shoulders / stature], axis=-1)
