"""The learned priors of a body file: its optional arrays to the arguments of `PoseFlow` and `CodeVAE`, and back."""

import re

import numpy as np

from hund_tf.body.rules import plain, require

VAES = ("shape", "expression")
_SKIPS = ("encoder_skip", "decoder_skip")


def read_pose_flows(arrays, parts):
    """Flows of a file: dict from pose part to `(orders, networks)`, empty without any array of theirs.

    Both hands have the couplings of `pose_hand_flow`: mirrored hands have the same codes.

    Raises:
        ValueError: if a part of a group is missing.
    """
    if not any(name.startswith(("pose_body_flow_", "pose_hand_flow_")) for name in arrays):
        return {}
    flows = {}
    for kind in ("body", "hand"):
        prefix = f"pose_{kind}_flow_"
        orders = _get(arrays, prefix + "orders", "w2").astype(np.int32)
        require(np.all(np.sort(orders, axis=1) == np.arange(orders.shape[1])), f"{prefix}orders must be permutations",
                orders.tolist())
        weights, biases = _layers(arrays, prefix, 3)
        require(all(len(x) == len(orders) for x in weights + biases),
                f"{prefix}weights and bias must have a row for each of {len(orders)} orders", [x.shape for x in weights + biases])
        networks = [[(w[c], b[c]) for w, b in zip(weights, biases)] for c in range(len(orders))]
        flows.update({part: (orders, networks) for part in parts if part.endswith(kind)})
    return flows


def pose_flow_arrays(kind, orders, networks):
    """Arrays of the schema for `kind` "body" or "hand": the inverse of `read_pose_flows`."""
    arrays = {f"pose_{kind}_flow_orders": np.asarray(orders, np.uint8)}
    for i, layer in enumerate(zip(*networks)):
        weights, biases = zip(*layer)
        arrays[f"pose_{kind}_flow_weights{i}"] = np.stack(weights).astype(np.float16)
        arrays[f"pose_{kind}_flow_bias{i}"] = np.stack(biases).astype(np.float32)
    return arrays


def read_vaes(arrays, components):
    """VAEs of a file: dict from "shape" and "expression" to `(encoder, decoder, encoder_skip, decoder_skip)`, or empty.

    Args:
        arrays: dict, of the file.
        components: dict, number of the mesh's shape and expression components.

    Raises:
        ValueError: if a part of a group is missing, or a VAE has other components.
    """
    if not any(name.startswith(tuple(f"{vae}_vae_" for vae in VAES)) for name in arrays):
        return {}
    for vae in VAES:
        rows = len(_get(arrays, f"{vae}_vae_encoder_skip", "r2"))
        require(rows == components[vae], f"{vae}_vae must have the {components[vae]} components of the meshes", rows)
    return {vae: (*(list(zip(*_layers(arrays, f"{vae}_vae_{part}_", 2))) for part in ("encoder", "decoder")),
                  *(_get(arrays, f"{vae}_vae_{skip}", "r2") for skip in _SKIPS)) for vae in VAES}


def vae_arrays(name, fitted):
    """Arrays of the schema for the VAE `name`: the inverse of `read_vaes`."""
    encoder, decoder, *skips = fitted
    arrays = {f"{name}_vae_{skip}": np.asarray(value, np.float32) for skip, value in zip(_SKIPS, skips)}
    for part, layers in (("encoder", encoder), ("decoder", decoder)):
        for i, (weights, bias) in enumerate(layers):
            arrays[f"{name}_vae_{part}_weights{i}"] = np.asarray(weights, np.float32)
            arrays[f"{name}_vae_{part}_bias{i}"] = np.asarray(bias, np.float32)
    return arrays


def _layers(arrays, prefix, rank):
    count = max([1, *(int(name[len(prefix) + 7:]) + 1 for name in arrays if re.fullmatch(prefix + r"weights\d", name)),
                 *(int(name[len(prefix) + 4:]) + 1 for name in arrays if re.fullmatch(prefix + r"bias\d", name))])
    weights, biases = ([_get(arrays, f"{prefix}{kind}{i}", f"r{size}") for i in range(count)]
                       for kind, size in (("weights", rank), ("bias", rank - 1)))
    sizes = [(*w.shape[:-2], w.shape[-1]) for w in weights]
    require(sizes == [b.shape for b in biases] and all(
        w.shape[-2] == size[-1] for w, size in zip(weights[1:], sizes)), f"{prefix}weights and bias must fit, layer upon layer",
            [w.shape for w in weights] + [b.shape for b in biases])
    return weights, biases


def _get(arrays, name, kind):
    require(name in arrays, "learned priors must be whole", f"none named {name}")
    return plain(name, arrays[name], *kind)
