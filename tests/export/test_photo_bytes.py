"""Photos decoded in the graph are as `hund_tf.images` reads them; what is no such photo is refused before it is decoded."""

import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from hund_tf import images
from hund_tf.export import photo_bytes
from tests.export.photos import (chunk, claiming, encoded, picture, png_16_bit, tiff, with_chunk, with_last_chunk,
                                 with_segment)

HEIGHT, WIDTH = picture().shape[:2]
JPEG, PNG = encoded(picture(), "JPEG"), encoded(picture(), "PNG")
EXIF = b"Exif\0\0" + tiff(6)
TURNED = with_segment(JPEG, EXIF)
PROFILE = b"ICC_PROFILE\0\1\1" + bytes(65_000)
XMP = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@pytest.fixture(scope="module")
def decode():
    traced = tf.function(photo_bytes.decode, autograph=False, input_signature=[tf.TensorSpec([], tf.string)])
    return lambda data: traced(tf.constant(data)).numpy()


def as_read(tmp_path, data):
    path = tmp_path / "photo"
    path.write_bytes(data)
    return images.read_image(path)


@pytest.mark.parametrize("options", [{}, {"quality": 30}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}],
                         ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg(tmp_path, decode, channels, options):
    data = encoded(picture(channels), "JPEG", **options)
    found = decode(data)
    assert found.dtype == np.uint8 and found.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(found, as_read(tmp_path, data))


def test_jpeg_in_cmyk(tmp_path, decode):
    data = encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG", quality=95)
    difference = decode(data).astype(int) - as_read(tmp_path, data)
    assert np.abs(difference).max() <= 1  # ink to light is rounded in two ways


def test_jpeg_with_restarts_and_segments(tmp_path, decode):
    data = encoded(picture(), "JPEG", restart_marker_blocks=2, comment=b"Exif", icc_profile=b"p" * 70_000)
    np.testing.assert_array_equal(decode(data), as_read(tmp_path, data))


@pytest.mark.parametrize("little", [True, False], ids=["Intel", "Motorola"])
@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_of_a_jpeg(tmp_path, decode, value, little):
    data = with_segment(encoded(picture(), "JPEG"), b"Exif\0\0" + tiff(value, little, before=value, first=8 + value))
    found = decode(data)
    assert found.shape == ((HEIGHT, WIDTH, 3) if value < 5 else (WIDTH, HEIGHT, 3))
    np.testing.assert_array_equal(found, as_read(tmp_path, data))


@pytest.mark.parametrize("value", [3, 6])
def test_orientation_of_a_png(tmp_path, decode, value):
    data = with_chunk(encoded(picture(), "PNG"), b"eXIf", tiff(value, value == 3))
    np.testing.assert_array_equal(decode(data), as_read(tmp_path, data))


@pytest.mark.parametrize("data", [
    pytest.param(with_segment(with_segment(TURNED, PROFILE, 0xE2), PROFILE, 0xE2), id="after profiles"),
    pytest.param(with_segment(TURNED, XMP), id="after XMP"),
    pytest.param(with_segment(TURNED, b"Exif\0\0" + tiff(3), 0xE2), id="after the mark elsewhere"),
    pytest.param(with_segment(TURNED, b"Exif\0"), id="after half a mark"),
    pytest.param(with_segment(with_segment(JPEG, b"Exif\0\0" + tiff(1)), EXIF), id="first of two"),
    pytest.param(with_segment(JPEG, b"Exif\0\0" + tiff(6, kind=4)), id="32 bits"),
    pytest.param(with_segment(JPEG, b"Exif\0\0" + tiff(6, False, kind=4)), id="32 bits, Motorola"),
    pytest.param(TURNED[:2] + b"\xff" * 7 + TURNED[2:], id="after fill bytes"),
    pytest.param(TURNED[:2] + b"\xff\xd0" + TURNED[2:], id="after a bare marker"),
    pytest.param(TURNED[:2] + b"\xff\xe5\0\0" + TURNED[2:], id="after length 0"),
    pytest.param(TURNED[:2] + b"\xff\xe1\0\1" + TURNED[2:], id="after length 1"),
    pytest.param(TURNED[:2] + 4000 * b"\xff\xe5\0\2" + TURNED[2:], id="after 4,000 segments")])
def test_exif_of_any_segment_turns_a_jpeg(tmp_path, decode, data):
    found = decode(data)
    assert found.shape == (WIDTH, HEIGHT, 3)
    np.testing.assert_array_equal(found, as_read(tmp_path, data))


@pytest.mark.parametrize("data", [
    with_segment(JPEG, EXIF, 0xFE), with_segment(JPEG, b"http://ns.adobe.com/xap/1.0/\0 " + EXIF), JPEG + TURNED,
    with_segment(JPEG, b"Exif\0" + tiff(6)), with_segment(JPEG, b" " + EXIF)],
    ids=["in a comment", "in XMP", "after the end", "half a mark", "a byte late"])
