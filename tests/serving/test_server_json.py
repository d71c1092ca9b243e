"""Answers as JSON: the digits that a number needs, in pieces, and the same values whatever the shape."""

import json

import numpy as np
import pytest

from hund_tf.serving import json_tensors
from hund_tf.serving.errors import RequestError
from hund_tf.serving.signatures import Port, Signature


def packed(array, by_row=False, name="y"):
    return json_tensors.pack(by_row, Signature("s", {}, {name: Port("y", 1, None)}, {}, True), {name: array})


@pytest.mark.parametrize("value, text", [
    (0.2, "0.2"), (1, "1.0"), (-0.0, "-0.0"), (288.86908, "288.86908"), (1 / 3, "0.33333334"), (1e-7, "1e-07"),
    (16777216, "16777216.0"), (3.4028235e38, "3.4028235e+38"), (1e-45, "1e-45"), (np.nan, "NaN"), (np.inf, "Infinity"),
    (-np.inf, "-Infinity")])
def test_digits_of_a_float32(value, text):
    assert packed(np.float32([value])) == f'{{"outputs": [{text}]}}'.encode()


def test_digits_of_other_types():
    assert packed(np.float16([0.2])) == b'{"outputs": [0.2]}'
    assert packed(np.float64([0.2, 1 / 3])) == b'{"outputs": [0.2, 0.3333333333333333]}'
    assert packed(np.float32(0.2)) == b'{"outputs": 0.2}' and packed(np.array([True])) == b'{"outputs": [true]}'


@pytest.mark.parametrize("shape", [[], [0], [2, 0], [4096], [5000], [3, 5000], [2, 3, 5000], [5000, 3], [2, 5000, 3],
                                   [4097, 1]])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_large_answers_are_those_that_went_in(shape, dtype):
    array = (np.random.default_rng(0).normal(size=shape) * 1000).astype(dtype)
    found = json.loads(packed(array))["outputs"]
    np.testing.assert_array_equal(np.array(found, dtype).reshape(shape), array)
    assert np.shape(found) == array.shape or not array.size
    if shape:
        assert json.loads(packed(array, by_row=True))["predictions"] == found


def test_no_piece_is_long(monkeypatch):
    longest, dumps = [0], json.dumps

    def measured(value, **options):
        longest[0] = max(longest[0], np.size(value))
        return dumps(value, **options)

    monkeypatch.setattr(json_tensors.json, "dumps", measured)
    packed(np.zeros([2, 13886, 3], np.float32))
    assert 1000 < longest[0] <= json_tensors._PIECE


def test_outputs_that_differ_in_rows():
    signature = Signature("s", {}, {name: Port(name, 1, None) for name in "ab"}, {}, False)
    with pytest.raises(RequestError, match=r"equal first dimensions .*\{'a': 2, 'b': 3\}"):
        json_tensors.pack(True, signature, {"a": np.zeros(2), "b": np.zeros(3)})
