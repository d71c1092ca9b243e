"""`SignatureDef` in; what a request must look like out, and the complaint if it does not."""

from typing import NamedTuple, Optional

import tensorflow as tf

from hund_tf.serving.errors import invalid
from hund_tf.serving.tensors import decode, type_name

DEFAULT = "serving_default"


class Port(NamedTuple):
    """An input or output: the graph's tensor name, `DataType` number, shape (-1 unknown) or None for unknown rank."""

    tensor: str
    dtype: int
    shape: Optional[tuple]

    @property
    def free_rows(self):
        return bool(self.shape) and self.shape[0] == -1

    def __str__(self):
        if self.shape is None:
            return f"{type_name(self.dtype)} of any shape"
        return f"{type_name(self.dtype)} [{', '.join('?' if size < 0 else str(size) for size in self.shape)}]"


class Signature(NamedTuple):
    """A call that the model answers.

    Attributes:
        name: str.
        inputs: dict, `Port` by the input's name.
        outputs: dict, `Port` by the output's name.
        defaults: dict, arrays of the optional inputs.
        batched: bool, whether requests can be merged: all inputs and outputs have a free first dimension.
    """

    name: str
    inputs: dict
    outputs: dict
    defaults: dict
    batched: bool

    def check(self, name, array, dtype):
        """Raises INVALID_ARGUMENT unless an array of the type `dtype` fits the input `name`."""
        port = self.port(name)
        fits = port.shape is None or (len(port.shape) == array.ndim and all(
            want in (-1, size) for want, size in zip(port.shape, array.shape)))
        if dtype != port.dtype or not fits:
            raise invalid(f"Input {name!r} of signature {self.name!r} must be {port}. Received: "
                          f"{Port('', dtype, array.shape)}.")

    def port(self, name):
        """The input's `Port`; raises INVALID_ARGUMENT for a name that the signature has not."""
        if name not in self.inputs:
            raise invalid(f"Inputs of signature {self.name!r} must be of {_listed(self.inputs)}. Received: {name[:100]!r}.")
        return self.inputs[name]

    def completed(self, feeds):
        """The inputs with defaults where they are left out; raises INVALID_ARGUMENT if one has none."""
        missing = [name for name in self.inputs if name not in feeds and name not in self.defaults]
        if missing:
            raise invalid(f"Signature {self.name!r} needs the inputs {_listed(missing)}. Received: {_listed(feeds)}.")
        return {name: feeds[name] if name in feeds else self.defaults[name] for name in self.inputs}

    def wanted(self, output_filter):
        """Names of the outputs to send, sorted, all if none are named; INVALID_ARGUMENT for one unknown or named twice."""
        for name in output_filter:
            if name not in self.outputs:
                raise invalid(f"Outputs of signature {self.name!r} must be of {_listed(self.outputs)}. "
                              f"Received: {name[:100]!r}.")
        if len(set(output_filter)) < len(output_filter):
            raise invalid(f"Each output must be named once. Received: {sorted(output_filter)[:20]}.")
        return tuple(sorted(output_filter)) or tuple(sorted(self.outputs))


def from_definition(name, definition):
    """`SignatureDef` -> `Signature`, or None where a port is not a plain tensor or nothing comes out."""
    if not definition.outputs or any(not info.name for info in [*definition.inputs.values(), *definition.outputs.values()]):
        return None
    inputs = {key: _port(info) for key, info in definition.inputs.items()}
    outputs = {key: _port(info) for key, info in definition.outputs.items()}
    defaults = {key: decode(proto, f"Default of {key!r}", 2**31) for key, proto in definition.defaults.items() if key in inputs}
    batched = bool(inputs) and all(port.free_rows for port in [*inputs.values(), *outputs.values()])
    return Signature(name, inputs, outputs, defaults, batched)


def _port(info):
    shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    return Port(info.name, tf.dtypes.as_dtype(info.dtype).as_datatype_enum, shape)


def _listed(names):
    return ", ".join(repr(name) for name in sorted(names)) or "none"