def test_the_mark_elsewhere_turns_no_jpeg(tmp_path, decode, data):
    np.testing.assert_array_equal(decode(data), decode(JPEG))
    np.testing.assert_array_equal(decode(data), as_read(tmp_path, data))


def test_exif_after_much_of_a_png_turns_it(tmp_path, decode):
    large = encoded(picture(height=200, width=220), "PNG")
    assert len(large) > 65_536
    for data in (with_last_chunk(large, b"eXIf", tiff(6)), with_last_chunk(PNG, b"eXIf", tiff(6, False, kind=4)),
                 with_chunk(with_chunk(PNG, b"eXIf", tiff(6)), b"tEXt", b"Comment\0" + bytes(100_000))):
        found = decode(data)
        assert found.shape[0] > found.shape[1]
        np.testing.assert_array_equal(found, as_read(tmp_path, data))


@pytest.mark.parametrize("data", [
    with_chunk(PNG, b"tEXt", b"Comment\0eXIf" + tiff(6)), with_last_chunk(PNG, b"prIv", chunk(b"eXIf", tiff(6))),
    PNG + chunk(b"eXIf", tiff(6)), with_chunk(PNG, b"eXIf", b"")],
    ids=["in a text", "in another chunk", "after the end", "empty"])
def test_the_mark_elsewhere_turns_no_png(tmp_path, decode, data):
    np.testing.assert_array_equal(decode(data), decode(PNG))
    np.testing.assert_array_equal(decode(data), as_read(tmp_path, data))


def test_orientation_in_xmp_alone_is_not_read(decode):
    np.testing.assert_array_equal(decode(with_segment(JPEG, XMP)), decode(JPEG))


def test_exif_after_thousands_of_parts_is_not_looked_for(decode):
    np.testing.assert_array_equal(decode(TURNED[:2] + 5000 * b"\xff\xe5\0\2" + TURNED[2:]), decode(JPEG))
    tiny = PNG[:33] + 5000 * chunk(b"prIv", b"")
    np.testing.assert_array_equal(decode(tiny + with_chunk(PNG, b"eXIf", tiff(6))[33:]), decode(PNG))


@pytest.mark.parametrize("data", [
    TURNED[:2] + b"\xff\xe5\xff\xff" + TURNED[2:], JPEG[:2] + b"\xff\xe1\xff\xff" + EXIF + JPEG[2:],
    *(start + size + name + end for start, end in ((PNG[:33], PNG[33:]), (PNG[:-12], PNG[-12:])) for name in (b"prIv", b"eXIf")
      for size in (b"\xff\xff\xff\xff", b"\xff\xff\xff\xf4", b"\x7f\xff\xff\xff"))])
