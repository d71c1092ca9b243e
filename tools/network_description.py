"""A network as a list of operations and arrays of weights; written as JSON and float16 .npz.

`hund_tf.sensing.network_graph` reads what this module writes; the two share only the file format:

    {"name", "input": "x", "input_shape": [None, H, W, C], "outputs": {public name: tensor name},
     "operations": [{"kind", "inputs": [tensor or weight names], "output", ...settings}]}

Weight names start with "w" and are the keys of the .npz beside the JSON.
"""

import dataclasses
import hashlib
import io
import json
import pathlib
import zipfile

import numpy as np


@dataclasses.dataclass
class NetworkDescription:
    """One converted network: `operations` in execution order, `weights` float32 by name."""

    input_shape: list
    operations: list = dataclasses.field(default_factory=list)
    weights: dict = dataclasses.field(default_factory=dict)
    outputs: dict = dataclasses.field(default_factory=dict)

    def add_weight(self, values):
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(values, np.float32)
        return name

    def add(self, kind, inputs, output, **settings):
        self.operations.append({"kind": kind, "inputs": list(inputs), "output": output, **settings})
        return output

    def keep_only_what_outputs_need(self):
        """Drops operations and weights that no output depends on, and renames tensors shortly."""
        needed, kept = set(self.outputs.values()), []
        for operation in reversed(self.operations):
            if operation["output"] in needed:
                needed.update(operation["inputs"])
                kept.append(operation)
        self.operations = kept[::-1]
        used = [n for op in self.operations for n in op["inputs"] if n in self.weights]
        short = {name: f"w{i}" for i, name in enumerate(dict.fromkeys(used))}
        self.weights = {short[name]: self.weights[name] for name in short}
        for i, operation in enumerate(self.operations):
            short[operation["output"]] = f"t{i}"
        for operation in self.operations:
            operation["inputs"] = [short.get(n, n) for n in operation["inputs"]]
            operation["output"] = short[operation["output"]]
        self.outputs = {k: short[v] for k, v in self.outputs.items()}

    def mark_biases_before_additions(self):
        """Marks convolutions whose output is summed straight away (`"plain_bias"`).

        TensorFlow 2.15's oneDNN rewrite of Conv2D + BiasAdd + Add ends the process with a
        segmentation fault when the other summand is a Pad. A bias written as AddV2 is left alone.
        """
        summed = {n for op in self.operations if op["kind"] == "add" for n in op["inputs"]}
        for operation in self.operations:
            if operation["kind"] == "conv2d" and operation["output"] in summed:
                operation["plain_bias"] = True


def write(description, name, folder):
    """Writes `<name>.json` and `<name>.npz`; returns their sha256 by file name."""
    folder = pathlib.Path(folder)
    record = {
        "name": name,
        "input": "x",
        "input_shape": description.input_shape,
        "outputs": description.outputs,
        "operations": description.operations,
    }
    text = "{\n" + ",\n".join(
        f' "{k}": ' + (json.dumps(v) if k != "operations" else
                       "[\n  " + ",\n  ".join(json.dumps(op) for op in v) + "\n ]")
        for k, v in record.items()) + "\n}\n"
    (folder / f"{name}.json").write_text(text)
    (folder / f"{name}.npz").write_bytes(_reproducible_npz(description.weights))
    return {f: sha256((folder / f).read_bytes()) for f in (f"{name}.json", f"{name}.npz")}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def _reproducible_npz(weights):
    # np.savez stamps the time of day; equal weights shall give equal files
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, values in weights.items():
            half = values.astype(np.float16)
            if not np.all(np.isfinite(half)):
                raise ValueError(f"weight {name!r} must fit float16. Received: up to {np.abs(values).max()}.")
            array = io.BytesIO()
            np.lib.format.write_array(array, half, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (2020, 1, 1, 0, 0, 0)), array.getvalue(),
                             zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()
