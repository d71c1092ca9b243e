"""Reads a body from an `.npz` file and checks it against the schema: a path in, a `BodyTemplate` out.

Any body that keeps the schema can take the place of the packaged one. Letters: J joints, K twist bones, V vertices,
F faces, P keypoints, S shape and E expression codes. All lengths in metres; y up, the person facing +z, left at +x.
Every rule stands in docs/bodies.md.

| array | shape | what |
|---|---|---|
| `joint_names`, `parents` | J | parents come before their children; -1 for the first joint, the pelvis |
| `joints_template`, `joints_shape` | J x 3, S x J x 3 | joints of the mean body and their change with shape; pelvis at 0 |
| `rest_rotations` | J x 3 x 3 | global rotations that carry the template into the T-pose |
| `twist_joints`, `twist_axes`, `twist_signs` | K x 3, K x 3, K | bones that ride on a joint and add or take away half of the twist between two joints |
| `full_*`, `low_*`: `vertices`, `faces`, `part_labels` | V x 3, F x 3, V | faces counter-clockwise from outside; labels 1..14 |
| ... `shape`, `expression` | S x V x 3, E x V x 3 | change per unit of code |
| ... `skin_joints`, `skin_weights` | V x N | columns are the J joints, then the K twist bones |
| `keypoint_names`, `keypoint_joints`, `keypoint_vertices`, `keypoint_vertex_weights` | P, P x J, P x C, P x C | keypoints as mixtures of joints and of vertices of the full mesh |
| `pose_{body,left_hand,right_hand}_{mean,factor}` | D, D x D | affine pose prior of 6D rotations |

Optional arrays, learned priors on top of these (`learned_priors.py`; all of a group or none):

| array | shape | what |
|---|---|---|
| `pose_{body,hand}_flow_orders` | C x D | places that the numbers change to after each of C couplings; the hand's serves both sides |
| ... `weights0`, `bias0`, `weights1`, ... | C x I x O, C x O | dense layers of each coupling's network |
| `{shape,expression}_vae_{encoder,decoder}_weights0`, `_bias0`, ... | I x O, O | dense layers between codes and the S or E components |
| ... `_encoder_skip`, `_decoder_skip` | P x Z, Z x P | linear parts |
"""

import hashlib
import json
import os
from typing import NamedTuple

import numpy as np

from hund_tf.body import learned_priors, npz, rules
from hund_tf.body.rules import require as _require

ASSETS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "assets", "body")
DEFAULT_BODY = "makehuman"
MESHES = ("full", "low")
POSE_PARTS = ("body", "left_hand", "right_hand")
MAX_PART_LABEL = 14
_PRIOR_SIZES = {"body": 126, "left_hand": 90, "right_hand": 90}
# Array: kind (t text, w whole numbers, r real numbers) and rank.
_KEYS = {"joint_names": "t1", "parents": "w1", "joints_template": "r2", "joints_shape": "r3", "rest_rotations": "r3",
         "twist_joints": "w2", "twist_axes": "r2", "twist_signs": "r1", "keypoint_names": "t1", "keypoint_joints": "r2",
         "keypoint_vertices": "w2", "keypoint_vertex_weights": "r2"}
_MESH_KEYS = {"vertices": "r2", "faces": "w2", "shape": "r3", "expression": "r3", "skin_joints": "w2", "skin_weights": "r2",
              "part_labels": "w1"}
_PRIOR_KEYS = {"mean": "r1", "factor": "r2"}


class MeshTemplate(NamedTuple):
    """One mesh of a body; see the module's table.

    `skin_weights` is dense here: `[V, J + K]`.
    """

    vertices: np.ndarray
    faces: np.ndarray
    shape: np.ndarray
    expression: np.ndarray
    skin_weights: np.ndarray
    part_labels: np.ndarray


class BodyTemplate(NamedTuple):
    """A checked body; see the module's table.

    `pose_priors` maps a pose part to (mean, factor), `pose_flows` to (orders, networks), `vaes` maps "shape" and
    "expression" to (encoder, decoder, encoder skip, decoder skip); the last two are empty where the file has none.
    """

    joint_names: tuple
    parents: np.ndarray
    joints_template: np.ndarray
    joints_shape: np.ndarray
    rest_rotations: np.ndarray
    twist_joints: np.ndarray
    twist_axes: np.ndarray
    twist_signs: np.ndarray
    keypoint_names: tuple
    keypoint_joints: np.ndarray
    keypoint_vertices: np.ndarray
    keypoint_vertex_weights: np.ndarray
    meshes: dict
    pose_priors: dict
    pose_flows: dict
    vaes: dict


