"""A response message in, named NumPy arrays out, cut to the people that are there."""

from typing import NamedTuple, Optional

import numpy as np

from hund_tf.client import serving_api_pb2 as api
from hund_tf.client import tensors


class HundResult(NamedTuple):
    """The people of one photo, as `hund_tf.Person` has them, one row each (N people; M stages). Frames and units are those of
    `hund_tf.reconstruct`: camera frame, metres, pixels of the photo. What the output filter left out, or the signature does not
    have, is None.

    Attributes:
        num_people: int, N.
        rows: int, P, how many rows the server's answer had room for; N = P may mean that it found more.
        model_version: int, version of the model that answered.
        image_size: (H, W).
        intrinsics: `[4]`, fx, fy, cx, cy that were used; of crops `[N, 4]`.
        box: `[N, 4]`, x, y, width, height.
        score: `[N]`, the detector's.
        vertices: `[N, V, 3]`; the faces are in `Description`.
        joints3d: `[N, 63, 3]`.
        keypoints3d: `[N, 137, 3]`.
        keypoints2d: `[N, 137, 2]`, their projection.
        detected_keypoints2d: `[N, 137, 2]`.
        keypoint_confidence: `[N, 137]`.
        joint_rotations: `[N, 63, 3, 3]`.
        theta: `[N, 306]`.
        shape: `[N, 16]`.
        expression: `[N, 20]`.
        rotation: `[N, 6]`.
        translation: `[N, 3]`.
        stage_states: `[N, M + 1, 151]`.
        stage_losses: `[N, M + 1]`.
        part_weights: `[N, 3]`, of left hand, right hand and head.
        keypoint_uncertainty: `[N, 137, 2]`.
        joint_uncertainty: `[N, 63, 2]`.
    """

    num_people: int
    rows: int
    model_version: Optional[int] = None
    image_size: Optional[tuple] = None
    intrinsics: Optional[np.ndarray] = None
    box: Optional[np.ndarray] = None
    score: Optional[np.ndarray] = None
    vertices: Optional[np.ndarray] = None
    joints3d: Optional[np.ndarray] = None
    keypoints3d: Optional[np.ndarray] = None
    keypoints2d: Optional[np.ndarray] = None
    detected_keypoints2d: Optional[np.ndarray] = None
    keypoint_confidence: Optional[np.ndarray] = None
    joint_rotations: Optional[np.ndarray] = None
    theta: Optional[np.ndarray] = None
    shape: Optional[np.ndarray] = None
    expression: Optional[np.ndarray] = None
    rotation: Optional[np.ndarray] = None
    translation: Optional[np.ndarray] = None
    stage_states: Optional[np.ndarray] = None
    stage_losses: Optional[np.ndarray] = None
    part_weights: Optional[np.ndarray] = None
    keypoint_uncertainty: Optional[np.ndarray] = None
    joint_uncertainty: Optional[np.ndarray] = None


PER_PERSON = HundResult._fields[HundResult._fields.index("box"):]
OUTPUTS = ("num_people", "image_size", "intrinsics", *PER_PERSON)  # what an output filter can name


class Description(NamedTuple):
    """What an export says of itself.

    Attributes:
        faces: int32 `[F, 3]`, vertex indices.
        keypoint_names: tuple of 137 str.
        joint_names: tuple of 63 str.
        preset: str, the preset that was exported.
        version: str, of the hund_tf that exported it.
    """

    faces: np.ndarray
    keypoint_names: tuple
    joint_names: tuple
    preset: str
    version: str


class VersionStatus(NamedTuple):
    """One version of the model on the server.

    Attributes:
        version: int.
        state: str, "START", "LOADING", "AVAILABLE", "UNLOADING", "END" or "UNKNOWN".
        error_code: int, 0 if nothing went wrong.
        message: str, what did.
    """

    version: int
    state: str
    error_code: int
    message: str


def of_photo(response):
    """The answer for one photo, outputs `[P, ...]` and `num_people []` -> `HundResult`."""
    arrays = _decode(response)
    return _result(arrays, _count(arrays, ()), _version(response))


def of_photos(response, count):
    """The answer for a batch, outputs `[count, P, ...]` and `num_people [count]` -> list of `HundResult`."""
    arrays = _decode(response)
    counts = _count(arrays, (count,))
    for name, array in arrays.items():
        if not array.ndim or len(array) != count:
            raise ValueError(f"Output {name!r} must have {count} rows, one a photo. Received: {array.shape}.")
    return [_result({name: array[i] for name, array in arrays.items()}, counts[i], _version(response)) for i in range(count)]


def of_rows(response, count):
    """The answer for given boxes or crops, outputs `[count, ...]` -> `HundResult`."""
    return _result(_decode(response), count, _version(response))


def of_description(response):
    """The answer of `describe` -> `Description`."""
    arrays = _decode(response)
    missing = set(Description._fields) - set(arrays)
    if missing:
        raise ValueError(f"`describe` must give {', '.join(Description._fields)}. Received: none of {sorted(missing)}.")
    names = (tuple(_text(name) for name in arrays[key].ravel()) for key in ("keypoint_names", "joint_names"))
    faces = arrays["faces"]
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"Output 'faces' must be [F, 3]. Received: {faces.shape}.")
    return Description(np.array(faces, np.int32), *names, _text(arrays["preset"].item()), _text(arrays["version"].item()))


def of_status(response):
    """The answer of GetModelStatus -> tuple of `VersionStatus`, newest first."""
    states = api.ModelVersionStatus.State
    found = (VersionStatus(entry.version, states.Name(entry.state) if entry.state in states.values() else "UNKNOWN",
                           entry.status.error_code, entry.status.error_message) for entry in response.model_version_status)
    return tuple(sorted(found, key=lambda status: -status.version))


def _result(arrays, count, version):
    people = {name: arrays[name] for name in PER_PERSON if name in arrays}
    rows = {name: array.shape[0] if array.ndim else -1 for name, array in people.items()}
    if len(set(rows.values())) > 1 or any(n < count for n in rows.values()):
        raise ValueError(f"Outputs must have the same number of rows, at least {count}. Received: {rows}.")
    size, intrinsics = arrays.get("image_size"), arrays.get("intrinsics")
    return HundResult(
        count, max(rows.values(), default=count), version, None if size is None else tuple(int(side) for side in size),
        None if intrinsics is None else np.array(intrinsics),
        **{name: np.array(array[:count]) for name, array in people.items()})


def _count(arrays, shape):
    """`num_people` as int or list of int."""
    if "num_people" not in arrays or arrays["num_people"].shape != shape or np.any(arrays["num_people"] < 0):
        raise ValueError(f"Output 'num_people' must be of shape {shape} and not negative. "
                         f"Received: {arrays.get('num_people')}.")
    return arrays["num_people"].astype(int).tolist()


def _decode(response):
    return {name: tensors.decode(tensor) for name, tensor in response.outputs.items()}


def _version(response):
    return response.model_spec.version.value if response.model_spec.HasField("version") else None


def _text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
