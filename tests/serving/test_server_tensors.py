"""TensorProto to arrays and back: every type, and messages made to do harm."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from hund_tf.serving import tensors
from hund_tf.serving.errors import RequestError

MIB = 2**20
TYPES = (tf.float32, tf.float64, tf.float16, tf.bfloat16, tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32,
         tf.uint64, tf.bool, tf.complex64, tf.complex128, tf.string)


def proto(dtype, shape, **fields):
    message = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return message


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("shape", [[], [1], [2, 3], [0, 2]])
def test_same_as_tensorflow(dtype, shape):
    values = np.random.default_rng(0).integers(0, 2, shape)
    array = values.astype(str).astype(object) if dtype == tf.string else values.astype(dtype.as_numpy_dtype)
    if dtype == tf.string:
        array = np.vectorize(lambda text: text.encode(), otypes=[object])(array) if array.size else array
    message = tf.make_tensor_proto(array, dtype, shape)
    expected = tf.make_ndarray(message)
    found = tensors.decode(message, "x", MIB)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype or dtype == tf.string
    again = tensors.encode(found, message.dtype)
    np.testing.assert_array_equal(tf.make_ndarray(again), expected)
    np.testing.assert_array_equal(tensors.decode(again, "x", MIB), expected)


@pytest.mark.parametrize("dtype, field, values", [
    (types_pb2.DT_FLOAT, "float_val", [1, 2]), (types_pb2.DT_INT8, "int_val", [-1, 3]),
    (types_pb2.DT_UINT64, "uint64_val", [2**63, 1]),
    (types_pb2.DT_HALF, "half_val", [0x3C00, 0x4000]), (types_pb2.DT_BFLOAT16, "half_val", [0x3F80, 0x4000]),
    (types_pb2.DT_COMPLEX64, "scomplex_val", [1, 2, 3, 4]), (types_pb2.DT_BOOL, "bool_val", [True, False]),
    (types_pb2.DT_STRING, "string_val", [b"a", b"\0"])])
@pytest.mark.parametrize("shape", [[2], [5]])
def test_value_fields_and_their_repetition(dtype, field, values, shape):
    message = proto(dtype, shape, **{field: values})
    np.testing.assert_array_equal(tensors.decode(message, "x", MIB), tf.make_ndarray(message))


def test_no_values_are_zeros():
    np.testing.assert_array_equal(tensors.decode(proto(types_pb2.DT_INT32, [2, 2]), "x", MIB), np.zeros([2, 2], np.int32))


@pytest.mark.parametrize("message, words", [
    (proto(types_pb2.DT_FLOAT, [10**6, 10**6], float_val=[0]), "at most 1,048,576 bytes"),  # 4 TB for 20 bytes
    (proto(types_pb2.DT_STRING, [10**12], string_val=[b"a"]), "at most 1,048,576 bytes"),
    (proto(types_pb2.DT_FLOAT, [2**62, 2**62]), "at most 1,048,576 bytes"),
    (proto(types_pb2.DT_FLOAT, [0, 10**12]), "at most 1,048,576 bytes"),
    (proto(types_pb2.DT_FLOAT, [-1]), "none negative"), (proto(types_pb2.DT_FLOAT, [1] * 40), "at most 32 dimensions"),
    (proto(types_pb2.DT_FLOAT, [2], tensor_content=b"1234567"), "must have 8 bytes of content. Received: 7"),
    (proto(types_pb2.DT_FLOAT, [10**4], tensor_content=b"1234"), "40000 bytes of content"),
    (proto(types_pb2.DT_STRING, [1], tensor_content=b"a"), "string_val"),
    (proto(types_pb2.DT_FLOAT, [1], float_val=[1, 2]), "at most 1 values. Received: 2"),
    (proto(types_pb2.DT_INT32, [1], float_val=[1]), "keep its values in int_val. Received: float_val"),
    (proto(types_pb2.DT_UINT8, [1], int_val=[256]), "from 0 to 255. Received: 256 to 256"),
    (proto(types_pb2.DT_COMPLEX64, [1], scomplex_val=[1]), "Received: 0|at most 1 values"),
    (proto(types_pb2.DT_HALF, [1], half_val=[-1]), "from 0 to 65535"),
    (proto(types_pb2.DT_RESOURCE, [1]), "numbers, booleans or str"),
    (proto(types_pb2.DT_VARIANT, [1]), "Received: variant"), (proto(types_pb2.DT_INVALID, [1]), "Received: type 0"),
    (proto(9999, [1]), "Received: type 9999")])
def test_harm(message, words):
    with pytest.raises(RequestError, match=words) as failure:
        tensors.decode(message, "Input 'x'", MIB)
    assert failure.value.code == grpc.StatusCode.INVALID_ARGUMENT and str(failure.value).startswith("Input 'x'")


def test_unknown_rank():
    message = proto(types_pb2.DT_FLOAT, [])
    message.tensor_shape.unknown_rank = True
    with pytest.raises(RequestError, match="known shape"):
        tensors.decode(message, "x", MIB)


def test_booleans_are_0_and_1():
    found = tensors.decode(proto(types_pb2.DT_BOOL, [3], tensor_content=b"\x00\x02\xff"), "x", MIB)
    assert found.view(np.uint8).tolist() == [0, 1, 1]


def test_random_messages_are_read_or_refused():
    rng = np.random.default_rng(0)
    for _ in range(300):
        message = tensor_pb2.TensorProto(dtype=int(rng.integers(0, 24)))
        for _ in range(rng.integers(0, 3)):
            message.tensor_shape.dim.add(size=int(rng.choice([-1, 0, 1, 2, 10**9])))
        if rng.random() < 0.5:
            message.tensor_content = rng.bytes(int(rng.integers(0, 9)))
        for field in ("float_val", "int_val", "string_val", "half_val"):
            if rng.random() < 0.3:
                getattr(message, field).extend([b"a"] if field == "string_val" else [int(rng.integers(-9, 300))])
        try:
            assert tensors.decode(message, "x", MIB).nbytes <= MIB
        except RequestError:
            pass