def find_body(name_or_path=None):
    """The path of a body: a file, or the name of a packaged one (None: the default).

    Raises:
        FileNotFoundError: if there is none; lists every place searched.
    """
    name = DEFAULT_BODY if name_or_path is None else str(name_or_path)
    places = [name, os.path.join(ASSETS, name), os.path.join(ASSETS, name + ".npz")]
    for place in places:
        if os.path.isfile(place):
            return place
    raise FileNotFoundError(f"No body {name!r}. Searched: {', '.join(places)}. `python tools/build_body.py --help` says "
                            "how to make one.")


def load_template(path):
    """Reads and checks a body.

    Args:
        path: str, an `.npz` file of the schema above. A `.json` of the same name beside it may hold its sha256.

    Returns:
        `BodyTemplate`, float32.

    Raises:
        ValueError: if an array is missing or breaks a rule, or the file is not the one its checksum was made of.
    """
    _check_digest(path)
    return template_from_arrays(npz.read_arrays(path))


def template_from_arrays(arrays):
    """Checks a dict of the schema's arrays; see `load_template`."""
    needed = {**_KEYS, **{f"{mesh}_{key}": kind for mesh in MESHES for key, kind in _MESH_KEYS.items()},
              **{f"pose_{part}_{key}": kind for part in POSE_PARTS for key, kind in _PRIOR_KEYS.items()}}
    missing = [key for key in needed if key not in arrays]
    if missing:
        raise ValueError(f"A body must hold every array of the schema. Missing: {missing}.")
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused as infinite below
        arrays = {key: value.astype(np.float32) if value.dtype.kind == "f" else value for key, value in arrays.items()}
    arrays.update({key: rules.plain(key, arrays[key], *kind) for key, kind in needed.items()})
    joints, bones = len(arrays["joint_names"]), len(arrays["twist_joints"])
    shape_codes, points = len(arrays["joints_shape"]), len(arrays["keypoint_names"])
    _check_shape(arrays, "parents", (joints,))
    _check_shape(arrays, "joints_template", (joints, 3))
    _check_shape(arrays, "joints_shape", (shape_codes, joints, 3))
    _check_shape(arrays, "rest_rotations", (joints, 3, 3))
    _check_shape(arrays, "twist_joints", (bones, 3))
    _check_shape(arrays, "twist_axes", (bones, 3))
    _check_shape(arrays, "twist_signs", (bones,))
    _check_shape(arrays, "keypoint_joints", (points, joints))
    rules.check_joints(arrays)
    parents = arrays["parents"].astype(np.int32)
    rest = arrays["rest_rotations"]
    worst = np.abs(rest @ rest.transpose(0, 2, 1) - np.eye(3)).max()
    _require(worst < 1e-3 and np.all(np.linalg.det(rest) > 0), "rest_rotations must be rotations",
             f"R R^T - 1 up to {worst:.3g}")
    _require(np.abs(arrays["joints_template"][0]).max() < 1e-4 and np.abs(arrays["joints_shape"][:, 0]).max() < 1e-4,
             "the pelvis must lie at the origin for every shape", arrays["joints_template"][0].tolist())
    rules.check_twists(arrays)
    rules.check_frame(arrays)
    meshes = {name: _mesh(arrays, name, joints + bones, shape_codes) for name in MESHES}
    codes = {name: len(mesh.expression) for name, mesh in meshes.items()}
    _require(len(set(codes.values())) == 1, "both meshes must have the same number of expression codes", codes)
    _check_keypoints(arrays, points, len(meshes["full"].vertices))
    priors = {}
    for part in POSE_PARTS:
        mean, factor = arrays[f"pose_{part}_mean"], arrays[f"pose_{part}_factor"]
        _check_shape(arrays, f"pose_{part}_mean", (_PRIOR_SIZES[part],))
        _check_shape(arrays, f"pose_{part}_factor", (len(mean), len(mean)))
        _require(np.linalg.cond(factor) < 1e6, f"pose_{part}_factor must be invertible", f"condition {np.linalg.cond(factor):.3g}")
        priors[part] = (mean, factor)
    return BodyTemplate(
        tuple(map(str, arrays["joint_names"])), parents, arrays["joints_template"], arrays["joints_shape"], rest,
        arrays["twist_joints"].astype(np.int32), arrays["twist_axes"], arrays["twist_signs"],
        tuple(map(str, arrays["keypoint_names"])), arrays["keypoint_joints"],
        arrays["keypoint_vertices"].astype(np.int32), arrays["keypoint_vertex_weights"], meshes, priors,
        learned_priors.read_pose_flows(arrays, POSE_PARTS),
        learned_priors.read_vaes(arrays, {"shape": shape_codes, "expression": codes["full"]}))


