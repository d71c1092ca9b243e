"""An encoded photo in, upright RGB pixels out, in TensorFlow operations alone: JPEG and PNG.

Nothing is decoded before the header says that the photo is neither too small nor too large. EXIF's orientation is obeyed,
and what is transparent is laid over white, as `hund_tf.images` does.
"""

import tensorflow as tf

from hund_tf.export import rules

# the first chunk is a header of 13 bytes; another before it would be skipped by the decoder, and the size here be that one's
_PNG = (0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52)
_PNG_DEPTH = 24  # place of the bit depth
_HEADER = 32  # bytes that tell the kind, and of a PNG the size
_PART = 10  # bytes, the first of a segment or chunk, that tell what it is; behind EXIF any photo has more
_MOST_PARTS = 4096  # more than a PNG of 30 MB has of the usual 8 kB; no photo of many tiny parts may hold the others up
_MOST_EXIF = 65_536  # bytes; a JPEG's segments are no longer
# of JPEG, in 16-bit numbers: the marker of EXIF's segment, its first bytes "Exif\0\0", markers after which there is none
_APP1, _EXIF, _SCAN_OR_END = 0xFFE1, (0x4578, 0x6966, 0), (0xFFDA, 0xFFD9)
_PNG_EXIF, _PNG_END = (0x6558, 0x4966), (0x4945, 0x4E44)  # names of chunks, "eXIf" and "IEND"
_ORIENTATION, _SHORT, _LONG = 0x0112, 3, 4  # EXIF 2.3, table 4; types of numbers of 16 and of 32 bits
_MOST_TAGS = 128
# TIFF 6.0: of orientations 1 to 8, those seen mirrored left to right and top to bottom, the latter four after a transpose
_MIRRORED, _FLIPPED, _TRANSPOSED = (2, 3, 6, 7), (3, 4, 7, 8), (5, 6, 7, 8)


def decode(encoded):
    """Decodes one photo.

    Args:
        encoded: string `[]`.

    Returns:
        uint8 `[H, W, 3]`.

    Errors at run time: InvalidArgumentError if it is no complete JPEG or PNG or breaks `rules.size_of_photo`.
    """
    length = tf.strings.length(encoded)
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 0, _HEADER), tf.uint8), tf.int32)
    head = tf.pad(head, [[0, _HEADER]])
    is_jpeg = tf.reduce_all(tf.equal(head[:3], [0xFF, 0xD8, 0xFF]))
    is_png = tf.reduce_all(tf.equal(head[:len(_PNG)], _PNG))
    encoded = rules.require(is_jpeg | is_png, "A photo must be JPEG or PNG.",
                            [length, "bytes that begin with", head[:4]], encoded)
    size = tf.cond(is_jpeg, lambda: tf.cast(tf.image.extract_jpeg_shape(encoded), tf.int64)[:2],
                   lambda: tf.stack([_big_endian(head, 20), _big_endian(head, 16)]))
    with tf.control_dependencies(rules.size_of_photo(size[0], size[1])):
        encoded = tf.identity(encoded)
    pixels = tf.cond(is_jpeg, lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
                     lambda: _over_white(tf.io.decode_png(encoded, channels=4), head[_PNG_DEPTH]))
    exif = tf.cond(is_jpeg, lambda: _exif(encoded, 2, 10, _segment), lambda: _exif(encoded, 8, 8, _chunk))
    return tf.ensure_shape(_upright(pixels, orientation(exif)), [None, None, 3])


