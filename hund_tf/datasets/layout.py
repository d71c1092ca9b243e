"""What every data set is turned into, a photo with its people, and the checks of files as they were downloaded."""

import os
from typing import Callable, List, NamedTuple, Optional

import numpy as np

KEYPOINTS = 137  # OpenPose order of `GenerativeBody` keypoints


class LayoutError(ValueError):
    """Files that do not lie as the data set's own archives lay them; the message says which path was expected."""


class LabelledPerson(NamedTuple):
    """One person of a photo; a weight of 0 says "no label".

    Attributes:
        source: str, data set, file and person.
        box: `[4]`, x, y, width, height, pixels of the photo.
        keypoints: `[137, 2]`, pixels of the photo; None without.
        keypoints_weight: `[137]`, 0 to 1; None without.
        joints3d: `[137, 3]`, metres, frame of the photo's camera; None without.
        joints3d_weight: `[137]`; None without.
    """

    source: str
    box: np.ndarray
    keypoints: Optional[np.ndarray] = None
    keypoints_weight: Optional[np.ndarray] = None
    joints3d: Optional[np.ndarray] = None
    joints3d_weight: Optional[np.ndarray] = None


class LabelledPhoto(NamedTuple):
    """One straight photo (no lens distortion) and the people to learn from.

    Attributes:
        pixels: uint8 `[H, W, 3]`, or a function without arguments that reads them: called only where they are needed.
        intrinsics: `[4]`, fx, fy, cx, cy, pixels; None for `default_intrinsics`.
        people: list of `LabelledPerson`; None where a detector has to find them.
        source: str, of those whom a detector finds.
    """

    pixels: Callable
    intrinsics: Optional[np.ndarray]
    people: Optional[List[LabelledPerson]]
    source: str = ""


def folder(*parts):
    """The joined path, if it is a folder; `LayoutError` otherwise."""
    path = os.path.join(*parts)
    if not os.path.isdir(path):
        raise LayoutError(f"A folder {path} was expected. Received: {_nearest(path)}")
    return path


def file(*parts):
    """The joined path, if it is a file; `LayoutError` otherwise."""
    path = os.path.join(*parts)
    if not os.path.isfile(path):
        raise LayoutError(f"A file {path} was expected. Received: {_nearest(path)}")
    return path


def first_file(*paths):
    """The first of the paths that is a file; `LayoutError` with all of them if none is."""
    for path in paths:
        if os.path.isfile(path):
            return path
    raise LayoutError(f"One of these files was expected: {', '.join(paths)}. Received: {_nearest(paths[0])}")


def listed(path, suffix):
    """Files of a folder with a suffix, sorted, without hidden ones; `LayoutError` if there are none."""
    names = sorted(name for name in os.listdir(folder(path)) if name.endswith(suffix) and not name.startswith("."))
    if not names:
        raise LayoutError(f"Files {os.path.join(path, '*' + suffix)} were expected. Received: a folder without any.")
    return [os.path.join(path, name) for name in names]


def at_openpose(points, indices, weights=None):
    """Points of another set at their OpenPose places.

    Args:
        points: `[P, D]`.
        indices: dict, OpenPose index -> index in `points`, or a tuple of indices whose middle it is.
        weights: `[P]`; 1 if None. A middle has the least weight of its points.

    Returns:
        `(placed [137, D], weights [137])` float64; zero elsewhere, and where a point is not finite.
    """
    points = np.asarray(points, np.float64)
    weights = np.ones(len(points)) if weights is None else np.asarray(weights, np.float64)
    weights = np.where(np.isfinite(points).all(-1), weights, 0.0)
    placed, placed_weights = np.zeros([KEYPOINTS, points.shape[-1]]), np.zeros(KEYPOINTS)
    for index, used in indices.items():
        used = list(used) if isinstance(used, tuple) else [used]
        if weights[used].min() > 0:
            placed[index], placed_weights[index] = points[used].mean(0), weights[used].min()
    return placed, placed_weights


def box_around(points, margin, height, width):
    """The box of points `[P, 2]`, wider by a share of its longer side, cut at the photo; None if nothing is left."""
    low, high = points.min(0), points.max(0)
    more = margin * (high - low).max()
    return cut_box((*(low - more), *(high - low + 2 * more)), height, width)


def cut_box(box, height, width, least=16.0):
    """x, y, width, height of what lies in the photo: float64 `[4]`, None if a side is under `least` pixels."""
    box = np.asarray(box, np.float64)
    low, high = np.maximum(box[:2], 0), np.minimum(box[:2] + box[2:], [width, height])
    return None if np.any(high - low < least) else np.concatenate([low, high - low])


def shuffled(items, seed):
    """The items in an order that the seed decides; None leaves them as they are."""
    items = list(items)
    return items if seed is None else [items[i] for i in np.random.default_rng(seed).permutation(len(items))]


def _nearest(path):
    """The lowest folder above a path that exists, and what it holds, in words."""
    above = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    names = sorted(os.listdir(above))
    return f"{above} holding {', '.join(names[:6]) or 'nothing'}{', ...' if len(names) > 6 else ''}."
