"""Photos too large to be looked at are refused before they are decoded."""

import io
import struct
import zlib

import grpc
import numpy as np
import pytest
from PIL import Image

from hund_tf.serving.image_checks import check_images
from tests.serving.calls import Caller


def encoded(kind, width=32, height=20):
    data = io.BytesIO()
    Image.new("RGB", (width, height)).save(data, kind)
    return data.getvalue()


def png_that_claims(width, height):
    chunks = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT"
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
                                           for chunk in chunks)


def jpeg_that_claims(width, height):
    data = bytearray(encoded("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5:at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def strings(*values):
    array = np.empty([len(values)], object)
    array[:] = list(values)
    return {"image_bytes": array}


@pytest.mark.parametrize("feeds", [
    strings(encoded("JPEG"), encoded("PNG"), encoded("GIF"), encoded("BMP")), strings(b"", b"any text", b"\xff\xfe"),
    {"image": np.zeros([40, 30, 3], np.uint8)}, {"image": np.zeros([0, 30, 3], np.uint8)}, {"x": np.zeros([20_000, 2, 3])},
    strings(png_that_claims(10_000, 6_500))])
def test_what_may_pass(feeds):
    check_images(None, feeds)


@pytest.mark.parametrize("feeds, words", [
    (strings(png_that_claims(60_000, 10)), "Received: 60,000 x 10 pixels in input 'image_bytes'"),
    (strings(jpeg_that_claims(16_000, 16_000)), "Received: 256 megapixels"),
    (strings(png_that_claims(10_000, 6_600)), "66 megapixels in input 'image_bytes'"),
    (strings(png_that_claims(2**31 - 1, 2**31 - 1)), "Received: [0-9,]+ megapixels"),
    (strings(*[png_that_claims(8000, 8000)] * 2), "at most 65 megapixels each, and together at most 100. Received: 128"),
    (strings(encoded("PNG")[:20]), "header must be whole. Received: PNG"), (strings(b"\xff\xd8\xff\xe0"), "Received: JPEG"),
    ({"image": np.zeros([2, 20_000, 3], np.uint8)}, "Received: 20,000 x 2"),
    ({"image": np.broadcast_to(np.uint8(0), [12_000, 12_000, 3])}, "Received: 144 megapixels"),
    ({"crops": np.broadcast_to(np.uint8(0), [1000, 480, 480, 3])}, "Received: 230 megapixels")])
def test_what_must_not(feeds, words):
    with pytest.raises(ValueError, match=words):
        check_images(None, feeds)


def test_damaged_headers_are_no_faults():
    rng = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "BMP"):
        whole = encoded(kind)
        for _ in range(60):
            data = bytearray(whole[:int(rng.integers(4, len(whole)))])
            for at in rng.integers(4, max(5, len(data)), 3):
                if at < len(data):
                    data[at] = rng.integers(256)
            try:
                check_images(None, strings(bytes(data)))
            except ValueError:
                pass


def test_server_says_so(serve):
    caller = Caller(serve(input_checks=[check_images]).address)
    assert caller.predict("image", image=np.zeros([4, 5, 3], np.uint8))["size"].tolist() == [4, 5]
    with pytest.raises(grpc.RpcError, match="at most 16,384 pixels") as failure:
        caller.predict("image", image=np.zeros([1, 20_000, 3], np.uint8))
    assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    caller.channel.close()
