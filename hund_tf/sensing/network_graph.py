"""A network's JSON and weights in, a callable of image batches out: plain TensorFlow operations."""

import hashlib
import json
import pathlib

import numpy as np
import tensorflow as tf

from hund_tf.sensing.network_operators import OPERATORS

_LARGE = 2**14  # numbers
ASSETS = pathlib.Path(__file__).resolve().parents[1] / "assets" / "sensing"


class NetworkGraph(tf.Module):
    """One imported network; its weights are float32.

    Large ones are variables: a session that serves an export copies captured constants with every graph it prepares (five
    signatures then take 4.7 GB in place of 1.8). Small ones are constants of the graph itself: whatever is captured
    passes through every loop and condition around it, several nodes each time.

    Letters: B batch, H, W, C as in `input_shape`.

    Args:
        description: dict, content of the network's JSON.
        weights: dict of name to array.

    Call arguments:
        images: `[B, H, W, C]` float32, normalised as the network wants it.

    Returns:
        dict of output name to tensor, batch first.

    Raises:
        ValueError: if an operation is unknown, or weights and description do not match in full.
    """

    def __init__(self, description, weights, name=None):
        super().__init__(name=name or description["name"])
        self.input_shape = tuple(description["input_shape"])
        operations, self._outputs = description["operations"], dict(description["outputs"])
        unknown = sorted({op["kind"] for op in operations} - set(OPERATORS))
        if unknown:
            raise ValueError(f"`operations` must be among {sorted(OPERATORS)}. Received: {unknown}.")
        wanted = {i for op in operations for i in op["inputs"] if i.startswith("w")}
        if wanted != set(weights):
            raise ValueError(f"`weights` must be those of the operations. Missing: {sorted(wanted - set(weights))}, "
                             f"too many: {sorted(set(weights) - wanted)}.")
        # as text: TensorFlow wraps and tracks every dict and list of an attribute, which takes longer than reading them
        self._operations = json.dumps(operations)
        self._large = {k: tf.Variable(v, trainable=False, dtype=tf.float32, name=k)
                       for k, v in weights.items() if v.size >= _LARGE}
        self._small = {k: np.asarray(v, np.float32) for k, v in weights.items() if v.size < _LARGE}

    def __call__(self, images):
        values = {**self._large, **{k: tf.constant(v) for k, v in self._small.items()},
                  "x": tf.ensure_shape(images, self.input_shape)}
        for operation in json.loads(self._operations):
            inputs = [values[i] for i in operation["inputs"]]
            values[operation["output"]] = OPERATORS[operation["kind"]](inputs, operation)
        return {name: values[tensor] for name, tensor in self._outputs.items()}


def load_network(name, folder=None):
    """Loads a packaged network.

    Args:
        name: "multipose", "thunder", "pose_heavy", "hand_recrop", "hand", "face_detector" or "face".
        folder: where `<name>.json`, `<name>.npz` and `index.json` lie; default the package's assets.

    Raises:
        FileNotFoundError: if a file is missing; names the folder and the command that makes it.
        ValueError: if a file differs from the sha256 recorded in `index.json`.
    """
    folder = pathlib.Path(folder or ASSETS)
    files = [folder / "index.json", folder / f"{name}.json", folder / f"{name}.npz"]
    missing = [str(f) for f in files if not f.is_file()]
    if missing:
        raise FileNotFoundError(f"network {name!r} needs {', '.join(missing)}; "
                                "tools/convert_landmark_networks.py makes them.")
    recorded = json.loads(files[0].read_text())["networks"][name]["sha256"]
    for file in files[1:]:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        if found != recorded[file.name]:
            raise ValueError(f"{file} must have sha256 {recorded[file.name]}. Received: {found}.")
    with np.load(files[2], allow_pickle=False) as arrays:
        return NetworkGraph(json.loads(files[1].read_text()), dict(arrays))
