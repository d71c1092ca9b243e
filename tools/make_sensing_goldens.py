"""Golden values of the landmark networks, from the published files run by other code than ours.

    python tools/make_sensing_goldens.py --models DIR --box 10,65,290

`--models` holds the unpacked npm packages `holistic` and `human-models` (see
convert_landmark_networks.py). MediaPipe's files run in tf.lite.Interpreter, MoveNet's as TensorFlow
graphs with their own decoder. Writes tests/goldens/sensing/networks.npz: a 256-pixel image and, of
each output, up to 400 evenly spaced values.
"""

import argparse
import base64
import pathlib

import flatbuffers
import numpy as np
import tensorflow as tf
from convert_landmark_networks import TFJS_NETWORKS, TFLITE_NETWORKS, holistic_files
from google.protobuf import json_format
from tensorflow.lite.python import schema_py_generated as schema
from tfjs_reader import read_graph_and_weights

GOLDENS = pathlib.Path(__file__).parents[1] / "tests" / "goldens" / "sensing" / "networks.npz"
KEPT_VALUES = 400
# network -> (side of its input, lowest and highest input value)
INPUTS = {"pose_heavy": (256, 0, 1), "hand_recrop": (256, 0, 1), "hand": (224, 0, 1), "face_detector": (128, -1, 1),
          "face": (192, 0, 1), "multipose": (256, -1, 1), "thunder": (256, -1, 1)}


def network_input(image, name):
    """The top left corner of the golden image `[256, 256, 3]` uint8, as the network wants it: `[1, S, S, 3]`."""
    size, low, high = INPUTS[name]
    return (image[None, :size, :size].astype(np.float32) / 255 * (high - low) + low).astype(np.float32)


def thin(values):
    """Up to `KEPT_VALUES` values, evenly spaced in the flattened array."""
    flat = np.asarray(values, np.float32).reshape(-1)
    return flat[::max(1, -(-flat.size // KEPT_VALUES))]


def reference_outputs(models, image):
    """All outputs of all networks, `{"network/output": array}`, by the published files."""
    models, found = pathlib.Path(models), {}
    files = holistic_files(models / "holistic")
    for file, (name, outputs) in TFLITE_NETWORKS.items():
        for output, values in _run_tflite(files[file], outputs, network_input(image, name)).items():
            found[f"{name}/{output}"] = values
    for file, (name, _, heads) in TFJS_NETWORKS.items():
        for output, values in _run_tfjs(models / "human-models" / "models" / file, heads, image).items():
            found[f"{name}/{output}"] = values
    return found


def _run_tflite(data, names, values):
    data, kept = _without_custom_operations(data)
    interpreter = tf.lite.Interpreter(model_content=data, experimental_op_resolver_type=(
        tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    outputs = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
    return {names[k]: v for k, v in zip(kept, outputs) if names[k]}


def _without_custom_operations(data):
    """The model without MediaPipe's own operations and what follows them, and the outputs that remain."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    graph = model.subgraphs[0]
    lost, operators = set(), []
    for operator in graph.operators:
        custom = model.operatorCodes[int(operator.opcodeIndex)].customCode
        if custom is not None or lost & {int(i) for i in operator.inputs}:
            lost |= {int(i) for i in operator.outputs}
        else:
            operators.append(operator)
    kept = [k for k, i in enumerate(graph.outputs) if int(i) not in lost]
    if not lost:
        return data, kept
    graph.operators, graph.outputs = operators, [int(graph.outputs[k]) for k in kept]
    model.signatureDefs = []
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()), kept


def _run_tfjs(path, heads, image):
    nodes, weights = read_graph_and_weights(path)
    graph = tf.compat.v1.GraphDef()
    for node in nodes:
        _add_node(graph, node, weights)
    inputs = [n["name"] + ":0" for n in nodes if n["op"] == "Placeholder"]
    fetched = {k: f"StatefulPartitionedCall/{v}:0" for k, v in heads.items()} | {"people": "Identity:0"}
    function = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    function = function.prune(inputs, list(fetched.values()))
    return {k: v.numpy() for k, v in zip(fetched, function(tf.constant(image[None], tf.int32)))}


def _add_node(graph, node, weights):
    """One tf.js node as TensorFlow's: constants filled in, fused convolutions taken apart."""
    name, kind = node["name"], node["op"]
    attributes = {k: v for k, v in node.get("attr", {}).items() if not k.startswith("_")}
    if kind == "Const":
        values = weights[name].astype(np.float32) if weights[name].dtype == np.float16 else weights[name]
        tensor = tf.make_tensor_proto(values)
        graph.node.add(name=name, op="Const", attr={
            "dtype": tf.compat.v1.AttrValue(type=tensor.dtype), "value": tf.compat.v1.AttrValue(tensor=tensor)})
        return
    inputs = list(node.get("input", []))
    fused = []
    if kind in ("_FusedConv2D", "FusedDepthwiseConv2dNative"):
        fused = [base64.b64decode(s).decode() for s in attributes["fused_ops"]["list"]["s"]]
        kept = ("T", "strides", "padding", "dilations", "data_format", "explicit_paddings")
        if kind == "_FusedConv2D":
            kind = "Conv2D"
        else:
            kind, kept = "DepthwiseConv2dNative", kept[:-1]
        attributes = {"T": {"type": "DT_FLOAT"}} | {k: v for k, v in attributes.items() if k in kept}
    # tf.js knows no int64
    attributes = {k: {"type": "DT_INT32"} if v == {"type": "DT_INT64"} else v for k, v in attributes.items()}
    steps = [(kind, inputs[:2] if fused else inputs, attributes)]
    extra = inputs[2:]
    for step in fused:
        steps.append((step, [None] + ([extra.pop(0)] if step == "BiasAdd" else []), {"T": {"type": "DT_FLOAT"}}))
    previous = None
    for i, (op, sources, settings) in enumerate(steps):
        own = name if i == len(steps) - 1 else f"{name}/step{i}"
        record = {"name": own, "op": op, "input": [previous if s is None else s for s in sources], "attr": settings}
        graph.node.append(json_format.ParseDict(record, tf.compat.v1.NodeDef(), ignore_unknown_fields=True))
        previous = own


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True, type=pathlib.Path)
    default = pathlib.Path(__file__).parents[1] / "hund_tf" / "assets" / "samples" / "street.jpg"
    parser.add_argument("--photo", default=default, type=pathlib.Path)
    parser.add_argument("--box", default="0,0,600", help="x,y,side of the square of the photo that is used")
    options = parser.parse_args()
    x, y, side = (float(v) for v in options.box.split(","))
    photo = tf.io.decode_image(options.photo.read_bytes(), channels=3, expand_animations=False).numpy()
    box = [[y / photo.shape[0], x / photo.shape[1], (y + side) / photo.shape[0], (x + side) / photo.shape[1]]]
    image = tf.image.crop_and_resize(photo[None].astype(np.float32), box, [0], [256, 256])
    image = np.clip(np.round(image[0].numpy()), 0, 255).astype(np.uint8)
    goldens = {k: thin(v) for k, v in reference_outputs(options.models, image).items()}
    GOLDENS.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(GOLDENS, image=image, **goldens)
    print(f"{len(goldens)} outputs, {GOLDENS.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
