"""An export runs wherever it is loaded: no operation is tied to a device, and GPUs have a kernel for all but a few.

GPU kernels are registered in TensorFlow's build for Linux whether or not there is a GPU, so this needs none.
"""

import collections
import os
import platform

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import kernels, op_def_registry

OF_FILES = "__inference__traced_save", "__inference__traced_restore"  # functions that TensorFlow writes
# what happens to a photo's bytes, and the words of refusals, which no GPU does
HOST_ALONE = {"DecodeJpeg", "DecodePng", "DecodeRaw", "ExtractJpegShape", "StringLength", "Substr"}


@pytest.mark.slow
@pytest.mark.skipif(platform.system() != "Linux" or not tf.test.is_built_with_cuda(),
                    reason="this TensorFlow has no GPU kernels")
def test_operations_run_on_gpus_and_are_tied_to_no_device(person_export):
    model = saved_model_pb2.SavedModel()
    with open(os.path.join(person_export, "saved_model.pb"), "rb") as file:
        model.ParseFromString(file.read())
    functions = [one for one in model.meta_graphs[0].graph_def.library.function if not one.signature.name.startswith(OF_FILES)]
    kernels_of = collections.defaultdict(list)
    for kernel in kernels.get_all_registered_kernels().kernel:
        if kernel.device_type in ("GPU", "DEFAULT"):
            kernels_of[kernel.op].append(kernel)
    nodes = [node for function in functions for node in function.node_def]
    assert len(nodes) > 10_000 and kernels_of["Conv2D"]
    assert {node.device for node in nodes} == {""}
    host = {node.op for node in nodes if not _of_text(node) and not any(_fits(node, kernel) for kernel in kernels_of[node.op])}
    assert host <= HOST_ALONE, host - HOST_ALONE
    assert "DecodeJpeg" in host  # the check sees what has no kernel


def _of_text(node):
    return any(attribute.type == tf.string.as_datatype_enum or tf.string.as_datatype_enum in attribute.list.type
               for attribute in node.attr.values())


def _attribute(node, name):
    """An attribute of a node, or of its operation where a saved graph leaves it out."""
    if name in node.attr:
        return node.attr[name]
    return next(attribute.default_value for attribute in op_def_registry.get(node.op).attr if attribute.name == name)


def _fits(node, kernel):
    """Whether a kernel takes the types of a node."""
    for constraint in kernel.constraint:
        attribute = _attribute(node, constraint.name)
        types = list(attribute.list.type) or [attribute.type]
        if not set(types) <= set(constraint.allowed_values.list.type):
            return False
    return True
