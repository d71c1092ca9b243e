"""Coarse DensePose labels 1..14 of a body's vertices, from the joints that move them."""

import numpy as np

# 1 torso, 2 right hand, 3 left hand, 4 left foot, 5 right foot, 6 and 7 right and left upper leg, 8 and 9 right and
# left lower leg, 10 and 11 left and right upper arm, 12 and 13 left and right lower arm, 14 head.
HEAD = 14
FEET = {"left": 4, "right": 5}
HANDS = {"left": 3, "right": 2}


def from_skin_weights(names, weights):
    """Labels of vertices: the part whose joints weigh most.

    Args:
        names: names of J joints and twist bones; those of an arm or a leg start with `left_` or `right_`.
        weights: `[V, J]`, rows sum to 1.

    Returns:
        uint8 `[V]` in 1..14.
    """
    label_of = np.array([_label(name) for name in names])
    mass = np.stack([weights[:, label_of == label].sum(1) for label in range(HEAD + 1)], axis=1)
    return mass.argmax(1).astype(np.uint8)


def _label(name):
    side, _, part = name.partition("_")
    left = side == "left"
    if name in ("head", "jaw") or part == "eye":
        return HEAD
    if not part or part == "collar":
        return 1
    if part in ("hip", "upper_leg_twist"):
        return 7 if left else 6
    if part == "knee":
        return 9 if left else 8
    if part in ("ankle", "foot"):
        return FEET["left" if left else "right"]
    if part in ("shoulder", "upper_arm_twist"):
        return 10 if left else 11
    if part in ("elbow", "lower_arm_twist"):
        return 12 if left else 13
    return HANDS["left" if left else "right"]
