"""`TensorProto` in, NumPy array out, and back. What a message declares is checked before memory is taken for it."""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from hund_tf.serving.errors import invalid

MAX_RANK = 32  # NumPy's
MAX_VALUES = 2**20  # in a tensor's value field: they pass through the interpreter, which does nothing else meanwhile
# Where a TensorProto keeps values of a type when not in `tensor_content`.
_FIELDS = {
    types_pb2.DT_FLOAT: "float_val", types_pb2.DT_DOUBLE: "double_val", types_pb2.DT_INT32: "int_val",
    types_pb2.DT_UINT8: "int_val", types_pb2.DT_INT16: "int_val", types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT16: "int_val", types_pb2.DT_STRING: "string_val", types_pb2.DT_COMPLEX64: "scomplex_val",
    types_pb2.DT_COMPLEX128: "dcomplex_val", types_pb2.DT_INT64: "int64_val", types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_HALF: "half_val", types_pb2.DT_BFLOAT16: "half_val", types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
}
_BITS = (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16)  # whose bits are kept in an int
_PAIRS = {types_pb2.DT_COMPLEX64: np.float32, types_pb2.DT_COMPLEX128: np.float64}  # (real, imaginary) one after the other
_ALL_FIELDS = sorted(set(_FIELDS.values()) | {"resource_handle_val", "variant_val"})


def decode(proto, what, max_bytes):
    """Unpacks a tensor.

    Args:
        proto: `TensorProto`.
        what: str, for messages: "Input 'x'".
        max_bytes: int, unpacked size at most.

    Returns:
        Array of the declared type and shape, read only; strings are bytes in an object array.

    Raises:
        RequestError: INVALID_ARGUMENT if type, shape and content do not fit together.
    """
    field = _FIELDS.get(proto.dtype)
    if field is None:
        raise invalid(f"{what} must be numbers, booleans or strings. Received: {type_name(proto.dtype)}.")
    shape, count = _shape(proto, what, max_bytes)
    content = proto.tensor_content
    if content:
        return _from_content(proto.dtype, content, what, shape, count)
    strange = [name for name in _ALL_FIELDS if name != field and len(getattr(proto, name))]
    if strange:
        raise invalid(f"{what} of {type_name(proto.dtype)} must keep its values in {field}. Received: {', '.join(strange)}.")
    values = getattr(proto, field)
    per_value = 2 if proto.dtype in _PAIRS else 1
    given = len(values) // per_value
    if given > MAX_VALUES:
        raise invalid(f"{what} must have at most {MAX_VALUES:,} values in {field}; numbers beyond that belong in "
                      f"tensor_content. Received: {given:,}.")
    if given > count or len(values) % per_value:
        raise invalid(f"{what} of shape {list(shape)} must have at most {count} values. Received: {given}.")
    flat = _from_values(proto.dtype, values, what)
    if given < count:  # TensorFlow's rule: the last value is repeated, none means zeros
        last = flat[-1] if given else _zero(proto.dtype)
        full = np.empty([count], flat.dtype)
        full[:given] = flat
        full[given:] = [last]  # a list: of bytes alone NumPy would cut zeros off the end
        flat = full
    return flat.reshape(shape)


def declared_bytes(proto):
    """How many bytes a `TensorProto` says that it has unpacked, at least; 0 where it cannot be unpacked at all."""
    if proto.dtype not in _FIELDS or len(proto.tensor_shape.dim) > MAX_RANK:  # a product of many takes long
        return 0
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    if min(sizes, default=0) < 0:
        return 0
    return math.prod(sizes) * _item_bytes(proto.dtype)


def encode(array, dtype):
    """Packs an array of the type `dtype` (a `DataType` number) as `TensorProto`."""
    proto = tensor_pb2.TensorProto(dtype=dtype)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if dtype == types_pb2.DT_STRING:
        proto.string_val.extend(value if isinstance(value, bytes) else str(value).encode() for value in array.flat)
    else:
        proto.tensor_content = array.tobytes()
    return proto


def type_name(dtype):
    """Name of a `DataType` number: `float32`."""
    try:
        return tf.dtypes.as_dtype(dtype).name
    except TypeError:
        return f"type {dtype}"


def _shape(proto, what, max_bytes):
    if proto.tensor_shape.unknown_rank:
        raise invalid(f"{what} must have a known shape. Received: unknown rank.")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if len(shape) > MAX_RANK or min(shape, default=0) < 0:
        raise invalid(f"{what} must have at most {MAX_RANK} dimensions, none negative. Received: {list(shape[:MAX_RANK + 1])}.")
    if math.prod(max(size, 1) for size in shape) * _item_bytes(proto.dtype) > max_bytes:
        raise invalid(f"{what} must have at most {max_bytes:,} bytes unpacked. Received: {type_name(proto.dtype)} of shape "
                      f"{list(shape)}.")
    return shape, math.prod(shape)


def _from_content(kind, content, what, shape, count):
    if kind == types_pb2.DT_STRING:
        raise invalid(f"{what} of strings must keep them in string_val. Received: tensor_content.")
    dtype = _numpy(kind)
    if len(content) != count * dtype.itemsize:
        raise invalid(f"{what} of {type_name(kind)} and shape {list(shape)} must have {count * dtype.itemsize} bytes of "
                      f"content. Received: {len(content)}.")
    if kind == types_pb2.DT_BOOL:  # any byte but 0 and 1 would be an impossible boolean
        return (np.frombuffer(content, np.uint8) != 0).reshape(shape)
    return np.frombuffer(content, dtype).reshape(shape)


def _from_values(dtype, values, what):
    if dtype == types_pb2.DT_STRING:
        flat = np.empty([len(values)], object)
        flat[:] = list(values)
        return flat
    if dtype in _PAIRS:
        return np.array(values, _PAIRS[dtype]).view(_numpy(dtype))
    target = np.dtype(np.uint16) if dtype in _BITS else _numpy(dtype)
    if _FIELDS[dtype] not in ("int_val", "half_val"):
        return np.array(values, target)
    wide = np.array(values, np.int32)  # of narrower integers
    limits = np.iinfo(target)
    if wide.size and not limits.min <= wide.min() <= wide.max() <= limits.max:
        raise invalid(f"{what} of {type_name(dtype)} must have values from {limits.min} to {limits.max}. Received: "
                      f"{wide.min()} to {wide.max()}.")
    return wide.astype(target).view(_numpy(dtype))


def _zero(dtype):
    return b"" if dtype == types_pb2.DT_STRING else 0


def _item_bytes(dtype):
    return 8 if dtype == types_pb2.DT_STRING else _numpy(dtype).itemsize  # a string is a pointer at least


def _numpy(dtype):
    return np.dtype(tf.dtypes.as_dtype(dtype).as_numpy_dtype)