def test_parts_beyond_the_end_are_refused(tmp_path, decode, data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(data)
    with pytest.raises(images.ImageError):
        as_read(tmp_path, data)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_whatever_bytes_are_looked_through(seed):
    """The search alone, as such files are no photos: it ends, and what it finds is a piece of the file."""
    rng = np.random.default_rng(seed)
    pieces = b"\0", b"\1", b"\2", b"\xff", b"\xd8", b"\xff\xe5", b"\xff\xe1", b"\0\x09Exif\0\0", b"eXIf", b"IEND"
    for parts in ((2, 10, photo_bytes._segment), (8, 8, photo_bytes._chunk)):
        search = tf.function(lambda data, parts=parts: photo_bytes._exif(data, *parts), autograph=False)
        for length in (0, 1, 2, 9, 10, 11, 100, 1000):
            data = b"".join(pieces[i] for i in rng.integers(0, len(pieces), length))
            assert search(tf.constant(data)).numpy() in data


@pytest.mark.parametrize("exif", [
    tiff(6)[:19], tiff(6, kind=1), tiff(65_536 + 6, kind=4), tiff(2**32 - 1, kind=4), b"II*\0\0\0\0\0" + tiff(6)[8:],
    b"", b"I", b"II", b"II*\0", tiff(0), tiff(9), tiff(6, tag=0x0113), tiff(6)[:18], b"II*\0\xff\xff\xff\xff" + tiff(6)[8:],
    b"MM\0*\x80\0\0\0" + bytes(40), b"XX" + tiff(6)[2:8], b"II*\0\x08\0\0\0\xff\xff" + bytes(40)])
def test_broken_exif_is_no_orientation(decode, exif):
    plain = encoded(picture(), "JPEG")
    np.testing.assert_array_equal(decode(with_segment(plain, b"Exif\0\0" + exif)), decode(plain))


def test_random_exif_is_no_fault(decode):
    rng = np.random.default_rng(0)
    plain = encoded(picture(), "JPEG")
    for _ in range(40):
        exif = bytearray(tiff(6, rng.random() < 0.5, before=3))
        for at in rng.integers(0, len(exif), 4):
            exif[at] = rng.integers(256)
        assert sorted(decode(with_segment(plain, b"Exif\0\0" + bytes(exif))).shape) == [3, HEIGHT, WIDTH]


@pytest.mark.parametrize("image", [
    picture(), picture(1), Image.fromarray(picture()).convert("P"), Image.fromarray(picture(1)).convert("1"),
    Image.fromarray(picture()).quantize(4), Image.fromarray(picture()).quantize(16)],
    ids=["RGB", "gray", "palette", "1 bit", "2 bits", "4 bits"])  # below 8 bits TensorFlow's alpha is not 255
def test_png(tmp_path, decode, image):
    data = encoded(image, "PNG")
    np.testing.assert_array_equal(decode(data), as_read(tmp_path, data))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_png_lies_over_white(tmp_path, decode, mode):
    image = Image.fromarray(picture()).convert(mode)
    alpha = picture(1).copy()
    alpha[:5], alpha[5:10] = 0, 255
    image.putalpha(Image.fromarray(alpha))
    data = encoded(image, "PNG")
    found = decode(data)
    assert (found[:5] == 255).all()
    np.testing.assert_array_equal(found[5:10], np.asarray(image.convert("RGB"))[5:10])
    np.testing.assert_allclose(found.astype(int), as_read(tmp_path, data), atol=1)  # Pillow blends in whole numbers


def test_palette_with_a_transparent_colour(tmp_path, decode):
    image = Image.fromarray(picture()).convert("P")
    data = encoded(image, "PNG", transparency=int(np.asarray(image)[0, 0]))
    found = decode(data)
    assert found[0, 0].tolist() == [255] * 3
    np.testing.assert_array_equal(found, as_read(tmp_path, data))


def test_16_bit_png_in_gray_and_in_colour(tmp_path, decode):
    deep = picture(1).astype(np.uint16) * 257 + 100
    data = encoded(deep, "PNG")
    np.testing.assert_allclose(decode(data).astype(int), as_read(tmp_path, data), atol=1)
    data = png_16_bit(picture())
    np.testing.assert_allclose(decode(data).astype(int), as_read(tmp_path, data), atol=1)
    np.testing.assert_array_equal(decode(data), picture())


def test_first_picture_of_an_animated_png(tmp_path, decode):
    frames = [Image.fromarray(picture()), Image.fromarray(255 - picture())]
    data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode(data), as_read(tmp_path, data))


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "TIFF"])
def test_other_kinds_are_refused(decode, kind):
    with pytest.raises(tf.errors.InvalidArgumentError, match="A photo must be JPEG or PNG. Received:"):
        decode(encoded(picture(), kind))


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff", b"\xff\xd8", b"\x89PNG", b"a text", bytes(100_000)])
def test_what_is_no_photo_is_refused(decode, data):
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"must be JPEG or PNG. Received:\] \[{len(data)}\]"):
        decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_truncated_photo_is_refused(decode, kind, share):
    data = encoded(picture(height=120, width=160), kind)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(data[:int(share * len(data))])


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
@pytest.mark.parametrize("height, width", [(15, 400), (400, 15), (16_385, 16), (10_001, 10_000), (65_500, 65_500)])
def test_size_in_a_jpegs_header(decode, options, height, width):
    data = claiming(encoded(picture(), "JPEG", **options), height, width)
    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        decode(data)
    assert images.SIZE_RULE in failure.value.message and f"[{width}] [x] [{height}]" in failure.value.message


@pytest.mark.parametrize("height, width", [
    (1, 1), (0, 0), (15, 400), (400, 15), (16_385, 16), (10_001, 10_000), (2**31 - 1, 2**31 - 1), (2**32 - 1, 2**32 - 1),
    (2**31, 20)])
def test_size_in_a_pngs_header(decode, height, width):
    data = claiming(encoded(picture(), "PNG"), height, width)
    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        decode(data)
    assert images.SIZE_RULE in failure.value.message and f"[{width}] [x] [{height}]" in failure.value.message


@pytest.mark.parametrize("name", [b"abCd", b"tEXt"])
def test_no_chunk_before_a_pngs_header_tells_its_size(decode, name):
    data = claiming(encoded(picture(), "PNG"), 20_000, 20_000)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be JPEG or PNG"):
        decode(data[:8] + chunk(name, struct.pack(">II", 20, 20) + bytes(5)) + data[8:])


def test_smallest_sides(tmp_path, decode):
    for kind in ("JPEG", "PNG"):
        data = encoded(picture(height=images.MIN_SIDE, width=images.MIN_SIDE), kind)
        np.testing.assert_array_equal(decode(data), as_read(tmp_path, data))
