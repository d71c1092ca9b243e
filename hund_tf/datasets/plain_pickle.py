"""Reads a pickle of plain data (numbers, text, lists, dicts, NumPy arrays) from anywhere: nothing else is ever called.

A pickle is a program. Here it may name a few things, all replaced by stand-ins of this file, so that not even NumPy's
own unpickling runs; any other name is refused before it is looked up.
"""

import pickle

import numpy as np

_KINDS = "biufSU"  # of array elements; objects are lists of what the pickle itself may hold


def read(path):
    """What a pickle holds; text of Python 2 is taken for Latin-1.

    Args:
        path: str.

    Returns:
        Plain Python values and NumPy arrays.

    Raises:
        ValueError: if the pickle names anything but arrays and their types, or is damaged.
    """
    with open(path, "rb") as file:
        try:
            return _plain(_Unpickler(file, encoding="latin1").load())
        except _Refused as error:
            raise ValueError(f"{path} must be a pickle of plain data: numbers, text, lists, dicts and NumPy arrays. "
                             f"Received: {error}.") from None
        except RecursionError:
            raise ValueError(f"{path} must be a pickle of plain data. Received: values nested too deep.") from None
        except Exception as error:  # a damaged pickle raises nearly anything
            raise ValueError(f"{path} must be a complete pickle. Received: {type(error).__name__}: {error}.") from None


class _Refused(Exception):
    pass


class _Array:
    """Stands in for `numpy.ndarray`: its data become an array in `__setstate__`."""

    value = np.zeros(0)

    def __setstate__(self, state):
        _, shape, dtype, fortran, data = state
        order = "F" if fortran else "C"
        if isinstance(data, list):
            self.value = np.empty(len(data), object)
            self.value[:] = [_plain(item) for item in data]
        else:
            self.value = np.frombuffer(_bytes(data), dtype.value).copy()
        self.value = self.value.reshape(shape, order=order)


class _Type:
    """Stands in for `numpy.dtype`."""

    def __init__(self, code, *_):
        self.value = np.dtype(code) if isinstance(code, str) else None
        if self.value is None or self.value.kind not in _KINDS + "O" or self.value.subdtype or self.value.names:
            raise _Refused(f"the array type {code!r}")

    def __setstate__(self, state):
        if state[1] in ("<", ">"):
            self.value = self.value.newbyteorder(state[1])


def _new_array(*_):
    return _Array()


def _scalar(dtype, data):
    if dtype.value.kind not in _KINDS:
        raise _Refused(f"a scalar of type {dtype.value}")
    return np.frombuffer(_bytes(data), dtype.value)[0]


def _encode(text, codec):
    if codec != "latin1":
        raise _Refused(f"bytes in the codec {codec!r}")
    return text.encode(codec)


def _no_bytes(*content):
    if content:
        raise _Refused("bytes made of other values")
    return b""


def _bytes(data):
    return data.encode("latin1") if isinstance(data, str) else bytes(data)


_STAND_INS = {("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Type, ("_codecs", "encode"): _encode,
              ("__builtin__", "bytes"): _no_bytes,
              **{(module, name): stand_in for module in ("numpy.core.multiarray", "numpy._core.multiarray")
                 for name, stand_in in (("_reconstruct", _new_array), ("scalar", _scalar))}}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _STAND_INS:
            raise _Refused(f"{module}.{name}")
        return _STAND_INS[module, name]

    def persistent_load(self, pid):
        raise _Refused(f"a persistent object {pid!r}")


def _plain(value):
    """The value with arrays for stand-ins."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value