def orientation(exif):
    """The orientation, 1 to 8, that EXIF's bytes from the TIFF header on, string `[]`, tell of; 1 where they tell of none."""
    length = tf.strings.length(exif)
    exif = tf.pad(tf.cast(tf.io.decode_raw(exif, tf.uint8), tf.int32), [[0, 1]])
    little = tf.equal(exif[0], 0x49)  # "I" of Intel; else "M" of Motorola

    def number(places, size):
        offsets = tf.range(size)
        places = tf.clip_by_value(places[..., None] + offsets, 0, length)
        shifts = 8 * tf.where(little, offsets, size - 1 - offsets)
        return tf.reduce_sum(tf.bitwise.left_shift(tf.gather(exif, places), shifts), -1)

    first = number(tf.constant(4), 4)  # negative if of 2 GB and more
    tags = first + 2 + 12 * tf.range(tf.clip_by_value(number(first, 2), 0, _MOST_TAGS))
    is_it = tf.equal(number(tags, 2), _ORIENTATION) & (first >= 0) & (tags + 12 <= length)
    kind = number(tags + 2, 2)
    values = tf.where(tf.equal(kind, _SHORT), number(tags + 8, 2), tf.where(tf.equal(kind, _LONG), number(tags + 8, 4), 0))
    value = tf.reduce_max(tf.where(is_it, values, 0))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _exif(encoded, first, header, read):
    """EXIF's bytes from the TIFF header on, string `[]`, in a photo; empty where there are none.

    The photo's parts begin at place `first`. `read` maps the 16-bit numbers, int64 `[5]`, that a part begins with to the bytes
    up to the next part, at least 1, and to the size of EXIF, which comes `header` bytes after the part's begin: -1 where it is
    not this part, 0 where no other part follows.
    """
    length = tf.cast(tf.strings.length(encoded), tf.int64)

    def step(place, _):
        numbers = tf.io.decode_raw(tf.strings.substr(encoded, place, _PART), tf.uint16, little_endian=False)
        onward, size = read(tf.cast(numbers, tf.int64))
        return tf.where(size < 0, place + onward, place + header), size

    place, size = tf.while_loop(lambda place, size: (size < 0) & (place + _PART <= length), step,
                                (tf.constant(first, tf.int64), tf.constant(-1, tf.int64)),
                                parallel_iterations=1, maximum_iterations=_MOST_PARTS)
    return tf.strings.substr(encoded, tf.minimum(place, length), tf.clip_by_value(size, 0, _MOST_EXIF))


def _segment(numbers):
    """A JPEG's segment, read for `_exif`; what is none, as fill bytes, is passed byte by byte."""
    marker, size = numbers[0], numbers[1]
    is_exif = tf.equal(marker, _APP1) & (size >= 8) & tf.reduce_all(tf.equal(numbers[2:], _EXIF))
    is_last = tf.reduce_any(tf.equal(marker, _SCAN_OR_END))
    has_size = (marker >= 0xFFC0) & (marker < 0xFFFF) & ((marker < 0xFFD0) | (marker > 0xFFD8))
    return tf.where(has_size, 2 + tf.maximum(size, 2), 1), tf.where(is_exif, size - 8, tf.cast(is_last, tf.int64) - 1)


def _chunk(numbers):
    """A PNG's chunk, read for `_exif`."""
    size = 65_536 * numbers[0] + numbers[1]
    is_exif = tf.reduce_all(tf.equal(numbers[2:4], _PNG_EXIF))
    is_last = tf.reduce_all(tf.equal(numbers[2:4], _PNG_END))
    return 12 + size, tf.where(is_exif, size, tf.cast(is_last, tf.int64) - 1)


def _upright(pixels, way):
    def among(ways):
        return tf.reduce_any(tf.equal(way, ways))

    pixels = tf.cond(among(_TRANSPOSED), lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    pixels = tf.cond(among(_MIRRORED), lambda: tf.reverse(pixels, [1]), lambda: pixels)
    return tf.cond(among(_FLIPPED), lambda: tf.reverse(pixels, [0]), lambda: pixels)


def _over_white(pixels, depth):
    """uint8 `[H, W, 4]` of a PNG of so many bits -> `[H, W, 3]`."""
    # 255 of 8 bits; of fewer, TensorFlow says 1, 3 or 15 where the file has no alpha
    full = tf.cast(tf.bitwise.left_shift(1, tf.clip_by_value(depth, 1, 8)) - 1, tf.uint8)

    def blended():
        color, alpha = tf.cast(pixels[..., :3], tf.float32), tf.cast(pixels[..., 3:], tf.float32) / 255
        return tf.cast(tf.round(color * alpha + 255 * (1 - alpha)), tf.uint8)

    opaque = tf.reduce_all(tf.equal(pixels[..., 3], 255)) | tf.reduce_all(tf.equal(pixels[..., 3], full))
    return tf.cond(opaque, lambda: pixels[..., :3], blended)


def _big_endian(head, place):
    return tf.reduce_sum(tf.bitwise.left_shift(tf.cast(head[place:place + 4], tf.int64), tf.constant([24, 16, 8, 0], tf.int64)))
