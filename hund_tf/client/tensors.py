"""NumPy arrays in, TF Serving's TensorProto out, and back; no TensorFlow.

What is sent is raw little-endian bytes (`tensor_content`). What is read is that or a list of values (`float_val`, ...), as
TF Serving answers by default: a list that is too short repeats its last value, an empty one means zeros.
"""

import math

import numpy as np

from hund_tf.client import serving_api_pb2 as api

MOST_BYTES = 1 << 31  # no message holds more, but a short list of values can claim to be repeated any number of times

_DTYPES = {
    api.DT_FLOAT: np.dtype("<f4"), api.DT_DOUBLE: np.dtype("<f8"), api.DT_INT32: np.dtype("<i4"), api.DT_INT64: np.dtype("<i8"),
    api.DT_UINT8: np.dtype("u1"), api.DT_BOOL: np.dtype("?")}
_ENUMS = {dtype: enum for enum, dtype in _DTYPES.items()}
_LISTS = {api.DT_FLOAT: "float_val", api.DT_DOUBLE: "double_val", api.DT_INT32: "int_val", api.DT_INT64: "int64_val",
          api.DT_UINT8: "int_val", api.DT_BOOL: "bool_val", api.DT_STRING: "string_val"}
_RULE = "A tensor must be float32, float64, int32, int64, uint8, bool or string."


def encode(array):
    """An array -> `TensorProto`.

    Args:
        array: NumPy array of float32, float64, int32, int64, uint8 or bool, or of bytes (dtype object or `S`).

    Raises:
        ValueError: if it is of another dtype.
    """
    array = np.asarray(array)
    shape = api.TensorShapeProto(dim=[api.TensorShapeProto.Dim(size=size) for size in array.shape])
    if array.dtype.kind in "OS":
        values = array.ravel().tolist()
        if not all(isinstance(value, bytes) for value in values):
            raise ValueError(f"{_RULE} Received: an array of {sorted({type(value).__name__ for value in values})}.")
        return api.TensorProto(dtype=api.DT_STRING, tensor_shape=shape, string_val=values)
    little = array.dtype.newbyteorder("<")
    if little not in _ENUMS:
        raise ValueError(f"{_RULE} Received: {array.dtype}.")
    return api.TensorProto(dtype=_ENUMS[little], tensor_shape=shape, tensor_content=array.astype(little, copy=False).tobytes())


def decode(tensor):
    """`TensorProto` -> array; strings are an object array of bytes. It may be read-only.

    Raises:
        ValueError: if the message contradicts itself or is of another dtype.
    """
    if tensor.dtype not in _LISTS:
        raise ValueError(f"{_RULE} Received: DataType {tensor.dtype}.")
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise ValueError(f"A tensor's shape must be known. Received: {shape}.")
    count = math.prod(shape)
    if tensor.dtype == api.DT_STRING:
        values = _strings(tensor, count)
    elif tensor.tensor_content:
        values = _from_bytes(tensor.tensor_content, _DTYPES[tensor.dtype])
        if len(values) != count:
            raise ValueError(f"A tensor of shape {shape} must hold {count} values. Received: {len(values)}.")
    else:
        values = _from_list(getattr(tensor, _LISTS[tensor.dtype]), _DTYPES[tensor.dtype])
    return _repeated(values, count, shape).reshape(shape)


def _from_bytes(content, dtype):
    if len(content) % dtype.itemsize:
        raise ValueError(f"The bytes of a {dtype.name} tensor must be a multiple of {dtype.itemsize}. "
                         f"Received: {len(content)}.")
    return np.frombuffer(content, dtype).astype(dtype.newbyteorder("="), copy=False)


def _from_list(values, dtype):
    if dtype.kind == "f":  # the wire's bytes, see serving_api.proto
        return _from_bytes(values[0] if len(values) == 1 else b"".join(values), dtype)
    return np.array(values, np.int64).astype(dtype.newbyteorder("="))


def _strings(tensor, count):
    values = np.empty([max(len(tensor.string_val), 1)], object)
    values[:] = list(tensor.string_val) or [b""]
    if tensor.tensor_content:
        raise ValueError(f"A tensor of {count} strings must come as string_val. Received: tensor_content.")
    return values


def _repeated(values, count, shape):
    """`[N]` -> `[count]`, the last value again and again."""
    if len(values) == count:
        return values
    if len(values) > max(count, 1) or count * values.dtype.itemsize > MOST_BYTES:
        raise ValueError(f"A tensor of shape {shape} must hold {count} values, at most {MOST_BYTES} bytes. "
                         f"Received: {len(values)} values.")
    whole = np.zeros([count], values.dtype)
    whole[:len(values)] = values[:count]
    if len(values):
        whole[len(values):] = values[-1]
    return whole
