"""Imports a user's own SMPL-X, SMPL-H or SMPL model: its official `.npz` in, a body of the schema in `template.py` out.

These models are licensed by their owners and none is part of this package. What carries over: mesh, skin weights,
joints, the first 16 shape and 20 expression directions. What does not: pose correctives (`posedirs`), further
directions, and the small change of joints with expression. Letters: V vertices, F faces, J joints, S directions.
"""

import numpy as np

from hund_tf import files
from hund_tf.body import keypoint_transfer, npz, part_labels, rules, surface, template

SHAPE_CODES, EXPRESSION_CODES = 16, 20  # what the networks' state holds
LOW_VERTICES = 1200
_SIDES = ("left", "right")
_FINGERS = tuple(f"{side}_{finger}{i}" for side in _SIDES
                 for finger in ("index", "middle", "pinky", "ring", "thumb") for i in (1, 2, 3))
# Joint names by model, in the order of its arrays.
MODELS = {"SMPL-X": rules.BODY_JOINTS + ("jaw", "left_eye", "right_eye") + _FINGERS,
          "SMPL-H": rules.BODY_JOINTS + _FINGERS,
          "SMPL": rules.BODY_JOINTS + ("left_hand", "right_hand")}
_ROOT_PARENTS = (-1, 2 ** 32 - 1, 2 ** 64 - 1)  # -1 in signed and unsigned types
_SHAPE_SHARE = {400: 300, 20: 10}  # directions of an SMPL-X file -> how many of them are shape, the rest expression
_KEYS = {"v_template": "r2", "f": "w2", "shapedirs": "r3", "J_regressor": "r2", "weights": "r2", "kintree_table": "w2"}
_LANDMARK_KEYS = {"lmk_faces_idx": "w1", "lmk_bary_coords": "r2"}
_LANDMARKS = slice(17, 68)  # of the 68 face points; SMPL-X files place these 51


def import_body(path, output, shape_count=None):
    """Writes a user's model as a body file.

    Args:
        path: str, the model's `.npz`.
        output: str, the `.npz` to write.
        shape_count: int, how many of the file's directions are shape. Defaults to the model's usual share.

    Returns:
        str, one line that says what was imported.

    Raises:
        ValueError: if the file is no such model; the message says the rule.
        FileNotFoundError: if there is no such file.
        ImportError: if the low mesh needs the package `fast-simplification` and it is missing.
    """
    if not output.endswith(".npz"):
        raise ValueError(f"The body must be written to an .npz file. Received: {output}.")
    model = read_model(path, shape_count)
    arrays = body_arrays(model)
    files.write_atomically(output, lambda temporary: np.savez_compressed(temporary, **arrays))
    return (f"{output}: {model['name']}, {len(model['v_template'])} vertices (low mesh {len(arrays['low_vertices'])}), "
            f"{len(arrays['joint_names'])} joints, {min(len(model['shape']), SHAPE_CODES)} shape and "
            f"{min(len(model['expression']), EXPRESSION_CODES)} expression directions, further codes do nothing")


