"""Keypoint sets of other data sets by name: a posed body in, their points in their order out.

Each point is a mixture of the body's joints and OpenPose keypoints. Data sets put hips, head and spine in places of their
own, tens of millimetres apart. What each name is taken to be here (tools/render_keypoint_sheet.py draws it):

- Limb joints are the body's joint centres in every set.
- `coco17`: eyes, ears and nose are points on the skin, as annotators clicked them; hips are the joint centres, which
  COCO's annotators tend to click higher and further apart.
- `lsp14` (http://sam.johnson.io/research/lsp.html): clicked points too. The neck is its base, half-way from between
  the shoulders to where it meets the skull: others set it equal to MPII's upper neck or to Human3.6M's thorax. The
  head top is the top of the skull, without hair.
- `h36m17`: the captured skeleton's joints. Its published bone lengths (mm: hip 133 beside the pelvis, thigh 443, calf
  454, spine 233 above the pelvis, thorax 257 further, neck/nose 121, head 115, upper arm 279, forearm 252; offsets in
  https://github.com/una-dinosauria/human-motion-prediction, src/forward_kinematics.py), scaled to our limbs, put the
  thorax between the shoulders, neck/nose at the throat below the chin, not on the nose, and the head in the middle of
  the head, some 13 cm under its top; how far forward they are is our judgement. Hips stand further apart than our
  joints.
- `smpl24`: the body's own joints of the same names; hands are the middle knuckles. SMPL's own hips lie some
  centimetres lower and closer together than these anatomical centres.
"""

import numpy as np
import tensorflow as tf

_LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
SMPL_24 = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    ("left_hand", ("left_middle1",)), ("right_hand", ("right_middle1",)))
COCO_17 = (
    ("nose", ("nose",)), ("left_eye", ("keypoint:left_eye",)), ("right_eye", ("keypoint:right_eye",)),
    ("left_ear", ("left_ear",)), ("right_ear", ("right_ear",)),
    *(f"{side}_{limb}" for limb in _LIMBS for side in ("left", "right")))
# The top of the skull from rigid points of the head, fitted on 200 random shapes (mean error 11 mm).
_HEAD_TOP = ("head_top", {"head": -3.29, "left_ear": 1.59, "right_ear": 1.59, "keypoint:left_eye": 0.555,
                          "keypoint:right_eye": 0.555})
_WIDE_HIPS = tuple((f"{side}_hip", {f"{side}_hip": 1.07, f"{other}_hip": -0.07})
                   for side, other in (("right", "left"), ("left", "right")))
_THROAT = ("neck_nose", {"neck": 0.45, "nose": 0.3, "keypoint:neck": 0.25})
_HEAD = ("head", {"head": 0.65, "left_ear": 0.1, "right_ear": 0.1, "keypoint:left_eye": 0.075,
                  "keypoint:right_eye": 0.075})
H36M_17 = (
    ("pelvis", ("left_hip", "right_hip")), _WIDE_HIPS[0], "right_knee", "right_ankle", _WIDE_HIPS[1], "left_knee",
    "left_ankle", ("spine", {"spine1": 0.1, "spine2": 0.9}), ("thorax", ("keypoint:neck",)), _THROAT, _HEAD,
    "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist")
LSP_14 = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
    "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", ("neck", ("neck", "keypoint:neck")), _HEAD_TOP)
SETS = {"smpl24": SMPL_24, "coco17": COCO_17, "h36m17": H36M_17, "lsp14": LSP_14}


def regressor(body, name):
    """Weights of a set over the body's joints and keypoints.

    Args:
        body: `GenerativeBody`.
        name: one of `SETS`.

    Returns:
        `(names, weights)`: the points' names, and float32 `[P, 63 + 137]`, rows sum to 1.

    Raises:
        ValueError: if there is no such set, or the body lacks a point that the set is made of.
    """
    if name not in SETS:
        raise ValueError(f"A keypoint set must be one of {sorted(SETS)}. Received: {name!r}.")
    names, rows = [], []
    for point in SETS[name]:
        point, parts = (point, (point,)) if isinstance(point, str) else point
        shares = parts if isinstance(parts, dict) else {part: 1 / len(parts) for part in parts}
        row = np.zeros(len(body.joint_names) + len(body.keypoint_names), np.float32)
        for part, share in shares.items():
            row[_column(body, part)] += share
        names.append(point)
        rows.append(row)
    return tuple(names), np.stack(rows)


def regress(weights, posed):
    """Points `[B, P, 3]` of a `BodyOutput`, from the weights of `regressor`."""
    return tf.einsum("pn,bnc->bpc", weights, tf.concat([posed.joints, posed.keypoints], axis=1))


def _column(body, part):
    """A joint by name, else a keypoint; `keypoint:` asks for the keypoint where both have the name."""
    if part in body.joint_names:
        return body.joint_names.index(part)
    keypoint = part.replace("keypoint:", "")
    if keypoint not in body.keypoint_names:
        raise ValueError(f"The keypoint sets are made of the body's points: it must have a joint or keypoint {keypoint!r}. "
                         f"Received a body with {len(body.keypoint_names)} keypoints, {body.keypoint_names[:3]} and so on.")
    return len(body.joint_names) + body.keypoint_names.index(keypoint)
