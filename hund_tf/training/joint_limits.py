"""Whether joints bend as people's joints do: local rotations of the first 22 joints in, a verdict for each joint out.

Limits are the passive range of motion of healthy adults (Norkin and White, Measurement of Joint Motion, 5th edition, and the
reference values of the American Academy of Orthopaedic Surgeons) in degrees, widened by `SLACK`. Motion capture spreads a turn
over the joints of the spine as it likes: their product is judged, as `spine3`.
"""

import warnings

import numpy as np
from scipy.spatial.transform import Rotation

SLACK = 15.0  # degrees
# joint: order of intrinsic turns, then (low, high) of each. Left side; the right side is the mirror image.
_TURNS = {
    # flexion is -x at the hip, +x at the knee; then to the side; then about the leg
    "hip": ("XZY", (-135, 30), (-35, 60), (-60, 60)),
    "knee": ("XZY", (0, 155), (-15, 15), (-40, 40)),
    "ankle": ("XZY", (-30, 55), (-35, 35), (-40, 40)),
    "foot": ("XZY", (-70, 45), (-20, 20), (-20, 20)),
    # flexion is -y at the left elbow; the forearm turns about x
    "elbow": ("YZX", (-155, 5), (-20, 20), (-100, 100)),
    "wrist": ("ZYX", (-85, 80), (-40, 40), (-100, 100)),
    "collar": ("ZYX", (-25, 45), (-35, 35), (-35, 35)),
    "neck": ("XZY", (-45, 45), (-35, 35), (-60, 60)),
    "head": ("XZY", (-45, 45), (-35, 35), (-60, 60)),
}
# The upper arm reaches this far, degrees, from a direction half forward and half to the side, and turns this far about itself.
_SHOULDER_CENTRE, _SHOULDER_REACH, _SHOULDER_TWIST = np.array([0.75, -0.1, 0.65]), 125.0, 120.0
_SPINE = ("spine1", "spine2", "spine3")
_SPINE_TURNS = ("XZY", (-30, 95), (-40, 40), (-50, 50))
_MIRROR = np.array([[1.0, -1.0, -1.0], [-1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])


def within_limits(local_rotations, names, slack=SLACK):
    """Which joints are within their limits.

    Args:
        local_rotations: `[N, J, 3, 3]`, identity in the T-pose.
        names: J names as the body has them; those without limits here count as within.
        slack: float, degrees.

    Returns:
        bool `[N, J]`.
    """
    local_rotations = np.asarray(local_rotations, np.float64)
    result = np.ones(local_rotations.shape[:2], bool)
    for j, name in enumerate(names):
        side, _, part = name.partition("_")
        turns = local_rotations[:, j] * (_MIRROR if side == "right" else 1.0)
        part = (part or name).rstrip("123")
        if part == "shoulder":
            result[:, j] = _shoulder(turns, slack)
        elif name == _SPINE[-1]:
            first, second, third = (local_rotations[:, names.index(part)] for part in _SPINE)
            result[:, j] = _between(first @ second @ third, _SPINE_TURNS, slack)
        elif part in _TURNS:
            result[:, j] = _between(turns, _TURNS[part], slack)
    return result


def _between(turns, rule, slack):
    order, *limits = rule
    low, high = np.array(limits).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a middle turn of 90 degrees, which is out of every limit
        angles = Rotation.from_matrix(turns).as_euler(order, degrees=True)
    return np.all((angles >= low - slack) & (angles <= high + slack), axis=1)


def _shoulder(turns, slack):
    direction = turns[:, :, 0]  # where the left arm, +x at rest, points
    cosine = direction @ (_SHOULDER_CENTRE / np.linalg.norm(_SHOULDER_CENTRE))
    reach = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    x, _, _, w = Rotation.from_matrix(turns).as_quat().T
    twist = np.degrees(2 * np.arctan2(x, w))
    twist = np.abs((twist + 180) % 360 - 180)
    return (reach <= _SHOULDER_REACH + slack) & (twist <= _SHOULDER_TWIST + slack)
