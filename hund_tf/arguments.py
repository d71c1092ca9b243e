"""What `reconstruct` is given in, arrays of the right kind out, or a ValueError that says the rule and what came."""

import numpy as np

MOST_PEOPLE, MOST_STAGES = 50, 50  # of an export, and stages of the command
WIDEST_BOX = 10  # times the photo's longer side
INTRINSICS_RULE = "(fx, fy, cx, cy), finite, fx and fy positive, in pixels"
BOXES_RULE = "[N, 4], x, y, width, height in pixels with positive size"


def checked_image(image):
    """uint8 `[H, W, 3]`, contiguous."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"`image` must be uint8 [H, W, 3], RGB. Received: {image.dtype} {image.shape}.")
    if min(image.shape) < 1:
        raise ValueError(f"`image` must hold at least one pixel. Received: {image.shape}.")
    return np.ascontiguousarray(image)


def checked_intrinsics(intrinsics):
    """float64 `[4]`: fx, fy, cx, cy in pixels."""
    values = np.asarray(intrinsics, np.float64)
    if values.shape != (4,) or not np.all(np.abs(values) < 1e9) or values[0] <= 0 or values[1] <= 0:
        raise ValueError(f"`intrinsics` must be {INTRINSICS_RULE}. Received: {intrinsics}.")
    return values


def check_count(name, value, least):
    """Refuses what is neither None nor a whole number of at least `least`."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least):
        raise ValueError(f"`{name}` must be a whole number of at least {least}, or None. Received: {value!r}.")


def checked_boxes(boxes, height, width):
    """float32 `[N, 4]`: x, y, width, height in pixels; each overlaps the photo."""
    try:
        values = np.asarray(boxes, np.float32)
    except (TypeError, ValueError):
        values = np.empty([1])  # of no shape that boxes have
    values = values.reshape(-1, 4) if values.size == 0 else values
    if values.ndim != 2 or values.shape[1] != 4 or not np.all(np.isfinite(values)) or np.any(values[:, 2:] <= 0):
        raise ValueError(f"`boxes` must be {BOXES_RULE}. Received: {boxes}.")
    low, high = np.maximum(values[:, :2], 0), np.minimum(values[:, :2] + values[:, 2:], [width, height])
    if np.any(low >= high) or np.any(values[:, 2:] > WIDEST_BOX * max(height, width)):
        raise ValueError(f"A box must overlap the photo ({width} x {height} pixels) and be at most {WIDEST_BOX} times as "
                         f"large. Received: {values.tolist()}.")
    return values


def straight_boxes(boxes, lens, height, width):
    """Boxes on the photo as given -> boxes on the straight one."""
    straight = lens.undistort_boxes(boxes).astype(np.float32)
    low, high = np.maximum(straight[:, :2], 0), np.minimum(straight[:, :2] + straight[:, 2:], [width, height])
    if np.any(low >= high):
        raise ValueError("A box must overlap what is left in the picture when the photo is straightened with the same "
                         f"intrinsics. Received: {boxes.tolist()}, of which {straight.tolist()} become.")
    return straight
