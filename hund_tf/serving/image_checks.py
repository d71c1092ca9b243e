"""Arrays of a request in; a complaint out where a photo among them is too large to be decoded or looked at."""

import io
import re
import struct
import warnings

from hund_tf import images

MAX_PIXELS = 100_000_000  # of all photos of a request
_RULE = (f"The photos of a request must have sides of at most {images.MAX_SIDE:,} pixels, at most "
         f"{images.MAX_PIXELS // 1_000_000} megapixels each, and together at most {MAX_PIXELS // 1_000_000}.")
_STARTS = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"BM": "BMP"}  # what TensorFlow decodes
# What Pillow's readers raise on damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, struct.error)


def check_images(signature, feeds):
    """Checks strings that begin as photos do (their header alone is read), and uint8 arrays `[..., H, W, 1, 3 or 4]`.

    Other strings are the model's affair.

    Args:
        signature: `Signature`, not needed here.
        feeds: dict, array by input.

    Raises:
        ValueError: if a photo is too large, or the header of a JPEG or PNG cannot be read.
    """
    del signature
    total = 0
    for name, array in feeds.items():
        if array.dtype.kind == "O":
            for data in array.flat:
                kind = next((kind for start, kind in _STARTS.items() if data.startswith(start)), None)
                if kind:
                    total += _pixels(name, *_header(name, data, kind))
        elif array.dtype.name == "uint8" and array.ndim >= 3 and array.shape[-1] in (1, 3, 4) and array.size:
            height, width = array.shape[-3:-1]
            total += _pixels(name, width, height, array.size // (height * width * array.shape[-1]))
        if total > MAX_PIXELS:
            raise ValueError(f"{_RULE} Received: {total / 1e6:,.0f} megapixels.")


def _pixels(name, width, height, count=1):
    if max(width, height) > images.MAX_SIDE:
        raise ValueError(f"{_RULE} Received: {width:,} x {height:,} pixels in input {name!r}.")
    if width * height > images.MAX_PIXELS:
        raise ValueError(f"{_RULE} Received: {width * height / 1e6:,.0f} megapixels in input {name!r}.")
    return width * height * count


def _header(name, data, kind):
    """(width, height, frames)."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=(kind,)) as image:
                return (*image.size, getattr(image, "n_frames", 1) if kind == "GIF" else 1)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{_RULE} Received: {int(re.search('[0-9]+', str(error))[0]) / 1e6:,.0f} megapixels.") from None
    except _DAMAGE as error:
        if kind in ("GIF", "BMP"):  # text may begin so, too; what has no header has no size to fear
            return 0, 0, 0
        raise ValueError(f"A photo's header must be whole. Received: {kind} in input {name!r} whose header is not "
                         f"({type(error).__name__}).") from None
