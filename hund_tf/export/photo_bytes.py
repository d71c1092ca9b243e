"""An encoded photo in, upright RGB pixels out, in TensorFlow operations alone: JPEG and PNG.

Nothing is decoded before the header says that the photo is neither too small nor too large. EXIF's orientation is obeyed,
and what is transparent is laid over white, as `hund_tf.images` does.
"""

import tensorflow as tf

from hund_tf.export import rules

_HEADER = 65_536  # bytes: EXIF lies in the first segments of a JPEG, none of which is longer
# the first chunk is a header of 13 bytes; another before it would be skipped by the decoder, and the size here be that one's
_PNG = (0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52)
_PNG_DEPTH = 24  # place of the bit depth
_EXIF = (0x45, 0x78, 0x69, 0x66, 0, 0)  # "Exif", and what the TIFF header comes after
_PNG_EXIF = (0x65, 0x58, 0x49, 0x66)  # "eXIf", name of the chunk that begins with the TIFF header
_ORIENTATION, _SHORT = 0x0112, 3  # EXIF 2.3, table 4; type of a 16-bit number
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
    head = tf.pad(head, [[0, 64]])
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
    way = tf.cond(is_jpeg, lambda: orientation(head), lambda: orientation(head, _PNG_EXIF))
    return tf.ensure_shape(_upright(pixels, way), [None, None, 3])


def orientation(head, mark=_EXIF):
    """EXIF's orientation, 1 to 8, in the first bytes of a photo, int32 `[L]`, after its mark; 1 where they say none."""
    windows = tf.stack([head[i:tf.shape(head)[0] - len(mark) + i + 1] for i in range(len(mark))], -1)
    found = tf.reduce_all(tf.equal(windows, mark), -1)
    start = tf.argmax(found, output_type=tf.int32) + len(mark)
    little = tf.equal(tf.gather(head, start), 0x49)  # "I" of Intel; else "M" of Motorola

    def number(places, size):
        offsets = tf.range(size)
        places = tf.clip_by_value(places[..., None] + offsets, 0, tf.shape(head)[0] - 1)
        shifts = 8 * tf.where(little, offsets, size - 1 - offsets)
        return tf.reduce_sum(tf.bitwise.left_shift(tf.gather(head, places), shifts), -1)

    first = start + number(start + 4, 4)
    tags = first + 2 + 12 * tf.range(tf.clip_by_value(number(first, 2), 0, _MOST_TAGS))
    is_it = tf.equal(number(tags, 2), _ORIENTATION) & tf.equal(number(tags + 2, 2), _SHORT)
    value = tf.reduce_max(tf.where(is_it, number(tags + 8, 2), 0), 0)
    return tf.where(tf.reduce_any(found) & (value >= 1) & (value <= 8), value, 1)


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
