"""A tf.js graph model (model.json + .bin) in, a `NetworkDescription` cut at named heads out.

Only the operations that a convolutional trunk needs; everything behind the heads (MoveNet's own
decoder, fixed to one image and six people) is left out and written anew in the package.
"""

import base64
import json
import pathlib

import numpy as np
from network_description import NetworkDescription


def read_tfjs(path, image_tensor, heads, input_shape):
    """Converts one model.

    Args:
        path: of model.json, its .bin files beside it.
        image_tensor: node that becomes the input (the normalised image).
        heads: dict of public output name to node name.
        input_shape: `[None, H, W, C]`; `None` for a free size.

    Raises:
        ValueError: if the trunk holds an operation that has no rule here.
    """
    nodes, weights = read_graph_and_weights(path)
    nodes = {n["name"]: n for n in nodes}
    description, names = NetworkDescription(list(input_shape)), {image_tensor: "x"}
    for head in heads.values():
        for name in _in_order(head, nodes, names):
            _convert(nodes[name], nodes, weights, description, names)
    description.outputs = {public: names[head] for public, head in heads.items()}
    description.keep_only_what_outputs_need()
    description.mark_biases_before_additions()
    return description


def read_graph_and_weights(path):
    """The model's nodes as its JSON lists them, and its constants by node name."""
    path = pathlib.Path(path)
    model = json.loads(path.read_text())
    return model["modelTopology"]["node"], _weights(model, path.parent)


def _in_order(head, nodes, done):
    order, stack, seen = [], [(head, False)], set(done)
    while stack:
        name, ready = stack.pop()
        if ready:
            order.append(name)
        elif name not in seen:
            seen.add(name)
            stack.append((name, True))
            if nodes[name]["op"] == "ResizeBilinear":
                stack.append((nodes[name]["input"][0], False))  # its size is a fixed doubling, see below
            elif nodes[name]["op"] != "Const":
                stack.extend((i.split(":")[0], False) for i in reversed(nodes[name]["input"]))
    return order


def _convert(node, nodes, weights, description, names):
    kind, name, attributes = node["op"], node["name"], node.get("attr", {})
    if kind == "Const":
        names[name] = description.add_weight(weights[name])
        return
    inputs = [names[i] for i in node["input"][:1 if kind == "ResizeBilinear" else None]]
    if kind in ("_FusedConv2D", "Conv2D", "FusedDepthwiseConv2dNative", "DepthwiseConv2dNative"):
        fused = [base64.b64decode(s).decode() for s in attributes.get("fused_ops", {}).get("list", {}).get("s", [])]
        settings = {
            "padding": base64.b64decode(attributes["padding"]["s"]).decode(),
            "strides": [int(s) for s in attributes["strides"]["list"]["i"]][1:3],
            "dilations": [int(s) for s in attributes.get("dilations", {}).get("list", {}).get("i", [1] * 4)][1:3],
        }
        activation = {(): None, ("BiasAdd",): None, ("BiasAdd", "Relu"): "relu", ("BiasAdd", "Relu6"): "relu6"}[tuple(fused)]
        if activation:
            settings["activation"] = activation
        names[name] = description.add("depthwise_conv2d" if "Depthwise" in kind else "conv2d", inputs, name, **settings)
    elif kind in ("AddV2", "Relu", "Relu6", "Sigmoid"):
        names[name] = description.add({"AddV2": "add"}.get(kind, kind.lower()), inputs, name)
    elif kind == "ResizeBilinear":
        if not attributes["half_pixel_centers"]["b"] or attributes["align_corners"]["b"]:
            raise ValueError("a resize must use half pixel centres.")
        # every resize of MoveNet's pyramid doubles the size (up_sampling2d); said as a factor, the
        # network takes images of any size divisible by 32
        names[name] = description.add("resize_bilinear", inputs, name, factor=2, align_corners=False,
                                      half_pixel_centers=True)
    else:
        raise ValueError(f"every operation must have a rule. Received: {kind} ({name}).")


def _weights(model, folder):
    values = {}
    for group in model["weightsManifest"]:
        data, offset = b"".join((folder / p).read_bytes() for p in group["paths"]), 0
        for weight in group["weights"]:
            quantization = weight.get("quantization")
            if quantization and quantization["dtype"] != "float16":
                raise ValueError(f"weights must be float16 or plain. Received: {quantization}.")
            dtype = np.dtype((quantization or weight)["dtype"])
            count = int(np.prod(weight["shape"])) if weight["shape"] else 1
            values[weight["name"]] = np.frombuffer(data, dtype, count, offset).reshape(weight["shape"])
            offset += count * dtype.itemsize
    return values
