"""TensorFlow Serving's JSON in, arrays out, and back: rows ("instances") or columns ("inputs"), bytes as {"b64": ...}."""

import base64
import binascii
import json

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from hund_tf.serving.errors import invalid

MAX_VALUES = 2**20  # of a body; while the interpreter parses them, it does nothing else
_PIECE = 4096  # numbers written in one call; the interpreter can do nothing else during it
_BRACKETS = b",", b"[", b"{"


class Body:
    """A parsed Predict request: its `signature`'s name, and whether its values come `by_row` ("instances")."""

    def __init__(self, request):
        self.by_row = "instances" in request
        self.signature, self._filter = request.get("signature_name", ""), request.get("output_filter", [])
        self._values = [request["instances" if self.by_row else "inputs"]]

    def unpack(self, signature):
        """The arrays, dict by input, and the names of outputs; lets go of what was parsed, so it can be called once.

        Args:
            signature: `Signature`.

        Raises:
            RequestError: INVALID_ARGUMENT where the values do not fit the signature.
        """
        try:
            columns = (_from_rows if self.by_row else _from_columns)(self._values.pop(), signature)
            feeds = {}
            for name, value in columns.items():
                port = signature.port(name)
                feeds[name] = _array(name, value, port.dtype)
                signature.check(name, feeds[name], port.dtype)
            return feeds, self._filter
        except RecursionError:
            raise invalid("Lists must have at most 32 levels. Received: more.") from None


def parse(body):
    """The JSON object of a Predict request; keys that mean nothing are passed over, as TensorFlow Serving does.

    Args:
        body: bytes.

    Returns:
        `Body`.

    Raises:
        RequestError: INVALID_ARGUMENT if it is none.
    """
    values = sum(map(body.count, _BRACKETS))  # of texts, too; base64 has none of these
    if values > MAX_VALUES:
        raise invalid(f"A JSON body must have at most {MAX_VALUES:,} values, counted by its commas and opening brackets; a "
                      f"photo goes as b64, a large tensor by gRPC. Received: {values:,}.")
    try:
        request = _loads(body)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise invalid(f"The body must be JSON. Received: {type(error).__name__} ({str(error)[:200]}).") from None
    if not isinstance(request, dict) or ("instances" in request) == ("inputs" in request):
        what = sorted(map(str, request))[:10] if isinstance(request, dict) else type(request).__name__
        raise invalid(f"The body must be a JSON object with either instances or inputs. Received: {what}.")
    names = request.get("output_filter", [])
    if not isinstance(request.get("signature_name", ""), str) or not isinstance(names, list) or not all(
            isinstance(name, str) for name in names):
        raise invalid("signature_name must be text and output_filter a list of texts. Received: something else.")
    return Body(request)


def _loads(body):
    return json.loads(body, parse_int=_whole, parse_float=_fraction)


# In place of `int` and `float`: between two functions written in Python, other threads can have the interpreter.
def _whole(text):
    return int(text)


def _fraction(text):
    return float(text)


def pack(by_row, signature, outputs):
    """The answer as JSON bytes: "predictions" for rows, "outputs" for columns."""
    outputs = {name: _shortest(array) for name, array in outputs.items()}
    if not by_row:
        columns = {name: "".join(_pieces(array, name)) for name, array in outputs.items()}
        text = next(iter(columns.values())) if len(columns) == 1 and len(signature.outputs) == 1 else _object(columns)
        return f'{{"outputs": {text}}}'.encode()
    sizes = {name: array.shape[0] if array.ndim else None for name, array in outputs.items()}
    if len(set(sizes.values())) != 1 or None in sizes.values():
        raise invalid(f"Outputs must have equal first dimensions to be sent by row; use inputs in place of instances. "
                      f"Received: {sizes}.")
    rows = []
    for i in range(next(iter(sizes.values()))):
        columns = {name: "".join(_pieces(array[i, ...], name)) for name, array in outputs.items()}
        rows.append(next(iter(columns.values())) if len(columns) == 1 and len(signature.outputs) == 1 else _object(columns))
    return f'{{"predictions": [{", ".join(rows)}]}}'.encode()


