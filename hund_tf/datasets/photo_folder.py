"""A plain folder of photos in, photos whose people the packaged detector has to find out."""

import os
import warnings

from hund_tf import images
from hund_tf.datasets import layout

SPLITS = ("all",)


def photos(root, split="all", every=1, seed=None):
    """The photos of a folder, not of folders inside it; one that cannot be read is passed over with a warning.

    Args:
        root: str.
        split: "all".
        every: int, takes each n-th photo.
        seed: int, order of photos; that of their names if None.

    Yields:
        `LabelledPhoto` with `people` None, and the camera that EXIF tells of.

    Raises:
        LayoutError: if the folder is not there or holds no photos.
    """
    paths, problems = images.find_photos([layout.folder(root)])
    if not paths:
        raise layout.LayoutError(problems[0][1])
    for path in layout.shuffled(paths, seed)[::every]:
        try:
            photo = images.read_photo(path)
        except images.ImageError as error:
            warnings.warn(f"Passed over: {error}", stacklevel=2)
            continue
        yield layout.LabelledPhoto(photo.pixels, photo.intrinsics, None, f"photos/{os.path.basename(path)}")
