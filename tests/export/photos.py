"""Encoded photos as tests need them: every kind, any EXIF, and headers that claim any size."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def picture(channels=3, height=33, width=50):
    """Uint8 noise over a slope: no turn, mirror image or swap of channels looks like another."""
    noise = np.random.default_rng(0).integers(0, 60, [height, width, channels])
    slope = np.linspace(0, 150, height)[:, None, None] + np.linspace(0, 45, width)[:, None]
    return np.squeeze(noise + slope * np.linspace(1, 0.4, channels), -1 if channels == 1 else ()).astype(np.uint8)


def encoded(image, kind, **options):
    """An array or a Pillow image as a file's bytes."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def png_16_bit(image):
    """A PNG of 16 bits a channel of uint8 `[H, W, 3]`; Pillow writes none."""
    rows = b"".join(b"\0" + row.tobytes() for row in (image.astype(np.uint16) * 257).astype(">u2"))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 16, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def tiff(value, little=True, tag=0x0112, kind=3, first=8, before=0):
    """EXIF's TIFF part that says an orientation, after `before` other tags."""
    order = "<" if little else ">"
    tags = b"".join(struct.pack(order + "HHII", 0x0100 + i, 4, 1, 7) for i in range(before))
    tags += struct.pack(order + "HHI", tag, kind, 1) + struct.pack(order + ("H2x" if kind == 3 else "I"), value)
    return (b"II" if little else b"MM") + struct.pack(order + "HI", 42, first) + bytes(first - 8) + struct.pack(
        order + "H", before + 1) + tags + bytes(4)


def with_segment(jpeg, data, marker=0xE1):
    """A JPEG with one segment more, the first."""
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data + jpeg[2:]


def chunk(name, data):
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunk(png, name, data):
    """A PNG with one chunk more, after the header's."""
    return png[:33] + chunk(name, data) + png[33:]


def with_last_chunk(png, name, data):
    """A PNG with one chunk more, before its end."""
    return png[:-12] + chunk(name, data) + png[-12:]


def claiming(data, height, width):
    """A JPEG or PNG whose header says another size; a PNG's checksum agrees."""
    if data.startswith(b"\x89PNG"):
        return data[:8] + chunk(b"IHDR", struct.pack(">II", width, height) + data[24:29]) + data[33:]
    at = min(place for place in (data.find(b"\xff\xc0\0"), data.find(b"\xff\xc2\0")) if place >= 0) + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4:]
