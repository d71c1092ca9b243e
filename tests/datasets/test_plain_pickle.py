"""Pickles from anywhere: arrays and plain values come through, and nothing that a pickle names is ever run."""

import os
import pickle

import numpy as np
import pytest

from hund_tf.datasets import plain_pickle


def save(path, value, protocol=2):
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return str(path)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_plain_values_and_arrays_come_through(tmp_path, protocol):
    value = {"a": [np.arange(6.0).reshape(2, 3), np.zeros((0, 4), np.int32)], "name": "x",
             "n": (1, 2.5, None, True, b"\xff"),
             "f": np.asfortranarray(np.arange(6).reshape(2, 3)), "big": np.arange(3, dtype=">f4"),
             "flags": np.array([True, False]), "one": np.float64(3.5), "text": np.array(["m", "ff"])}
    read = plain_pickle.read(save(tmp_path / "a.pkl", value, protocol))
    for key in ("f", "big", "flags", "text"):
        np.testing.assert_array_equal(read[key], value[key])
    np.testing.assert_array_equal(read["a"][0], value["a"][0])
    assert read["a"][1].shape == (0, 4) and read["n"] == value["n"] and read["name"] == "x" and read["one"] == 3.5


def test_arrays_of_arrays_come_through(tmp_path):
    value = np.empty(2, object)
    value[:] = [np.arange(3), {"a": np.ones(2)}]
    read = plain_pickle.read(save(tmp_path / "a.pkl", value))
    np.testing.assert_array_equal(read[0], [0, 1, 2])
    np.testing.assert_array_equal(read[1]["a"], [1, 1])


def test_a_python_2_pickle_with_text_for_bytes(tmp_path):
    # what Python 2 wrote for array([1.0, -2.0]): the data as a str
    text = np.array([1.0, -2.0]).tobytes()
    head = (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
            b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R"
            b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U")
    read = plain_pickle.read(save(tmp_path / "a.pkl", head + bytes([len(text)]) + text + b"tb."))
    np.testing.assert_array_equal(read, [1.0, -2.0])


def test_newer_numpy_names_are_known(tmp_path):
    data = pickle.dumps(np.arange(3), 2).replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    np.testing.assert_array_equal(plain_pickle.read(save(tmp_path / "a.pkl", data)), [0, 1, 2])


class Malicious:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize("value, name", [
    (Malicious(), f"{os.system.__module__}.system"), ({"a": [Malicious()]}, "system"),
    (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"), (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
    (b"\x80\x02cnumpy\nndarray.tofile\n.", "numpy.ndarray.tofile"), (b"S'x'\nQ.", "persistent"),
    (np.zeros(2, "f4,i4"), "type"), (slice(1, 2), "slice"),
])
def test_anything_else_is_refused_by_name_and_never_runs(tmp_path, monkeypatch, value, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"(?s)bad.pkl must be a pickle of plain data.*{name}"):
        plain_pickle.read(save(tmp_path / "bad.pkl", value))
    assert os.listdir(tmp_path) == ["bad.pkl"]  # no file "ran"


def test_an_array_in_an_array_cannot_hide_a_call(tmp_path):
    value = np.empty(1, object)
    value[0] = Malicious()
    with pytest.raises(ValueError, match="system"):
        plain_pickle.read(save(tmp_path / "a.pkl", value))


@pytest.mark.parametrize("data", [b"", b"\x80\x02", pickle.dumps(np.arange(9), 2)[:-20], b"no pickle"])
def test_damaged_pickles_are_refused(tmp_path, data):
    with pytest.raises(ValueError, match="a.pkl must be a complete pickle"):
        plain_pickle.read(save(tmp_path / "a.pkl", data))