def read_model(path, shape_count=None):
    """Reads and checks a model file; nothing in it is unpickled and arrays without use here are not touched.

    Returns:
        dict of `name`, `joint_names` (J), `parents` `[J]`, `v_template` `[V, 3]`, `f` `[F, 3]`, `weights` `[V, J]`,
        `J_regressor` `[J, V]`, `shape` `[S, V, 3]`, `expression` `[S', V, 3]`, and `landmarks`: None or a pair of
        vertices `[51, 3]` and weights `[51, 3]`.

    Raises:
        ValueError, FileNotFoundError: as `import_body`.
    """
    _refuse_pickles(path)
    data = npz.read_arrays(path, {*_KEYS, *_LANDMARK_KEYS})
    missing = [key for key in _KEYS if key not in data]
    if missing:
        raise ValueError(f"{path} must hold v_template, f, shapedirs, J_regressor, weights and kintree_table as SMPL-X, "
                         f"SMPL-H and SMPL files do. Missing: {missing}.")
    with np.errstate(over="ignore"):
        data = {key: rules.plain(key, value, *{**_KEYS, **_LANDMARK_KEYS}[key]) for key, value in data.items()}
    vertices, joints = len(data["v_template"]), data["weights"].shape[1]
    names = {len(names): name for name, names in MODELS.items()}
    rules.require(joints in names, "the columns of weights must be 55 (SMPL-X), 52 (SMPL-H) or 24 (SMPL) joints",
                  joints)
    name = names[joints]
    for key, shape in (("v_template", (vertices, 3)), ("f", (len(data["f"]), 3)), ("weights", (vertices, joints)),
                       ("J_regressor", (joints, vertices)), ("kintree_table", (2, joints)),
                       ("shapedirs", (vertices, 3, data["shapedirs"].shape[2]))):
        rules.require(data[key].shape == shape, f"{key} must be {list(shape)}", data[key].shape)
    faces = data["f"]
    rules.require(faces.min() >= 0 and faces.max() < vertices, f"f must hold vertex numbers below {vertices}",
                  f"{faces.min()}..{faces.max()}")
    for key, tolerance in (("weights", 0.01), ("J_regressor", 0.05)):
        total = data[key].sum(1)
        rules.require(np.abs(total - 1).max() < tolerance, f"the rows of {key} must sum to 1",
                      f"{total.min():.3f}..{total.max():.3f}")
    rules.require(data["weights"].min() >= 0, "weights must not be negative", data["weights"].min())
    directions = data["shapedirs"].transpose(2, 0, 1)
    share = _shape_count(name, len(directions), shape_count)
    return {"name": name, "joint_names": MODELS[name], "parents": _parents(name, data["kintree_table"]),
            "v_template": data["v_template"], "f": faces.astype(np.int64), "J_regressor": data["J_regressor"],
            "weights": data["weights"] / data["weights"].sum(1, keepdims=True),
            "shape": directions[:share], "expression": directions[share:], "landmarks": _landmarks(data)}


def body_arrays(model, low_vertices=LOW_VERTICES):
    """Arrays of the body schema, checked, from what `read_model` returns; pose priors are the packaged body's."""
    names, parents = list(model["joint_names"]), list(model["parents"])
    shape, expression = _fixed(model["shape"], SHAPE_CODES), _fixed(model["expression"], EXPRESSION_CODES)
    joints, joints_shape = model["J_regressor"] @ model["v_template"], model["J_regressor"] @ shape
    vertices, shape = model["v_template"] - joints[0], shape - joints_shape[:, :1]
    joints, joints_shape = joints - joints[0], joints_shape - joints_shape[:, :1]
    rules.check_surface("full", vertices, model["f"])
    rules.check_frame({"parents": parents, "joints_template": joints,
                       "rest_rotations": np.tile(np.eye(3), (len(names), 1, 1))})
    for finger in rules.FINGER_JOINTS:  # SMPL has none: they stay at the hand and move nothing
        if finger not in names:
            hand, chain = names.index(finger.split("_")[0] + "_hand"), finger[:-1] + str(int(finger[-1]) - 1)
            parents.append(names.index(chain) if chain in names else hand)
            names.append(finger)
            joints = np.concatenate([joints, joints[hand:hand + 1]])
            joints_shape = np.concatenate([joints_shape, joints_shape[:, hand:hand + 1]], axis=1)
    weights = np.pad(model["weights"], [(0, 0), (0, len(names) - model["weights"].shape[1])])
    full = {"vertices": vertices, "faces": model["f"], "shape": shape, "expression": expression, "weights": weights,
            "labels": part_labels.from_skin_weights(names, weights)}
    packaged = template.find_body()
    source = template.load_template(packaged)
    target = {**full, "joint_names": names, "joints": joints, "real_joints": set(model["joint_names"]), "landmarks": {}}
    if model["landmarks"] is not None:
        face = [name for name in source.keypoint_names if name.startswith("face_")][_LANDMARKS]
        target["landmarks"] = dict(zip(face, zip(*model["landmarks"])))
    arrays = {
        "joint_names": np.array(names), "parents": np.array(parents, np.int16), "joints_template": joints,
        "joints_shape": joints_shape, "rest_rotations": np.tile(np.eye(3, dtype=np.float32), (len(names), 1, 1)),
        "twist_joints": np.zeros((0, 3), np.int16), "twist_axes": np.zeros((0, 3), np.float32),
        "twist_signs": np.zeros(0, np.float32), **keypoint_transfer.transferred(source, target),
        **{key: value for key, value in npz.read_arrays(packaged).items() if key.startswith("pose_")}}
    for name, mesh in (("full", full), ("low", _low(full, names, low_vertices))):
        arrays.update({f"{name}_{key}": value for key, value in _packed(mesh).items()})
    template.template_from_arrays(arrays)
    return arrays


