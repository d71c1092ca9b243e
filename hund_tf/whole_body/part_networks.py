"""Landmarks of people's crops in, what the networks of hands and faces say of them out; all people and both hands at once."""

from typing import NamedTuple

import tensorflow as tf

from hund_tf.state import THETA_BODY
from hund_tf.whole_body import attention
from hund_tf.whole_body.fusion import PartEstimates, fuse, seen_weight
from hund_tf.whole_body.part_state import PartState

_FACE, _HANDS = slice(25, 95), (slice(95, 116), slice(116, 137))


class PartLandmarks(NamedTuple):
    """What is seen of B people's hands and faces.

    Attributes:
        keypoints: `[B, 137, 2]`, pixels of the person's crop.
        confidence: `[B, 137]`, 0 where unseen.
        depths: `[B, 137]`, of hands and face: how much farther than any one point of the part, pixels of the crop; all 0 of a
            part: not known.
    """

    keypoints: tf.Tensor
    confidence: tf.Tensor
    depths: tf.Tensor


def part_landmarks(landmarks):
    """`PartLandmarks` of what the first CNN gives, whichever that is: not every one tells depths."""
    depths = landmarks.depths if "depths" in landmarks._fields else tf.zeros_like(landmarks.confidence)
    return PartLandmarks(landmarks.keypoints, landmarks.confidence, depths)


class PartNetworks(tf.Module):
    """The networks of hands and faces of a person.

    Args:
        body: `GenerativeBody` that the parts are put into; its pose codes may be of another prior than theirs.
        hand, face: `HundPart` of either kind, with weights.

    Call arguments:
        landmarks: `PartLandmarks`.
        shape: `[B, 16]`, of the body.
        intrinsics: `[B, 4]`, of the crops, pixels.
        num_stages: int, M; the networks' if None.

    Returns:
        `PartEstimates`.

    Raises:
        ValueError: if the networks are of another body, or of others' codes of shape and expression.
    """

    def __init__(self, body, hand, face):
        super().__init__(name="part_networks")
        for network in (hand, face):
            if (network.body.asset, network.body.codes) != (body.asset, body.codes):
                raise ValueError(f"The network of a {network.config.kind} must be of body {body.coding}. Received: "
                                 f"{network.body.coding}.")
        self.body, self.hand, self.face = body, hand, face

    def complete(self, state, landmarks, intrinsics, num_stages=None):
        """Puts the parts into a `ModelState`: the state of the whole person, and how far each part counted, see `fuse`."""
        return fuse(self.body, state, self(landmarks, state.shape, intrinsics, num_stages))

    def __call__(self, landmarks, shape, intrinsics, num_stages=None):
        def look(kind, part, mirrored=False):
            return attention.look_at(kind, landmarks.keypoints[:, part], landmarks.confidence[:, part],
                                     landmarks.depths[:, part], shape, intrinsics, mirrored)

        views = [look("hand", part, mirrored) for part, mirrored in zip(_HANDS, (False, True))]
        both = tf.nest.map_structure(lambda *x: tf.concat(x, 0), *(view.evidence for view in views))
        found = [PartState(*x) for x in zip(*(tf.split(x, 2) for x in self.hand.solve(both, num_stages)))]
        hands = [attention.look_back(view, state) for view, state in zip(views, found)]
        view = look("face", _FACE)
        face = attention.look_back(view, self.face.solve(view.evidence, num_stages))
        return PartEstimates(
            theta=self._theta([hand.codes for hand in hands]), expression=face.codes,
            rotation=tf.stack([hands[0].rotation, hands[1].rotation, face.rotation], 1),
            place=tf.stack([hand.translation for hand in hands], 1),
            weight=tf.stack([seen_weight(landmarks.confidence[:, part]) for part in (*_HANDS, _FACE)], -1))

    def _theta(self, codes):
        """Codes `[B, 90]` of a left hand, and of a right one seen in a mirror, as those of the body: `[B, 2, 90]`."""
        if self.hand.body.pose_prior != self.body.pose_prior:
            theta = tf.concat([tf.zeros([tf.shape(codes[0])[0], THETA_BODY]), *codes], -1)
            theta = self.body.theta_from_rotations(self.hand.body.rotations_from_theta(theta))
            codes = tf.split(theta[:, THETA_BODY:], 2, axis=-1)
        return tf.stack(codes, 1)
