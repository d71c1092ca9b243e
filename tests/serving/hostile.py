"""Good requests and a random generator in, requests of careless and hostile clients out."""

import json
from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2

from tests.export import photos

SIZES = (-2**63, -2**31, -1, 0, 1, 2, 3, 4, 7, 2**16, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
TYPES = (*range(0, 27), 101, 9999, -1)  # numbers of `DataType`, and of none
FIELDS = ("float_val", "double_val", "int_val", "string_val", "scomplex_val", "int64_val", "bool_val", "half_val", "uint32_val")
NAMES = ("", " ", "X", "x\0", "../x", "x:0", "%s%n", "é" * 40, "a" * 5000, "\U0001f480", "__saved_model_init_op")
NUMBERS = (np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1e-45, 3e38, -3e38)
TOKENS = (b"NaN", b"-Infinity", b"1e999", b"-1", b"1" * 400, b"[", b"]" * 3, b"{", b"}", b'"', b"\\ud800", b"null", b"true",
          b",", b'{"b64": "?"}', b"[" * 2000, b"\xff\xfe", b"\0", b'"instances": 1, ')
# Heights and widths that no photo may have; then one that would be allowed. Half a JPEG is one to many readers.
CLAIMS = ((0, 0), (1, 1), (15, 15), (16, 16_385), (65_500, 65_500), (10_001, 10_000), (2000, 1000))
PNG_CLAIMS = ((2**31 - 1, 2**31 - 1), (2**32 - 1, 2**32 - 1), (2**31, 16), (10_000, 10_000), (16_384, 6_000))


class Shot(NamedTuple):
    """A request: the kind of change, its bytes, whether it is valid (None: that is left to the server)."""

    what: str
    message: bytes
    valid: Optional[bool]


def shots(good, count, seed, kinds=None):
    """Random changes of good requests.

    Args:
        good: list of `PredictRequest`.
        count: int.
        seed: int.
        kinds: names of changes; all those of tensors, names and bytes if None, but messages that are too long, which take time.

    Yields:
        `Shot`.
    """
    rng = np.random.default_rng(seed)
    kinds = list(kinds or [kind for kind in (*_TENSOR, *_REQUEST, *_BYTES) if kind != "too long"])
    for i in range(count):
        kind = kinds[i % len(kinds)]
        request = predict_pb2.PredictRequest()
        request.CopyFrom(_one(rng, good))
        if kind in _BYTES:
            yield Shot(f"{kind}, {i} of seed {seed}", *_BYTES[kind](rng, request.SerializeToString(deterministic=True)))
            continue
        if kind in _REQUEST:
            valid = _REQUEST[kind](rng, request)
        elif request.inputs:
            name = _one(rng, sorted(request.inputs))
            valid = _TENSOR[kind](rng, name, request.inputs[name])
        else:
            valid = True
        yield Shot(f"{kind}, {i} of seed {seed}", request.SerializeToString(), valid)


def photo_shots(count, seed):
    """Photos, most of them hostile: (kind, bytes, valid) each."""
    rng = np.random.default_rng(seed)
    good, kinds = good_photos(), list(_PHOTO)
    for i in range(count):
        kind = kinds[i % len(kinds)]
        yield (f"{kind}, {i} of seed {seed}", *_PHOTO[kind](rng, _one(rng, list(good.values()))))


def good_photos():
    """Small photos of every kind that is read, by its name."""
    picture = photos.picture(height=24, width=32)
    image = Image.fromarray(picture)
    return {
        "jpeg": photos.encoded(picture, "JPEG"), "progressive": photos.encoded(picture, "JPEG", progressive=True),
        "gray": photos.encoded(image.convert("L"), "JPEG"), "cmyk": photos.encoded(image.convert("CMYK"), "JPEG"),
        "turned": photos.with_segment(photos.encoded(picture, "JPEG"), b"Exif\0\0" + photos.tiff(6)),
        "png": photos.encoded(picture, "PNG"), "palette": photos.encoded(image.quantize(9), "PNG"),
        "transparent": photos.encoded(photos.picture(4, 24, 32), "PNG"), "16 bits": photos.png_16_bit(picture),
        "animated": photos.encoded(image, "PNG", save_all=True, append_images=[image.rotate(180)])}


def bodies(good, count, seed):
    """Random changes of JSON texts: bytes."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        body = json.dumps(_one(rng, good)).encode()
        at, end = sorted(int(place) for place in rng.integers(0, len(body) + 1, 2))
        yield (body[:at], body[:at] + body[end:], body[:at] + _one(rng, TOKENS) + body[at:],
               body[:at] + _one(rng, TOKENS) + body[end:], _flipped(rng, body), rng.bytes(at))[i % 6]


def _one(rng, values):
    return values[rng.integers(len(values))]  # rng.choice would cut zeros off the ends of texts


def _other_type(rng, name, tensor):
    tensor.dtype = int(rng.choice([kind for kind in TYPES if kind != tensor.dtype]))
    return False


def _other_shape(rng, name, tensor):
    del tensor.tensor_shape.dim[:]
    for size in rng.choice(np.array(SIZES, object), 40 if rng.random() < 0.05 else rng.integers(0, 5)):
        tensor.tensor_shape.dim.add(size=int(size))


def _unknown_rank(rng, name, tensor):
    tensor.tensor_shape.unknown_rank = True
    return False


def _content_of_other_length(rng, name, tensor):
    content = tensor.tensor_content or b"12345678" if tensor.dtype == 7 else tf.make_ndarray(tensor).tobytes()
    for field in FIELDS:
        tensor.ClearField(field)
    cut = int(rng.integers(1, len(content)))
    tensor.tensor_content = content[:-cut] if rng.random() < 0.7 else content + rng.bytes(cut)
    return False


def _other_field(rng, name, tensor):
    """Values in any field; whether it is that of the type is chance."""
    tensor.tensor_content = b""
    for field in FIELDS:
        tensor.ClearField(field)
    for field in rng.choice(FIELDS, rng.integers(1, 3)):
        value = {"string_val": b"\xff\xd8\xff", "bool_val": True}.get(field, int(rng.choice([0, 1, 255, 2**31 - 1])))
        getattr(tensor, field).extend([value] * int(rng.choice([1, 2, 3, 100])))


def _one_more_field(rng, name, tensor):
    field = rng.choice(FIELDS)
    getattr(tensor, field).append({"string_val": b"", "bool_val": True}.get(field, 1))


def _other_values(rng, name, tensor):
    array = np.array(tf.make_ndarray(tensor))
    if array.dtype.kind == "O":
        tensor.CopyFrom(tf.make_tensor_proto(np.array([rng.bytes(rng.integers(0, 40)) for _ in array], object)))
        return None
    limits = None if array.dtype.kind == "f" else np.iinfo(array.dtype)
    flat = array.reshape(-1)
    for at in rng.integers(0, flat.size, min(flat.size, 3)):
        flat[at] = rng.choice(NUMBERS if limits is None else [limits.min, limits.max, 0, 1])
    tensor.CopyFrom(tf.make_tensor_proto(array))
    return False if name in ("intrinsics", "boxes") and not np.all(np.isfinite(array)) else None


def _other_name(rng, request):
    if request.inputs:
        name = _one(rng, sorted(request.inputs))
        request.inputs[_one(rng, NAMES)].CopyFrom(request.inputs[name])
        del request.inputs[name]
        return False
    request.inputs[_one(rng, NAMES)].dtype = 1
    return False


def _no_name(rng, request):
    for name in sorted(request.inputs):
        if rng.random() < 0.5:
            del request.inputs[name]


def _unknown_output(rng, request):
    request.output_filter.append(_one(rng, NAMES))
    return False


def _unknown_signature(rng, request):
    request.model_spec.signature_name = _one(rng, NAMES[1:])
    return False


def _unknown_model(rng, request):
    request.model_spec.name = _one(rng, NAMES)
    return False


def _unknown_version(rng, request):
    if rng.random() < 0.5:
        request.model_spec.version.value = int(rng.choice([-2**63, -1, 0, 2, 2**63 - 1]))
    else:
        request.model_spec.version_label = _one(rng, NAMES[1:])
    return False


def _good(rng, *unused):
    return True


def _flipped(rng, data):
    data = bytearray(data)
    for at in rng.integers(0, max(len(data), 1), rng.integers(1, 9)):
        if data:
            data[at] = rng.integers(256)
    return bytes(data)


def _cut(rng, data):
    return data[:rng.integers(0, len(data))]


def _spliced(rng, data):
    first, second, third = (int(place) for place in rng.integers(0, len(data), 3))
    return data[:first] + data[second:third] + data[first:]


def _claiming(rng, data):
    png = data.startswith(b"\x89")
    size = _one(rng, CLAIMS + PNG_CLAIMS if png else CLAIMS)
    return photos.claiming(data, *size), None if size == CLAIMS[-1] and not png else False


def _hostile_exif(rng, data):
    """Valid: whoever cannot read EXIF takes the photo as it lies."""
    exif = _flipped(rng, photos.tiff(int(rng.integers(0, 12)), rng.random() < 0.5, before=int(rng.integers(0, 4))))
    if data.startswith(b"\x89"):
        return photos.with_chunk(data, b"eXIf", exif), True
    return photos.with_segment(data, b"Exif\0\0" + exif), True


def _other_kind(rng, data):
    return photos.encoded(photos.picture(height=24, width=32), str(rng.choice(["GIF", "BMP", "WEBP", "TIFF"]))), False


def _too_small(rng, data):
    height, width = (int(side) for side in rng.choice([(1, 1), (1, 400), (15, 16), (16, 15)]))
    return photos.encoded(photos.picture(height=height, width=width), str(rng.choice(["PNG", "JPEG"]))), False


def _only_a_start(rng, data):
    start = _one(rng, (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", data[:8], data[:2] + bytes(500)))
    return start + rng.bytes(int(rng.choice([0, 5, 70_000]))), False


_TENSOR = {"other type": _other_type, "other shape": _other_shape, "unknown rank": _unknown_rank,
           "content of another length": _content_of_other_length, "other field": _other_field,
           "one more field": _one_more_field, "other values": _other_values}
_REQUEST = {"other name": _other_name, "no name": _no_name, "unknown output": _unknown_output, "good": _good,
            "unknown signature": _unknown_signature, "unknown model": _unknown_model, "unknown version": _unknown_version}
_BYTES = {"flipped bytes": lambda *given: (_flipped(*given), None), "cut message": lambda *given: (_cut(*given), None),
          "spliced message": lambda *given: (_spliced(*given), None),
          "random message": lambda rng, data: (rng.bytes(90), False),
          "too long": lambda rng, data: (bytes(2**20 + 1), False)}
_PHOTO = {"good": lambda rng, data: (data, True), "flipped bytes": lambda *given: (_flipped(*given), None),
          "flipped start": lambda rng, data: (_flipped(rng, data[:48]) + data[48:], None),
          "cut": lambda *given: (_cut(*given), None), "spliced": lambda *given: (_spliced(*given), None),
          "joined": lambda rng, data: (data + data[::-1], True), "swapped start": lambda rng, data: (
              (b"\xff\xd8\xff\xe0" if data.startswith(b"\x89") else b"\x89PNG\r\n\x1a\n") + data[8:], False),
          "claimed size": _claiming, "hostile EXIF": _hostile_exif, "other kind": _other_kind,
          "too small": _too_small, "only a start": _only_a_start}