def _mesh(arrays, name, skin_columns, shape_codes):
    get = {key: arrays[f"{name}_{key}"] for key in _MESH_KEYS}
    count = len(get["vertices"])
    _check_shape(arrays, f"{name}_vertices", (count, 3))
    _check_shape(arrays, f"{name}_shape", (shape_codes, count, 3))
    _check_shape(arrays, f"{name}_expression", (len(get["expression"]), count, 3))
    _check_shape(arrays, f"{name}_part_labels", (count,))
    _check_shape(arrays, f"{name}_skin_weights", get["skin_joints"].shape)
    faces, labels = get["faces"], get["part_labels"]
    _require(faces.shape[1] == 3 and faces.min() >= 0 and faces.max() < count,
             f"{name}_faces must be [F, 3] vertex numbers below {count}", f"{faces.shape}, {faces.min()}..{faces.max()}")
    rules.check_surface(name, get["vertices"], faces)
    _require(labels.min() >= 1 and labels.max() <= MAX_PART_LABEL, f"{name}_part_labels must lie in 1..{MAX_PART_LABEL}",
             f"{labels.min()}..{labels.max()}")
    columns, weights = get["skin_joints"], get["skin_weights"]
    _require(len(columns) == count, f"{name}_skin_joints must be [{count}, N]", columns.shape)
    _require(columns.min() >= 0 and columns.max() < skin_columns, f"{name}_skin_joints must lie below {skin_columns} and not "
             "below 0", f"{columns.min()}..{columns.max()}")
    columns = columns.astype(np.int64)
    total = weights.sum(1, keepdims=True)
    _require(weights.min() >= 0 and np.abs(total - 1).max() < 1e-2, f"{name}_skin_weights must be positive and sum to 1",
             f"sums {total.min():.3f}..{total.max():.3f}")
    dense = np.zeros((count, skin_columns), np.float32)
    np.add.at(dense, (np.arange(count)[:, None], columns), weights / total)
    return MeshTemplate(get["vertices"], faces.astype(np.int32), get["shape"], get["expression"], dense,
                        labels.astype(np.int32))


def _check_keypoints(arrays, points, vertex_count):
    corners = arrays["keypoint_vertices"]
    _require(len(corners) == points and corners.min() >= 0 and corners.max() < vertex_count,
             f"keypoint_vertices must be [{points}, C] vertex numbers below {vertex_count} and not below 0",
             f"{corners.shape}, {corners.min()}..{corners.max()}")
    _check_shape(arrays, "keypoint_vertex_weights", corners.shape)
    total = arrays["keypoint_joints"].sum(1) + arrays["keypoint_vertex_weights"].sum(1)
    _require(np.abs(total - 1).max() < 1e-3, "the weights of each keypoint must sum to 1",
             f"sums {total.min():.3f}..{total.max():.3f}")


def _check_shape(arrays, name, expected):
    _require(arrays[name].shape == tuple(expected), f"{name} must be {list(expected)}", arrays[name].shape)


def _check_digest(path):
    record = os.path.splitext(path)[0] + ".json"
    if not os.path.isfile(record):
        return
    with open(record, encoding="utf-8") as file:
        try:
            expected = json.load(file)["sha256"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{record} must be JSON with the sha256 of {path}. Received: something else.") from None
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    if digest != expected:
        raise ValueError(f"{path} must have the sha256 {expected} that {record} records. Received: {digest}.")
