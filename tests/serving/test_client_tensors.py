"""Tensors on the wire: what goes in comes out, lists of values and repeated last values too, and nonsense is refused."""

import numpy as np
import pytest

from hund_tf.client import serving_api_pb2 as api
from hund_tf.client import tensors

DTYPES = (np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_)


def message(dtype, shape, **values):
    return api.TensorProto(dtype=dtype, tensor_shape={"dim": [{"size": size} for size in shape]}, **values)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 4), (2, 1, 0)])
def test_arrays_come_back(dtype, shape):
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    back = tensors.decode(api.TensorProto.FromString(tensors.encode(array).SerializeToString()))
    assert back.dtype == array.dtype and back.shape == shape
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("array", [np.array(b"a\0b\xff\0", object), np.array([b"", b"yes"], object),
                                   np.empty([0], object), np.array([[b"a"], [b"bcd"]])])
def test_strings_come_back(array):
    back = tensors.decode(tensors.encode(array))
    assert back.dtype == object and back.shape == array.shape and back.tolist() == array.tolist()


def test_layout_in_memory_does_not_matter():
    array = np.arange(12, dtype=">f4").reshape(3, 4)
    for view in (array, array.T, array[::2, ::-1]):
        np.testing.assert_array_equal(tensors.decode(tensors.encode(view)), view)


def test_bytes_by_hand():
    assert tensors.encode(np.array([1, -2], np.int32)).tensor_content == b"\x01\0\0\0\xfe\xff\xff\xff"


@pytest.mark.parametrize("dtype, field, values", [
    (api.DT_FLOAT, "float_val", [np.array([1.5, -2], "<f4").tobytes()]), (api.DT_INT32, "int_val", [1, -2]),
    (api.DT_DOUBLE, "double_val", [np.array([1.5], "<f8").tobytes(), np.array([-2], "<f8").tobytes()]),  # in two pieces
    (api.DT_INT64, "int64_val", [1 << 40, -2]), (api.DT_UINT8, "int_val", [255, 2]), (api.DT_BOOL, "bool_val", [False, True]),
    (api.DT_STRING, "string_val", [b"a", b"b"])])
def test_short_lists_repeat_their_last_value(dtype, field, values):
    two = tensors.decode(message(dtype, [2], **{field: values}))
    np.testing.assert_array_equal(tensors.decode(message(dtype, [2, 2], **{field: values})), [two, [two[1], two[1]]])
    zeros = tensors.decode(message(dtype, [3]))
    assert zeros.dtype == two.dtype and zeros.tolist() == [zeros.dtype.type() if dtype != api.DT_STRING else b""] * 3


@pytest.mark.parametrize("tensor, words", [
    (message(api.DT_FLOAT, [3], tensor_content=b"\0" * 8), "must hold 3 values. Received: 2"),
    (message(api.DT_FLOAT, [1], tensor_content=b"\0" * 5), "multiple of 4. Received: 5"),
    (message(api.DT_INT32, [1], int_val=[1, 2]), "Received: 2 values"),
    (message(api.DT_INT32, [0], int_val=[1, 2]), "Received: 2 values"),
    (message(api.DT_INT32, [-1], int_val=[1]), "shape must be known"),
    (message(api.DT_FLOAT, [1 << 40], float_val=[b"\0" * 4]), "at most"),
    (message(api.DT_STRING, [2], tensor_content=b"\1\1ab"), "string_val"),
    (message(19, [1]), "Received: DataType 19"),
    (api.TensorProto(dtype=1, tensor_shape={"unknown_rank": True}), "must be known")])
def test_contradictions_are_refused(tensor, words):
    with pytest.raises(ValueError, match=words):
        tensors.decode(tensor)


@pytest.mark.parametrize("array, words", [(np.zeros(2, np.float16), "Received: float16"), (np.array(["text"]), "Received: <U4"),
                                          (np.array(["text"], object), "an array of \\['str'\\]")])
def test_other_dtypes_are_refused(array, words):
    with pytest.raises(ValueError, match=words):
        tensors.encode(array)