def _from_rows(rows, signature):
    if not isinstance(rows, list) or not rows:
        raise invalid(f"instances must be a list of one row or more. Received: {type(rows).__name__} without rows.")
    if not all(isinstance(row, dict) and not _is_bytes(row) for row in rows):
        return {_only_input(signature): rows}
    names = set(rows[0])
    if any(set(row) != names for row in rows):
        raise invalid("All instances must have the same inputs. Received: rows that differ.")
    return {name: [row[name] for row in rows] for name in names}


def _from_columns(columns, signature):
    if isinstance(columns, dict) and not _is_bytes(columns):
        return columns
    return {_only_input(signature): columns}


def _only_input(signature):
    needed = [name for name in signature.inputs if name not in signature.defaults] or list(signature.inputs)
    if len(needed) != 1:
        raise invalid(f"Inputs of signature {signature.name!r} must be named: {', '.join(sorted(needed)) or 'it has none'}. "
                      "Received: values without a name.")
    return needed[0]


def _array(name, value, dtype):
    if dtype == types_pb2.DT_STRING:
        array = np.array(_bytes(name, value), object)
        if not all(isinstance(item, bytes) for item in array.flat):
            raise invalid(f"Input {name!r} must be lists of equal lengths. Received: lists that differ.")
        return array
    wanted = tf.dtypes.as_dtype(dtype)
    try:
        array = np.array(value)
    except (ValueError, OverflowError):  # lists of different lengths
        array = np.array(None)
    kinds = {"b": "b", "i": "iu", "u": "iu"}.get(np.dtype(wanted.as_numpy_dtype).kind, "iuf")
    if array.dtype.kind not in kinds and array.size:
        raise invalid(f"Input {name!r} must be {wanted.name}, lists of equal lengths. Received: {_kind(array)}.")
    if "f" not in kinds and array.size and kinds != "b":
        limits = np.iinfo(wanted.as_numpy_dtype)
        if not limits.min <= int(array.min()) <= int(array.max()) <= limits.max:
            raise invalid(f"Input {name!r} must have values from {limits.min} to {limits.max}. Received: "
                          f"{array.min()} to {array.max()}.")
    with np.errstate(over="ignore"):
        return array.astype(wanted.as_numpy_dtype)


def _kind(array):
    return {"f": "fractions", "b": "true or false", "U": "text", "O": "values of several kinds or lists that differ",
            "i": "whole numbers", "u": "whole numbers"}.get(array.dtype.kind, str(array.dtype))


def _is_bytes(value):
    return isinstance(value, dict) and set(value) == {"b64"}


def _bytes(name, value):
    if isinstance(value, list):
        return [_bytes(name, item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if _is_bytes(value) and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise invalid(f"Input {name!r} must be base64 in b64. Received: {error}.") from None
    raise invalid(f'Input {name!r} must be text or {{"b64": base64 of bytes}}. Received: {type(value).__name__}.')


def _object(columns):
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in columns.items()) + "}"


def _pieces(array, name):
    """JSON of an array in pieces; NaN and infinities as TensorFlow Serving writes them (NaN, Infinity)."""
    if array.dtype.kind == "O":
        yield json.dumps(_texts(array.tolist(), name.endswith("_bytes")))
    elif array.ndim and array.size > _PIECE:
        rows = max(1, _PIECE * len(array) // array.size)
        yield "["
        for i in range(0, len(array), rows):
            yield ", " if i else ""
            if rows > 1:
                yield json.dumps(array[i:i + rows].tolist())[1:-1]
            else:
                yield from _pieces(array[i, ...], name)
        yield "]"
    else:
        yield json.dumps(array.tolist())


def _shortest(array):
    """Numbers that are written with as few digits as bring a float32 or float16 back: 0.2, as a float64 0.20000000298023224."""
    if array.dtype.kind != "f" or array.dtype.itemsize > 4:
        return array
    flat = array.reshape(-1)
    found = np.empty(flat.shape, np.float64)
    for i in range(0, len(flat), _PIECE):
        found[i:i + _PIECE] = flat[i:i + _PIECE].astype(str).astype(np.float64)
    return found.reshape(array.shape)


def _texts(value, as_bytes):
    if isinstance(value, list):
        return [_texts(item, as_bytes) for item in value]
    value = value if isinstance(value, bytes) else str(value).encode()
    if not as_bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(value).decode()}
