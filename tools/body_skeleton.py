"""The body's 63 joints from MakeHuman's default rig: names, parents, merged weights, T-pose, part labels."""

import numpy as np

from hund_tf.body import part_labels as body_part_labels

_FINGERS = ("index", "middle", "ring", "pinky", "thumb")
_CORE = (  # joint, parent; the first 22 in the order of the motion capture
    ("pelvis", None), ("left_hip", "pelvis"), ("right_hip", "pelvis"), ("spine1", "pelvis"),
    ("left_knee", "left_hip"), ("right_knee", "right_hip"), ("spine2", "spine1"), ("left_ankle", "left_knee"),
    ("right_ankle", "right_knee"), ("spine3", "spine2"), ("left_foot", "left_ankle"), ("right_foot", "right_ankle"),
    ("neck", "spine3"), ("left_collar", "spine3"), ("right_collar", "spine3"), ("head", "neck"),
    ("left_shoulder", "left_collar"), ("right_shoulder", "right_collar"), ("left_elbow", "left_shoulder"),
    ("right_elbow", "right_shoulder"), ("left_wrist", "left_elbow"), ("right_wrist", "right_elbow"),
    ("jaw", "head"), ("left_eye", "head"), ("right_eye", "head"))


def _hand(side):
    rows = [(f"{side}_{finger}_metacarpal", f"{side}_wrist") for finger in _FINGERS[:4]]
    for finger in _FINGERS:
        root = f"{side}_wrist" if finger == "thumb" else f"{side}_{finger}_metacarpal"
        chain = [root] + [f"{side}_{finger}{i}" for i in (1, 2, 3)]
        rows += list(zip(chain[1:], chain[:-1]))
    return rows


_TABLE = _CORE + tuple(_hand("left")) + tuple(_hand("right"))
JOINT_NAMES = tuple(name for name, _ in _TABLE)
PARENTS = np.array([-1] + [JOINT_NAMES.index(parent) for _, parent in _TABLE[1:]], np.int16)
# Twist bones follow a share of their joint's twist only, so that skin does not wring at shoulder, hip and wrist.
# name: (joint it rides on, twist of `to` relative to `from`, share)
TWISTS = {
    f"{side}_{name}": tuple(f"{side}_{j}" if j != "pelvis" else j for j in joints) + (share,)
    for side in ("left", "right") for name, joints, share in (
        ("upper_arm_twist", ("shoulder", "collar", "shoulder"), -0.5),
        ("lower_arm_twist", ("elbow", "elbow", "wrist"), 0.5),
        ("upper_leg_twist", ("hip", "pelvis", "hip"), -0.5))}
_TWIST_END = {"shoulder": "elbow", "elbow": "wrist", "hip": "knee"}
SKIN_NAMES = JOINT_NAMES + tuple(TWISTS)

_BODY_BONES = {  # rig bone -> our joints (".L" and ".R" follow by side)
    "root": "pelvis", "pelvis": "pelvis", "spine05": "pelvis", "spine04": "spine1", "spine03": "spine1",
    "spine02": "spine2", "spine01": "spine3", "breast": "spine3", "neck01": "neck", "neck02": "neck",
    "neck03": "neck", "jaw": "jaw", "eye": "{side}_eye", "clavicle": "{side}_collar", "shoulder01": "{side}_collar",
    "upperarm01": "{side}_upper_arm_twist", "upperarm02": "{side}_shoulder", "lowerarm01": "{side}_elbow",
    "lowerarm02": "{side}_lower_arm_twist", "wrist": "{side}_wrist", "upperleg01": "{side}_upper_leg_twist",
    "upperleg02": "{side}_hip", "lowerleg01": "{side}_knee", "lowerleg02": "{side}_knee", "foot": "{side}_ankle"}
_JAW_BONES = ("special04", "oris01", "oris02", "oris06", "oris07", "tongue")  # `oris06.L` hangs from the jaw too
_MIXED = {"neck02": ("head", 0.3), "neck03": ("head", 0.6)}  # share that goes to a second joint
_HEADS = {  # joint -> rig bone that starts there
    "pelvis": "spine05", "spine1": "spine04", "spine2": "spine02", "spine3": "spine01", "neck": "neck01",
    "head": "head", "jaw": "jaw", "hip": "upperleg01", "knee": "lowerleg01", "ankle": "foot", "collar": "clavicle",
    "shoulder": "upperarm01", "elbow": "lowerarm01", "wrist": "wrist", "eye": "eye"}


def joint_sources(rig):
    """Base-mesh vertices whose mean is each joint, by joint name."""
    sources = {}
    for joint in JOINT_NAMES:
        side, _, part = joint.partition("_")
        end = "." + side[0].upper() if part else ""
        part = part or joint
        if part == "foot":
            sources[joint] = [v for toe in range(1, 6) for v in rig.head(f"toe{toe}-1{end}")]
        elif part.endswith("metacarpal"):
            sources[joint] = rig.head(f"metacarpal{_FINGERS.index(part.split('_')[0]) + 1}{end}")
        elif part[:-1] in _FINGERS:
            number = (_FINGERS.index(part[:-1]) + 1) % 5 + 1  # the rig counts from the thumb
            sources[joint] = rig.head(f"finger{number}-{part[-1]}{end}")
        else:
            sources[joint] = rig.head(_HEADS[part] + end)
    return sources


