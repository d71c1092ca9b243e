"""A path in, a photo out: upright RGB pixels and the camera that its EXIF tells of, or one clear sentence."""

import glob
import os
import re
import struct
import warnings
from typing import NamedTuple, Optional

import numpy as np

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
MIN_SIDE = 16  # pixels
MAX_SIDE = 16_384
MAX_PIXELS = 65_000_000  # of a photo; looking at it takes about 35 bytes each
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
SIZE_RULE = (f"A photo must have sides of {MIN_SIDE} to {MAX_SIDE:,} pixels and at most "
             f"{MAX_PIXELS // 1_000_000} megapixels.")
# What Pillow's readers raise on damaged files (found by feeding them thousands).
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, struct.error)
# EXIF tags (CIPA DC-008).
_EXIF_IFD, _FOCAL_MM, _FOCAL_35MM = 0x8769, 0x920A, 0xA405
_PLANE_X_RESOLUTION, _PLANE_UNIT, _EXIF_WIDTH, _EXIF_HEIGHT = 0xA20E, 0xA210, 0xA002, 0xA003
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # inch, cm, mm, micrometre
_FILM_DIAGONAL_MM = (36.0**2 + 24.0**2) ** 0.5  # the "35 mm equivalent" compares diagonals (CIPA DCG-001)
_PLAUSIBLE_FOCAL = (0.2, 30.0)  # of the longer side; outside, the EXIF is taken for wrong


class ImageError(ValueError):
    """A file that is no usable photo; its message is the sentence to show."""


class Photo(NamedTuple):
    """One photo, upright.

    Attributes:
        pixels: uint8 `[H, W, 3]`, RGB.
        intrinsics: (fx, fy, cx, cy) in pixels from EXIF, or None where EXIF has no focal length.
        intrinsics_source: str, the EXIF fields used, or None.
        notes: tuple of str, what was done to the file's content (transparency, frames).
    """

    pixels: np.ndarray
    intrinsics: Optional[tuple]
    intrinsics_source: Optional[str]
    notes: tuple


def read_image(path):
    """Reads a photo's pixels: uint8 `[H, W, 3]`, RGB, upright. Raises `ImageError` as `read_photo` does."""
    return read_photo(path).pixels


