"""Landmarks of people's crops in, what the networks of hands and faces say of them out; all people and both hands at once."""

import tensorflow as tf

from hund_tf.whole_body import attention
from hund_tf.whole_body.fusion import PartEstimates, seen_weight
from hund_tf.whole_body.part_state import PartState

_FACE, _HANDS = slice(25, 95), (slice(95, 116), slice(116, 137))


class PartNetworks(tf.Module):
    """The networks of hands and faces of a person.

    Args:
        hand, face: `HundPart` of either kind, with weights.

    Call arguments:
        landmarks: named tuple with `keypoints` `[B, 137, 2]`, pixels of the person's crop, `confidence` and `depths`
            `[B, 137]`.
        shape: `[B, 16]`, of the body.
        intrinsics: `[B, 4]`, of the crops, pixels.
        num_stages: int, M; the networks' if None.

    Returns:
        `PartEstimates`.
    """

    def __init__(self, hand, face):
        super().__init__(name="part_networks")
        self.hand, self.face = hand, face

    def __call__(self, landmarks, shape, intrinsics, num_stages=None):
        def look(kind, part, mirrored=False):
            return attention.look_at(kind, landmarks.keypoints[:, part], landmarks.confidence[:, part],
                                     landmarks.depths[:, part], shape, intrinsics, mirrored)

        views = [look("hand", part, mirrored) for part, mirrored in zip(_HANDS, (False, True))]
        both = tf.nest.map_structure(lambda *x: tf.concat(x, 0), *(view.evidence for view in views))
        found = [PartState(*x) for x in zip(*(tf.split(x, 2) for x in _last_state(self.hand, both, num_stages)))]
        hands = [attention.look_back(view, state) for view, state in zip(views, found)]
        view = look("face", _FACE)
        face = attention.look_back(view, _last_state(self.face, view.evidence, num_stages))
        return PartEstimates(
            theta=tf.stack([hand.codes for hand in hands], 1), expression=face.codes,
            rotation=tf.stack([hands[0].rotation, hands[1].rotation, face.rotation], 1),
            weight=tf.stack([seen_weight(landmarks.confidence[:, part]) for part in (*_HANDS, _FACE)], -1))


def _last_state(network, evidence, num_stages):
    return network(evidence, num_stages).reports[-1].state
