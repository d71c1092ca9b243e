"""Reads arrays from an `.npz` file that may come from anywhere: nothing in it is ever unpickled."""

import os
import zipfile
import zlib

import numpy as np


def read_arrays(path, keys=None):
    """Reads arrays by name.

    Args:
        path: str.
        keys: names to read where the file has them; others are not touched. Defaults to all.

    Returns:
        dict of arrays.

    Raises:
        ValueError: if the file is no whole `.npz`, or one of these arrays is damaged or holds Python objects.
        FileNotFoundError: if there is no such file.
    """
    if os.path.isdir(path):
        raise ValueError(f"{path} must be an .npz file. Received: a folder.")
    with open(path, "rb") as file:
        start = file.read(8)
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} must be an .npz file, a zip archive of arrays. Received: a file that starts "
                         f"with {start!r}.")
    try:
        with np.load(path, allow_pickle=False) as data:
            return {key: _read(data, key, path) for key in data.files if keys is None or key in keys}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} must be a whole .npz file. Received: {error}.") from None


def _read(data, key, path):
    try:
        value = data[key]
    except (ValueError, EOFError, OSError, zlib.error) as error:
        if "allow_pickle" in str(error):
            raise ValueError(f"{path}: {key} must be a plain array of numbers or text. Received: Python objects, which "
                             "are not unpickled because that can run any code.") from None
        raise ValueError(f"{path}: {key} must be a readable array. Received: {error}.") from None
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{path}: {key} must be an array. Received: a file of another kind inside the archive.")
    return value