def skin_weights(rig, vertex_count):
    """Weights `[vertex_count, 69]` over joints and twist bones, rows sum to 1."""
    weights = np.zeros((vertex_count, len(SKIN_NAMES)))
    for bone, rows in rig.weights.items():
        if not rows:
            continue
        vertex, weight = np.array(rows, np.float64).T
        for joint, share in _targets(bone):
            np.add.at(weights[:, SKIN_NAMES.index(joint)], vertex.astype(int), weight * share)
    return weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)


def _targets(bone):
    part, _, letter = bone.partition(".")
    side = {"L": "left", "R": "right", "": ""}[letter]
    if part in _MIXED:
        joint, share = _MIXED[part]
        return [(_BODY_BONES[part], 1 - share), (joint, share)]
    if part in _BODY_BONES:
        return [(_BODY_BONES[part].format(side=side), 1.0)]
    if part.startswith("toe"):
        return [(f"{side}_foot", 1.0)]
    if part.startswith("metacarpal"):
        return [(f"{side}_{_FINGERS[int(part[-1]) - 1]}_metacarpal", 1.0)]
    if part.startswith("finger"):
        return [(f"{side}_{_FINGERS[(int(part[6]) - 2) % 5]}{part[-1]}", 1.0)]
    return [("jaw" if part.startswith(_JAW_BONES) else "head", 1.0)]


def rest_rotations(joints):
    """Global rotations `[63, 3, 3]` that carry the template's joints `[63, 3]` into the T-pose.

    In the T-pose the arms lie along x with the palms down and straight fingers, the legs hang straight
    and the feet point along z; spine, neck, head and collars stay as the template has them.
    """
    at = {name: joints[i] for i, name in enumerate(JOINT_NAMES)}
    rest = {name: np.eye(3) for name in JOINT_NAMES}
    for side, x in (("left", 1.0), ("right", -1.0)):
        def aim(joint, end, target, start, side=side):
            direction = at[f"{side}_{end}"] - at[f"{side}_{joint}"]
            rest[f"{side}_{joint}"] = _swing(start @ direction, np.array(target)) @ start
            return rest[f"{side}_{joint}"]

        leg = aim("hip", "knee", (0, -1, -0.007), np.eye(3))
        aim("knee", "ankle", (0, -0.997, -0.08), leg)
        toes = at[f"{side}_foot"] - at[f"{side}_ankle"]
        foot = _swing(toes * [1, 0, 1], np.array([0, 0, 1.0]))
        rest[f"{side}_ankle"] = rest[f"{side}_foot"] = foot
        arm = aim("shoulder", "elbow", (x, 0, -0.017), np.eye(3))
        aim("elbow", "wrist", (x, 0, 0.017), arm)
        along = at[f"{side}_middle1"] - at[f"{side}_wrist"]
        across = at[f"{side}_index1"] - at[f"{side}_pinky1"]
        hand = _frame(np.array([x, 0, 0]), np.array([0, 0, 1.0])) @ _frame(along, across).T
        rest[f"{side}_wrist"] = hand
        for finger, z in zip(_FINGERS[:4], (0.0, -0.047, -0.036, -0.068)):
            rest[f"{side}_{finger}_metacarpal"] = start = hand
            for i in (1, 2):
                start = aim(f"{finger}{i}", f"{finger}{i + 1}", (x, 0, z), start)
            rest[f"{side}_{finger}3"] = start
        start = aim("thumb1", "thumb2", (0.795 * x, -0.446, 0.411), hand)
        rest[f"{side}_thumb3"] = aim("thumb2", "thumb3", (0.795 * x, -0.446, 0.411), start)
    return np.stack([rest[name] for name in JOINT_NAMES])


def twist_bones(joints):
    """Twist bones as arrays: joint ridden, from, to `[6]`, template axes `[6, 3]`, shares `[6]`."""
    rows, axes, shares = [], [], []
    for base, start, end, share in TWISTS.values():
        side, part = base.split("_")
        tail = joints[JOINT_NAMES.index(f"{side}_{_TWIST_END[part]}")]
        axis = tail - joints[JOINT_NAMES.index(base)]
        rows.append([JOINT_NAMES.index(name) for name in (base, start, end)])
        axes.append(axis / np.linalg.norm(axis))
        shares.append(share)
    return np.array(rows, np.int16), np.array(axes), np.array(shares)


def part_labels(weights):
    """DensePose-like labels 1..14 of vertices from their weights `[V, 69]`."""
    return body_part_labels.from_skin_weights(SKIN_NAMES, weights)


def _swing(source, target):
    """The smallest rotation that turns direction `source` into direction `target`."""
    a, b = source / np.linalg.norm(source), target / np.linalg.norm(target)
    v, c = np.cross(a, b), a @ b
    skew = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + c)


def _frame(along, across):
    """Columns: `along`, the part of `across` at right angles to it, their cross product."""
    x = along / np.linalg.norm(along)
    y = across - (across @ x) * x
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)