def _refuse_pickles(path):
    with open(path, "rb") as file:
        start = file.read(1)
    if start == b"\x80" or str(path).endswith((".pkl", ".pickle")):
        raise ValueError(
            f"{path} must be an .npz file; a pickle can run any code when it is opened, so it is not. SMPL-X and SMPL-H "
            "are offered as .npz by their owners. Convert other files in an environment of your own where you trust them: "
            f"load the pickle there and call np.savez(\"model.npz\", ...) with dense arrays {', '.join(_KEYS)}. Received: a "
            "pickle.")


def _parents(name, kintree):
    """Parents `[J]`, checked, since joint names hang on them: the first row, whose root has -1 as some integer type."""
    expected = list(rules.BODY_PARENTS)
    for joint in MODELS[name][len(expected):]:
        side, _, part = joint.partition("_")
        first = part == "hand" or part.endswith("1")
        above = "head" if part in ("", "eye") else f"{side}_wrist" if first else f"{joint[:-1]}{int(joint[-1]) - 1}"
        expected.append(MODELS[name].index(above))
    received = kintree[0].tolist()
    rules.require(received[0] in _ROOT_PARENTS and received[1:] == expected[1:],
                  f"the first row of kintree_table must be the parents of {name}'s joints, {expected}", received)
    rules.require(kintree[1].tolist() == list(range(len(expected))),
                  "the second row of kintree_table must count the joints",
                  kintree[1].tolist())
    return expected


def _shape_count(name, directions, shape_count):
    if shape_count is None and name == "SMPL-X":
        rules.require(directions in _SHAPE_SHARE, "shapedirs of SMPL-X must be 300 shape and 100 expression directions "
                      "or 10 and 10 (otherwise say how many are shape)", directions)
        return _SHAPE_SHARE[directions]
    shape_count = directions if shape_count is None else shape_count
    rules.require(1 <= shape_count <= directions, f"the number of shape directions must lie in 1..{directions}",
                  shape_count)
    return shape_count


def _landmarks(data):
    present = [key for key in _LANDMARK_KEYS if key in data]
    if not present:
        return None
    rules.require(len(present) == 2, "lmk_faces_idx and lmk_bary_coords must come together", present)
    faces, weights = data["lmk_faces_idx"], data["lmk_bary_coords"]
    rules.require(faces.shape == (51,) and weights.shape == (51, 3),
                  "lmk_faces_idx must be [51] and lmk_bary_coords [51, 3]", f"{faces.shape}, {weights.shape}")
    rules.require(faces.min() >= 0 and faces.max() < len(data["f"]), f"lmk_faces_idx must lie below {len(data['f'])}",
                  f"{faces.min()}..{faces.max()}")
    total = weights.sum(1)
    rules.require(np.abs(total - 1).max() < 1e-2, "the rows of lmk_bary_coords must sum to 1",
                  f"{total.min():.3f}..{total.max():.3f}")
    return data["f"][faces], weights / total[:, None]


def _fixed(directions, count):
    """The first `count` directions `[count, V, 3]`; missing ones are zero."""
    return np.pad(directions[:count], [(0, max(0, count - len(directions))), (0, 0), (0, 0)])


def _low(full, names, vertex_count):
    vertices, faces = surface.coarse_copy(full["vertices"], full["faces"], vertex_count)
    skin = surface.largest_part(full["faces"], len(full["vertices"]))
    at = surface.nearest_points(vertices, full["vertices"], skin)
    weights = surface.mix(full["weights"], *at)
    return {"vertices": vertices, "faces": faces, "shape": surface.mix(full["shape"], *at),
            "expression": surface.mix(full["expression"], *at), "weights": weights,
            "labels": part_labels.from_skin_weights(names, weights)}


def _packed(mesh):
    """Storage types; every weight that is not zero is kept."""
    count = (mesh["weights"] > 0).sum(1).max()
    order = np.argsort(-mesh["weights"], axis=1, kind="stable")[:, :count]
    small = np.uint16 if len(mesh["vertices"]) < 2 ** 16 else np.uint32
    return {"vertices": mesh["vertices"].astype(np.float32), "faces": mesh["faces"].astype(small),
            "shape": mesh["shape"].astype(np.float32), "expression": mesh["expression"].astype(np.float32),
            "part_labels": mesh["labels"], "skin_joints": order.astype(np.uint8),
            "skin_weights": np.take_along_axis(mesh["weights"], order, axis=1).astype(np.float32)}
