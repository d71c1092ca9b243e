"""Estimated and true points in, errors out: plain NumPy, metres in, millimetres out where the name ends in `_mm`.

Letters: J joints. `valid` is bool `[J]`; where it is None all joints count. Without valid joints the error is NaN.
"""

import numpy as np

MM = 1000.0


def procrustes_align(estimate, truth):
    """Moves `estimate` onto `truth` by the best rotation, uniform scale and shift (least squares).

    Args:
        estimate: `[J, 3]`.
        truth: `[J, 3]`.

    Returns:
        `[J, 3]`, the moved estimate. Never a mirror image. Points that coincide go to the mean of `truth`.

    Source: Umeyama, Least-squares estimation of transformation parameters between two point patterns, PAMI 1991.
    """
    estimate, truth = _pair(estimate, truth)
    centred, target = estimate - estimate.mean(0), truth - truth.mean(0)
    spread = np.sum(centred**2)
    if spread == 0.0:
        return np.tile(truth.mean(0), [len(truth), 1])
    left, sizes, right = np.linalg.svd(target.T @ centred)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = (left * signs) @ right
    scale = np.sum(sizes * signs) / spread
    return scale * centred @ rotation.T + truth.mean(0)


def mpjpe_mm(estimate, truth, root, valid=None):
    """Mean joint error after both roots are put at the origin.

    Args:
        estimate: `[J, 3]`, metres.
        truth: `[J, 3]`, metres.
        root: tuple of indices; the root is their mean (the two hips).
        valid: bool `[J]`. NaN if a root joint is not valid.

    Returns:
        float, millimetres.
    """
    estimate, truth = _pair(estimate, truth)
    valid = _valid(valid, truth)
    root = list(root)
    if not valid.any() or not valid[root].all():
        return float("nan")
    difference = (estimate - estimate[root].mean(0)) - (truth - truth[root].mean(0))
    return float(np.linalg.norm(difference, axis=-1)[valid].mean() * MM)


def pa_mpjpe_mm(estimate, truth, valid=None):
    """Mean joint error after `procrustes_align`: float, millimetres. Needs three valid joints."""
    estimate, truth = _pair(estimate, truth)
    valid = _valid(valid, truth)
    if valid.sum() < 3:
        return float("nan")
    aligned = procrustes_align(estimate[valid], truth[valid])
    return float(np.linalg.norm(aligned - truth[valid], axis=-1).mean() * MM)


def translation_error_mm(estimate, truth, root, valid=None):
    """Distance between the two roots in the camera frame: float, millimetres."""
    estimate, truth = _pair(estimate, truth)
    root = list(root)
    if not _valid(valid, truth)[root].all():
        return float("nan")
    return float(np.linalg.norm(estimate[root].mean(0) - truth[root].mean(0)) * MM)


def pck(estimate, truth, root, threshold_mm=150.0, valid=None):
    """Share of joints within `threshold_mm` of the truth after both roots are put at the origin: float."""
    estimate, truth = _pair(estimate, truth)
    valid = _valid(valid, truth)
    root = list(root)
    if not valid.any() or not valid[root].all():
        return float("nan")
    difference = (estimate - estimate[root].mean(0)) - (truth - truth[root].mean(0))
    return float(np.mean(np.linalg.norm(difference, axis=-1)[valid] * MM <= threshold_mm))


def reprojection_share(keypoints_image, detected_image, confidence, box, least_confidence=0.3):
    """Median distance between reprojected and detected keypoints, as a share of the box.

    Args:
        keypoints_image: `[J, 2]`, pixels.
        detected_image: `[J, 2]`, pixels.
        confidence: `[J]`; only keypoints of at least `least_confidence` count.
        box: x, y, width, height in pixels; its size is its longer side.

    Returns:
        float; NaN if no keypoint is confident.
    """
    sure = np.asarray(confidence) >= least_confidence
    if not sure.any():
        return float("nan")
    distance = np.linalg.norm(np.asarray(keypoints_image)[sure] - np.asarray(detected_image)[sure], axis=-1)
    return float(np.median(distance) / max(box[2], box[3]))


def box_overlap(first, second):
    """Intersection over union of two boxes x, y, width, height: float in 0..1."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    common = max(width, 0.0) * max(height, 0.0)
    total = first[2] * first[3] + second[2] * second[3] - common
    return float(common / total) if total > 0 else 0.0


def summarize(values):
    """Median, mean and 90th percentile of the finite values, and how many these are: dict."""
    values = np.asarray([value for value in values if np.isfinite(value)], np.float64)
    if not len(values):
        return {"median": None, "mean": None, "p90": None, "count": 0}
    return {"median": float(np.median(values)), "mean": float(values.mean()),
            "p90": float(np.percentile(values, 90)), "count": len(values)}


def _pair(estimate, truth):
    estimate, truth = np.asarray(estimate, np.float64), np.asarray(truth, np.float64)
    if estimate.shape != truth.shape or estimate.ndim != 2 or estimate.shape[1] != 3:
        raise ValueError("`estimate` and `truth` must both be [J, 3]. "
                         f"Received: {estimate.shape} and {truth.shape}.")
    return estimate, truth


def _valid(valid, truth):
    finite = np.isfinite(truth).all(-1)
    return finite if valid is None else finite & np.asarray(valid, bool)
