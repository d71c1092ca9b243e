"""What evidence looks like, in figures that need no truth: detections of many people in, a named list of figures out.

Drawn evidence teaches well when these figures agree with those of real photos; tools/compare_evidence.py shows both.
"""

import numpy as np

GROUPS = {"nose": (0,), "eyes": (15, 16), "ears": (17, 18), "shoulders": (2, 5), "elbows": (3, 6), "wrists": (4, 7),
          "hips": (9, 12), "knees": (10, 13), "ankles": (11, 14), "big toes": (19, 22), "heels": (21, 24)}
_SEEN, _SURE, _LIKELY = 0.05, 0.7, 0.5
_LIMBS = {"upper arm": (2, 3, 5, 6), "forearm": (3, 4, 6, 7), "thigh": (9, 10, 12, 13), "shin": (10, 11, 13, 14)}
_BONES = {"upper arm": ((2, 3), (5, 6)), "forearm": ((3, 4), (6, 7)), "thigh": ((9, 10), (12, 13)),
          "shin": ((10, 11), (13, 14)), "trunk": ((1, 8),), "foot": ((11, 22), (14, 19))}  # pairs of points; feet end at the big toes
_UPRIGHT_BONES, _MOST_TILT, _BARELY = ("trunk", "thigh", "shin"), np.radians(15.0), 0.1
_UPRIGHT_POINTS, _SHOULDERS = (0, 2, 5, 9, 10, 11, 12, 13, 14), (2, 5)  # right shoulder, left shoulder
_LIMB_POINTS = (2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14)
_LEAST_POINTS = 8
_NOSE, _FACE_NOSE = 0, 25 + 30  # of BODY_25 and of the 70 face points
_RIGHT_EYE, _FACE_RIGHT_EYE = 15, range(25 + 36, 25 + 42)
_WRISTS, _HAND_ROOTS = (7, 4), (95, 116)
_CROP, _MAP = 480, 60


def figures(evidence):
    """Figures of the evidence of N people.

    Args:
        evidence: dict or tuple with `keypoints` `[N, 137, 2]` (crop pixels), `confidence` `[N, 137]`, `person_mask`
            `[N, 60, 60]`, `landmarks3d` `[N, 25, 3]`, `landmarks3d_confidence` `[N, 25]`.

    Returns:
        dict of float by name; NaN where nobody shows what a figure needs. "size" is the longer side of the box around
        the body's points that are seen.
    """
    points, confidence, mask, points3d, sure3d = (np.asarray(x) for x in (
        evidence["keypoints"], evidence["confidence"], evidence["person_mask"], evidence["landmarks3d"],
        evidence["landmarks3d_confidence"]))
    result = {}
    for name, group in GROUPS.items():
        values = confidence[:, group].ravel()
        seen = values[values > _SEEN]
        result[f"{name}: not found"] = float(np.mean(values <= _SEEN))
        result[f"{name}: confidence, median"] = _quantile(seen, 0.5)
        result[f"{name}: confidence, tenth percentile"] = _quantile(seen, 0.1)
    result["face found"] = float((confidence[:, 25:95].max(1) > _SEEN).mean())
    result["hands found"] = float(np.mean([(confidence[:, a:a + 21].max(1) > _SEEN).mean() for a in _HAND_ROOTS]))
    low, high = _extent(points[:, :25], confidence[:, :25])
    size = np.maximum((high - low).max(1), 1.0)
    result["size over crop, median"] = _quantile(size / _CROP, 0.5)
    result["centre off the crop's, standard deviation over crop"] = float((((low + high) / 2 - _CROP / 2) / _CROP).std(0).mean())
    result.update(_mask_figures(mask, points, confidence))
    result.update(_agreement_figures(points, confidence, size))
    result.update(_landmark_figures(points, confidence, points3d, sure3d, size))
    result.update(_length_figures(points3d, sure3d))
    result.update(_upright_figures(points, confidence, points3d))
    return result


def _mask_figures(mask, points, confidence):
    inside, soft = mask > 0.5, (mask > 0.1) & (mask < 0.9)
    cell = np.clip((points[:, :25] * (_MAP / _CROP)).astype(int), 0, _MAP - 1)
    at_points = inside[np.arange(len(mask))[:, None], cell[..., 1], cell[..., 0]]
    sure = confidence[:, :25] > _SURE
    return {
        "mask: share of the crop, median": _quantile(inside.mean((1, 2)), 0.5),
        "mask: width of its edge, pixels of 60": _quantile(
            soft.sum((1, 2)) / np.maximum(_rim(inside), 1.0), 0.5),
        **{f"mask: covers sure {name}": _mean(at_points[:, GROUPS[name]][sure[:, GROUPS[name]]])
           for name in ("shoulders", "wrists", "hips", "ankles")}}


def _rim(inside):
    """Number of map pixels on the border of each mask."""
    padded = np.pad(inside, ((0, 0), (1, 1), (1, 1)))
    core = padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1] & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:]
    return (inside & ~core).sum((1, 2))


