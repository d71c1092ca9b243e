"""Rules that the arrays of a body must keep: nothing out if they do, else an error that says the rule and what came."""

import numpy as np

BODY_JOINTS = (  # the first 22, SMPL's order; theta_b poses all but the pelvis
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist")
BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
FINGERS = ("index", "middle", "ring", "pinky", "thumb")  # order of theta_lh and theta_rh
FINGER_JOINTS = tuple(f"{side}_{finger}{i}" for side in ("left", "right") for finger in FINGERS for i in (1, 2, 3))
_KINDS = {"t": ("text", "U"), "w": ("whole numbers", "iu"), "r": ("real numbers", "fiu")}
_SIZE_RANGE_M = (0.2, 4.0)


def require(holds, rule, received):
    """Raises ValueError with the rule and what came, unless it holds."""
    if not holds:
        raise ValueError(f"Of a body, {rule}. Received: {received}.")


def plain(key, value, kind, rank):
    """The array as it is, or as float32 where it must be real, if its kind, rank and values are allowed."""
    words, kinds = _KINDS[kind]
    optional = key.startswith("twist_")
    require(value.dtype.kind in kinds or (optional and not value.size), f"{key} must hold {words}",
            f"dtype {value.dtype}")
    require(value.ndim == int(rank), f"{key} must have {rank} dimension(s)", f"shape {value.shape}")
    require(value.size or optional, f"{key} must not be empty", f"shape {value.shape}")
    if kind != "r":
        return value
    require(np.all(np.isfinite(value)), f"{key} must be finite",
            f"{np.sum(~np.isfinite(value))} NaN or infinite values")
    return value.astype(np.float32)


def check_joints(arrays):
    """Joints that poses need are there, in their tree; no name comes twice."""
    names = list(map(str, arrays["joint_names"]))
    for key in ("joint_names", "keypoint_names"):
        unique, count = np.unique(arrays[key], return_counts=True)
        require(len(unique) == len(arrays[key]), f"{key} must all differ",
                f"{unique[count > 1].tolist()} more than once")
    require(tuple(names[:22]) == BODY_JOINTS, f"the first 22 joint_names must be {list(BODY_JOINTS)}", names[:22])
    missing = [name for name in FINGER_JOINTS if name not in names]
    require(not missing, "joint_names must hold three joints of each finger", f"none named {missing}")
    parents = arrays["parents"].astype(np.int64)
    require(parents[0] == -1 and np.all(parents[1:] >= 0) and np.all(parents < np.arange(len(parents))),
            "parents must start with -1 and every parent must come before its child", parents.tolist())
    require(tuple(parents[:22]) == BODY_PARENTS, f"the parents of the first 22 joints must be {list(BODY_PARENTS)}",
            parents[:22].tolist())


def check_twists(arrays):
    """Twist bones ride on joints that exist, about unit axes."""
    joints = len(arrays["parents"])
    bones, lengths = arrays["twist_joints"], np.linalg.norm(arrays["twist_axes"], axis=-1)
    require(not bones.size or (bones.min() >= 0 and bones.max() < joints), f"twist_joints must lie in 0..{joints - 1}",
             bones.tolist())
    require(np.all(np.abs(lengths - 1) < 1e-3), "twist_axes must have length 1", lengths.tolist())


def check_frame(arrays):
    """In the T-pose the head is above the pelvis, the left hand at +x and the toes are ahead of the ankles."""
    at = [np.zeros(3)]
    for joint, parent in enumerate(arrays["parents"][1:], 1):
        bone = arrays["joints_template"][joint] - arrays["joints_template"][parent]
        at.append(at[parent] + arrays["rest_rotations"][parent] @ bone)
    at = {name: at[BODY_JOINTS.index(name)] for name in BODY_JOINTS}
    up, across = at["head"] - at["pelvis"], at["left_wrist"] - at["right_wrist"]
    require(up[1] > 0.7 * np.linalg.norm(up), "y must point up: from pelvis to head in the T-pose", up.tolist())
    require(across[0] > 0.7 * np.linalg.norm(across), "x must point to the person's left: from the right wrist to "
            "the left in the T-pose", across.tolist())
    require(at["left_foot"][2] > at["left_ankle"][2], "the person must face +z: left_foot ahead of left_ankle",
             f"foot {at['left_foot'].tolist()}, ankle {at['left_ankle'].tolist()}")


def check_surface(name, vertices, faces):
    """Faces `[F, 3]` are triangles that look outward; the mesh `[V, 3]` is of human size."""
    twice = np.flatnonzero(np.any(faces == np.roll(faces, 1, axis=1), axis=1))
    require(not len(twice), f"{name}_faces must have three different corners", f"{faces[twice[:1]].tolist()}")
    a, b, c = np.moveaxis((vertices - vertices.mean(0)).astype(np.float64)[faces], 1, 0)
    volume = (np.cross(a, b) * c).sum() / 6
    require(volume > 0, f"{name}_faces must run counter-clockwise seen from outside", f"a volume of {volume:.3g} m^3")
    size = np.ptp(vertices, axis=0).max()
    require(_SIZE_RANGE_M[0] < size < _SIZE_RANGE_M[1], "lengths must be metres, "
             f"{name}_vertices {_SIZE_RANGE_M[0]} to {_SIZE_RANGE_M[1]} m from end to end", f"{size:.3g}")
