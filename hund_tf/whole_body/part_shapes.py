"""Codes of a hand or a face and a body shape in, its keypoints about its root out."""

import tensorflow as tf

from hund_tf.config import PARTS
from hund_tf.geometry import rotations
from hund_tf.state import EXPRESSION, THETA_HAND

HAND, FACE = PARTS
_ROOTS = {HAND: "left_wrist", FACE: "head"}
_KEYPOINTS = {HAND: slice(95, 116), FACE: slice(25, 95)}
_SIZES = {HAND: 0.2, FACE: 0.2}  # metres: what fills a crop by default


class PartShape:
    """Keypoints of a left hand, or of a face, of a `GenerativeBody` in the T-pose.

    A right hand is the mirror image of a left one.

    Args:
        body: `GenerativeBody`.
        kind: "hand" or "face".

    Attributes:
        num_codes: int, C: 90 of a hand (theta_lh), 20 of a face (expression).
        num_keypoints: int, N: 21 or 70, OpenPose order.
        reference_size: float, metres.

    Call arguments:
        codes: `[B, C]`.
        shape: `[B, 16]`, of the body.

    Returns:
        `[B, N, 3]`, metres, in the part's frame: that of the T-pose, the root (wrist, head joint) at 0.

    Raises:
        ValueError: if there is no such part.
    """

    def __init__(self, body, kind):
        if kind not in PARTS:
            raise ValueError(f"`kind` must be one of {PARTS}. Received: {kind!r}.")
        self.kind, self._body = kind, body
        self.num_codes = THETA_HAND if kind == HAND else EXPRESSION
        self.num_keypoints = _KEYPOINTS[kind].stop - _KEYPOINTS[kind].start
        self.reference_size = _SIZES[kind]
        self._root = body.joint_names.index(_ROOTS[kind])
        fingers = body.finger_joints("left")
        self._order = [len(fingers) if j not in fingers else list(fingers).index(j) for j in range(len(body.joint_names))]

    def __call__(self, codes, shape):
        batch = tf.shape(codes)[0]
        still = tf.tile(tf.eye(3)[None, None], [batch, 1, 1, 1])
        if self.kind == HAND:
            turned = self._body.pose_flow_left_hand.forward(codes)
            turned = rotations.matrix_from_6d(tf.reshape(turned, [-1, THETA_HAND // 6, 6]))
            local = tf.gather(tf.concat([turned, still], 1), self._order, axis=1)
            expression = tf.zeros([batch, EXPRESSION])
        else:
            local, expression = tf.tile(still, [1, len(self._order), 1, 1]), codes
        upright = tf.tile(tf.constant([rotations.IDENTITY_6D]), [batch, 1])
        posed = self._body.pose_from_rotations(local, shape, expression, upright, tf.zeros([batch, 3]), mesh=None)
        return posed.keypoints[:, _KEYPOINTS[self.kind]] - posed.joints[:, self._root, None]