def read_photo(path):
    """Reads a photo and what its EXIF says of the camera.

    Grayscale, 16-bit, palette and CMYK files become 8-bit RGB; transparent pixels are laid over white; of an
    animation the first frame is taken. Sizes are checked from the header, before anything is decoded.

    Args:
        path: str or path of a JPEG, PNG, WebP, BMP, TIFF or GIF file.

    Returns:
        `Photo`.

    Raises:
        ImageError: if the file is missing, a folder, unreadable, empty, not a photo, cut short, too small or
            too large.
    """
    from PIL import Image, UnidentifiedImageError

    path = os.fspath(path)
    if os.path.isdir(path):
        raise ImageError(f"{path}: a photo must be a file. Received: a folder.")
    if not os.path.exists(path):
        raise ImageError(f"{path}: no such file.")
    try:
        if not os.path.getsize(path):
            raise ImageError(f"{path}: a photo must be an image file. Received: an empty file.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images and odd EXIF; both are checked here
            with Image.open(path, formats=_FORMATS) as file:
                _check_size(path, *file.size)
                return _read(path, file)
    except UnidentifiedImageError:
        raise ImageError(f"{path}: a photo must be JPEG, PNG, WebP, BMP, TIFF or GIF. Received: "
                         f"{_guess(path)}.") from None
    except Image.DecompressionBombError as error:
        count = re.search(r"\d+", str(error))
        raise ImageError(f"{path}: {SIZE_RULE} Received: {int(count.group()) / 1e6:,.0f} megapixels.") from None
    except ImageError:
        raise
    except _DAMAGE as error:
        if isinstance(error, PermissionError):
            raise ImageError(f"{path}: the file must be readable. Received: permission denied.") from None
        raise ImageError(f"{path}: the photo must be complete. Received: a damaged or truncated file "
                         f"({error}).") from None


def exif_intrinsics(exif, height, width):
    """Camera from EXIF: the 35 mm equivalent, else the focal length with the sensor's resolution.

    The 35 mm equivalent f35 keeps the angle across the diagonal: `f = f35 * diagonal in pixels / 43.27 mm`.
    A crop or a digital zoom that EXIF does not tell of makes the value too small.

    Args:
        exif: `PIL.Image.Exif`.
        height: int, of the upright photo, pixels.
        width: int, of the upright photo, pixels.

    Returns:
        `((fx, fy, cx, cy), source)`, or `(None, None)` where EXIF says nothing believable.
    """
    tags = exif.get_ifd(_EXIF_IFD)
    longer = max(height, width)
    focal35, focal = _number(tags.get(_FOCAL_35MM)), _number(tags.get(_FOCAL_MM))
    if focal35:
        value = focal35 * (height**2 + width**2) ** 0.5 / _FILM_DIAGONAL_MM
        source = f"EXIF FocalLengthIn35mmFilm ({focal35:g} mm)"
        if _plausible(value / longer):
            return (value, value, width / 2.0, height / 2.0), source
    resolution, unit = _number(tags.get(_PLANE_X_RESOLUTION)), _UNIT_MM.get(tags.get(_PLANE_UNIT, 2))
    if focal and resolution and unit:
        # The resolution is that of the camera's own file; this one may have been scaled down since.
        original = max(_number(tags.get(_EXIF_WIDTH)) or 0, _number(tags.get(_EXIF_HEIGHT)) or 0) or longer
        value = focal * resolution / unit * longer / original
        if _plausible(value / longer):
            source = f"EXIF FocalLength ({focal:g} mm) and FocalPlaneXResolution"
            return (value, value, width / 2.0, height / 2.0), source
    return None, None


def find_photos(names):
    """Lists the photos that paths, folders and patterns name, each once, in order.

    A folder gives its own photos (by suffix, not those of folders inside it), sorted by name.

    Args:
        names: list of str, paths, folders or patterns (`*`, `?`, `[...]`, `**`).

    Returns:
        `(paths, problems)`: list of str, and list of `(name, sentence)` for names that gave nothing.
    """
    paths, problems, seen = [], [], set()
    for name in names:
        found = _expand(name)
        if isinstance(found, str):
            problems.append((name, found))
            continue
        for path in found:
            key = os.path.realpath(path)
            if key not in seen:
                seen.add(key)
                paths.append(path)
    return paths, problems


def opencv():
    """The `cv2` module.

    Raises:
        ImportError: if it cannot be loaded; the message names the remedy.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError(f"OpenCV must be loadable. Received: {error}. Remedy: `apt-get install libgl1 "
                          "libglib2.0-0`, or `pip uninstall opencv-python` and "
                          "`pip install --force-reinstall opencv-python-headless`.") from error
    return cv2


def _expand(name):
    if os.path.isdir(name):
        try:
            found = _photos_in(name)
        except OSError as error:
            return f"{name}: the folder must be readable. Received: {error.strerror}."
        return found or f"{name}: the folder must hold photos ({', '.join(SUFFIXES)}). Received: none."
    if os.path.exists(name) or not glob.has_magic(name):
        return [name]  # a missing file is told by `read_photo`, in its turn
    found = sorted(glob.glob(name, recursive=True))
    files = [path for path in found if not os.path.isdir(path)]
    if not files:
        return f"{name}: the pattern must match a file. Received: {len(found)} folders and no file."
    return files


def _photos_in(folder):
    return [os.path.join(folder, entry) for entry in sorted(os.listdir(folder))
            if entry.lower().endswith(SUFFIXES) and not entry.startswith(".")
            and os.path.isfile(os.path.join(folder, entry))]


def _read(path, file):
    from PIL import ImageOps

    notes = []
    if file.format != "MPO" and getattr(file, "n_frames", 1) > 1:
        notes.append(f"first of {file.n_frames} frames")
    file.load()
    exif = file.getexif()
    upright = ImageOps.exif_transpose(file)
    pixels = _rgb(path, upright, notes)
    try:
        intrinsics, source = exif_intrinsics(exif, *pixels.shape[:2])
    except _DAMAGE:  # EXIF is often broken; the pixels are not
        intrinsics, source = None, None
    return Photo(pixels, intrinsics, source, tuple(notes))


def _rgb(path, image, notes):
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode == "I":
        gray = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return np.repeat((gray // 257).astype(np.uint8)[..., None], 3, axis=-1)
    if image.mode == "F":
        raise ImageError(f"{path}: a photo must have 8 or 16 bits a channel. Received: floating point.")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            notes.append("transparent pixels laid over white")
            image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return np.array(image.convert("RGB"))


def _check_size(path, width, height):
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ImageError(f"{path}: {SIZE_RULE} Received: {width:,} x {height:,} pixels.")


def _guess(path):
    with open(path, "rb") as file:
        start = file.read(32)
    if start[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file; save it as JPEG first"
    return f"a file that is none of these, or whose header is damaged, beginning with {start[:8]!r}"


def _number(value):
    """A positive finite float, or None."""
    try:
        value = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return value if np.isfinite(value) and value > 0 else None


def _plausible(ratio):
    return _PLAUSIBLE_FOCAL[0] <= ratio <= _PLAUSIBLE_FOCAL[1]