def _agreement_figures(points, confidence, size):
    """How far two networks that look at the same point are apart, over the person's size: a measure of jitter."""
    def apart(first, second, both):
        return (np.linalg.norm(first - second, axis=-1) / size)[both]

    seen = confidence > 0.3
    eye = points[:, _FACE_RIGHT_EYE].mean(1)
    wrists = np.concatenate([apart(points[:, w], points[:, h], seen[:, w] & seen[:, h])
                             for w, h in zip(_WRISTS, _HAND_ROOTS)])
    return {
        "wrist to the hand's root, median over size": _quantile(wrists, 0.5),
        "nose to the face's nose, median over size": _quantile(
            apart(points[:, _NOSE], points[:, _FACE_NOSE], seen[:, _NOSE] & seen[:, _FACE_NOSE]), 0.5),
        "eye to the face's eye, median over size": _quantile(
            apart(points[:, _RIGHT_EYE], eye, seen[:, _RIGHT_EYE] & seen[:, _FACE_RIGHT_EYE[0]]), 0.5)}


def _landmark_figures(points, confidence, points3d, sure3d, size):
    """The 3D estimate against itself (two sides of a body are alike) and against the image."""
    result = {"3D estimate there": float((sure3d.max(1) > _SEEN).mean())}
    for name, (a, b, c, d) in _LIMBS.items():
        sure = (sure3d[:, (a, b, c, d)] > _LIKELY).all(1)
        right, left = (np.maximum(np.linalg.norm(points3d[sure, i] - points3d[sure, j], axis=-1), 1e-6)
                       for i, j in ((a, b), (c, d)))
        result[f"3D {name}: left and right differ by, median"] = _quantile(np.abs(np.log(right / left)), 0.5)
        result[f"3D {name}: length, standard deviation (m)"] = float(right.std()) if len(right) else float("nan")
    residuals = []
    for i in range(len(points)):
        used = [j for j in _LIMB_POINTS if confidence[i, j] > _LIKELY and sure3d[i, j] > _LIKELY]
        if len(used) >= _LEAST_POINTS:
            flat = points3d[i, used, :2] - points3d[i, used, :2].mean(0)
            seen = points[i, used] - points[i, used].mean(0)
            scale = np.sum(flat * seen) / max(np.sum(flat * flat), 1e-9)
            residuals.append(np.linalg.norm(seen - scale * flat, axis=-1).mean() / size[i])
    result["3D estimate seen from the front, to the keypoints, median over size"] = _quantile(residuals, 0.5)
    return result


def _length_figures(points3d, sure3d):
    """How long the bones of the 3D estimate are, right and left ones together."""
    result = {}
    for name, pairs in _BONES.items():
        lengths = np.stack([np.linalg.norm(points3d[:, b] - points3d[:, a], axis=-1) for a, b in pairs])
        sure = np.stack([(sure3d[:, pair] > _LIKELY).all(1) for pair in pairs])
        result[f"3D {name}: length, median (m)"] = _quantile(lengths[sure], 0.5)
    return result


def _upright_figures(points, confidence, points3d):
    """Proportions in the image, and depths of the 3D estimate, of people who stand straight and face the camera."""
    upright = _is_upright(points, confidence)
    result = {"upright: share of people": float(upright.mean())}
    lengths, depths = {}, {}
    for name in _UPRIGHT_BONES:
        first, last = (np.array(ends) for ends in zip(*_BONES[name]))
        lengths[name] = np.linalg.norm(points[:, last] - points[:, first], axis=-1)[upright].mean(1)  # of both sides
        depths[name] = (points3d[:, last, 2] - points3d[:, first, 2])[upright].mean(1)
    whole = np.maximum(sum(lengths.values()), 1e-6)
    for name in _UPRIGHT_BONES:
        result[f"upright: {name}'s share in the image"] = _quantile(lengths[name] / whole, 0.5)
    for name in _UPRIGHT_BONES:
        result[f"upright: {name}'s depth in the 3D estimate, median (m)"] = _quantile(depths[name], 0.5)
    return result


def _is_upright(points, confidence):
    """Trunk, thighs and shins within 15 degrees of the vertical, the left shoulder well to the right of the right: `[N]`."""
    upright = (confidence[:, _UPRIGHT_POINTS] > _BARELY).all(1)
    for name in _UPRIGHT_BONES:
        for a, b in _BONES[name]:
            along = points[:, b] - points[:, a]
            upright &= np.arctan2(np.abs(along[:, 0]), along[:, 1]) < _MOST_TILT
    trunk = np.linalg.norm(points[:, 8] - points[:, 1], axis=-1)
    right, left = _SHOULDERS
    return upright & (points[:, left, 0] - points[:, right, 0] > 0.5 * trunk)


def _extent(points, confidence):
    seen = (confidence > 0.3)[..., None]
    some = seen.any(1)
    low, high = np.where(seen, points, np.inf).min(1), np.where(seen, points, -np.inf).max(1)
    return np.where(some, low, 0.0), np.where(some, high, 1.0)


def _quantile(values, share):
    return float(np.quantile(values, share)) if len(values) else float("nan")


def _mean(values):
    return float(np.mean(values)) if len(values) else float("nan")
