"""What was seen of a person and the last loss in, radii about every keypoint and joint that hold the true point out."""

import numpy as np
import tensorflow as tf

from hund_tf import files
from hund_tf.body import npz

KEYPOINTS, JOINTS = 137, 63
POINTS = KEYPOINTS + JOINTS
LEVELS = 0.5, 0.9  # shares of true points inside the radii
PARTS = 3  # left hand, right hand, head
_SMALLEST_M, _LARGEST_M = 1e-4, 2.0  # radii; the pelvis has the smallest: it is where everything is measured from
_SEEN = 0.1  # confidence from which a point counts as seen; less counts for part of it
_LEAST_LOSS = 1e-3
_BODY = tuple(i for i in range(25) if i not in (20, 23))  # BODY_25 without small toes, which nobody sees
_LIMBS = ((2, 3, 4), (5, 6, 7), (9, 10, 11, 22), (12, 13, 14, 19), (0, 15, 16, 17, 18), (2, 5, 9, 12))
_RIGHT_ARM, _LEFT_ARM, _RIGHT_LEG, _LEFT_LEG, _HEAD, _TRUNK = range(len(_LIMBS))
_FEATURES = ("constant", "body", "log loss", "unseen", "confidence", "seen", "limb", "least of limb", "part")
_FIELDS = {"weights": (POINTS, len(LEVELS), len(_FEATURES)), "lowest": (len(_FEATURES),), "highest": (len(_FEATURES),),
           "source": (POINTS,), "limb": (POINTS,), "part": (POINTS,)}
_CHOICES = {"source": KEYPOINTS, "limb": len(_LIMBS), "part": PARTS + 1}  # integers below these
_SOURCES = {  # keypoints (right, left) by what the names of joints hold
    "hip": (9, 12), "knee": (10, 13), "ankle": (11, 14), "foot": (22, 19), "shoulder": (2, 5), "collar": (2, 5),
    "elbow": (3, 6), "wrist": (4, 7), "eye": (15, 16), "pelvis": (8, 8), "spine1": (8, 8), "spine2": (8, 8), "spine3": (1, 1),
    "neck": (1, 1), "head": (0, 0), "jaw": (0, 0)}
_TURNS, _PULL = 25, 1e-4  # of the fit: rounds, and how strongly weights are drawn to 0


class Uncertainty(tf.Module):
    """How far from the truth each point of a person may be, both relative to their pelvis.

    The logarithm of a radius is linear in what tells of the error: how surely the body, the limb and the point itself were
    seen, the loss, and how much the network of its hand or head counted. Outside what was met in calibration these count as
    the nearest that was met. `calibrate` makes one from errors; it is good for the networks that made these.

    Args:
        weights: `[200, 2, 9]`, of each point (137 keypoints, 63 joints) and level on `_FEATURES`; exp of the sum is metres.
        lowest, highest: `[9]`, of the features in calibration.
        source: int `[200]`, the keypoint whose confidence speaks for the point.
        limb: int `[200]`, row of `_LIMBS`.
        part: int `[200]`, left hand, right hand or head; 3 is none of these.

    Call arguments:
        confidence: `[B, 137]`, of the landmarks, 0 to 1.
        loss: `[B]`, L_u of the body's last state.
        part_weights: `[B, 3]`, how much the networks of left hand, right hand and head counted, 0 to 1; 0 without them.

    Returns:
        `[B, 200, 2]`, metres: within the first lies the true point in 50 of 100 cases, within the second in 90, of evidence
        like that of the calibration.

    Raises:
        ValueError: if an argument has another shape or breaks its rule.
    """

    def __init__(self, weights, lowest, highest, source, limb, part):
        super().__init__(name="uncertainty")
        arrays = dict(zip(_FIELDS, map(np.asarray, (weights, lowest, highest, source, limb, part))))
        _check(arrays)
        self._arrays = {name: value.astype(np.int32 if name in _CHOICES else np.float32) for name, value in arrays.items()}

    def __call__(self, confidence, loss, part_weights):
        confidence, loss, part_weights = _checked(confidence, loss, part_weights)
        a = self._arrays
        features = _describe(confidence, loss, part_weights, a["source"], a["limb"], a["part"])
        features = tf.clip_by_value(features, a["lowest"], a["highest"])
        low, high = np.log(_SMALLEST_M, dtype=np.float32), np.log(_LARGEST_M, dtype=np.float32)
        radii = tf.exp(tf.clip_by_value(tf.einsum("bkf,klf->bkl", features, a["weights"]), low, high))
        return tf.stack([radii[..., 0], tf.maximum(radii[..., 0], radii[..., 1])], -1)

    @property
    def source(self):
        """int `[200]`, the keypoint whose confidence speaks for each point."""
        return self._arrays["source"]

    def save(self, path):
        """Writes an `.npz` file."""
        def write(temporary):
            with open(temporary, "wb") as file:  # under a bare name NumPy would add a suffix
                np.savez(file, **self._arrays)

        files.write_atomically(path, write)

    @classmethod
    def load(cls, path):
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged or something else.
        """
        arrays = npz.read_arrays(path, _FIELDS)
        missing = [name for name in _FIELDS if name not in arrays]
        if missing:
            raise ValueError(f"A calibration of uncertainty must hold {', '.join(_FIELDS)}. {path} lacks {', '.join(missing)}.")
        try:
            return cls(*(arrays[name] for name in _FIELDS))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def calibrate(joint_names, confidence, loss, part_weights, errors):
    """Fits an `Uncertainty` to errors that were measured.

    Quantiles of each point's log error are fitted on all rows, then moved by what a fit on one half of the rows lacks on the
    other. Rows that belong together, such as draws of one scene, should be neighbours.

    Args:
        joint_names: names of the 63 joints.
        confidence, loss, part_weights: as of the call, N rows.
        errors: `[N, 200]`, metres.

    Returns:
        `Uncertainty`.

    Raises:
        ValueError: if there are fewer than 30 rows, or shapes do not fit.
    """
    errors = np.asarray(errors, np.float64)
    if len(errors) < 30 or errors.shape != (len(errors), POINTS) or not np.all(np.isfinite(errors)):
        raise ValueError(f"`errors` must be at least 30 rows of {POINTS} finite numbers. Received: {errors.shape}.")
    plan = _plan(joint_names)
    features = _describe(*_checked(confidence, loss, part_weights), *plan).numpy()
    if len(features) != len(errors):
        raise ValueError(f"Evidence and `errors` must have as many rows. Received: {len(features)} and {len(errors)}.")
    target = np.log(np.maximum(errors, _SMALLEST_M))
    weights = np.zeros(_FIELDS["weights"])
    for point in range(POINTS):
        rows, values = features[:, point].astype(np.float64), target[:, point]
        for k, level in enumerate(LEVELS):
            weights[point, k] = quantile_regression(rows, values, level)
            weights[point, k, 0] += _shortfall(rows, values, level)
    return Uncertainty(weights, features.min((0, 1)), features.max((0, 1)), *plan)


def quantile_regression(rows, values, level):
    """Weights with which `rows @ weights` is the quantile of `values` given the row; the first column is the constant.

    Args:
        rows: `[N, F]`.
        values: `[N]`.
        level: float, 0 to 1.

    Returns:
        `[F]`, least sum of the pinball loss, by reweighted least squares.
    """
    pull = _PULL * len(rows) * np.eye(rows.shape[1])
    pull[0, 0] *= 1e-3
    weights, importance = 0.0, np.ones(len(rows))
    for _ in range(_TURNS):
        weighted = rows * importance[:, None]
        weights = np.linalg.solve(weighted.T @ rows + pull, weighted.T @ values)
        residual = values - rows @ weights
        importance = np.where(residual > 0, level, 1 - level) / np.maximum(np.abs(residual), 1e-2)
    return weights


def _shortfall(rows, values, level):
    """By how much a fit on one half of the rows must rise so that `level` of the other half lie below it."""
    halves = np.array_split(np.arange(len(rows)), 2)
    residual = np.concatenate([values[test] - rows[test] @ quantile_regression(rows[learn], values[learn], level)
                               for learn, test in (halves, halves[::-1])])
    return np.quantile(residual, level, method="higher")


def _describe(confidence, loss, part_weights, source, limb, part):
    """`_FEATURES` of every point: `[B, 200, 9]`."""
    body = tf.gather(confidence, _BODY, axis=1)
    unseen = 1.0 - tf.reduce_mean(tf.minimum(body / _SEEN, 1.0), 1)
    person = tf.stack([tf.ones_like(loss), tf.reduce_mean(body, 1), tf.math.log(tf.maximum(loss, _LEAST_LOSS)), unseen], -1)
    person = tf.tile(person[:, None], [1, POINTS, 1])
    own = tf.gather(confidence, source, axis=1)
    limbs = [tf.gather(confidence, points, axis=1) for points in _LIMBS]
    means, least = (tf.gather(tf.stack([reduce(x, 1) for x in limbs], 1), limb, axis=1)
                    for reduce in (tf.reduce_mean, tf.reduce_min))
    counted = tf.gather(tf.pad(part_weights, [[0, 0], [0, 1]]), part, axis=1)
    rest = tf.stack([own, tf.minimum(own / _SEEN, 1.0), means, least, counted], -1)
    return tf.concat([person, rest], -1)


def _plan(joint_names):
    """Source, limb and part of every point: three int arrays `[200]`."""
    if len(joint_names) != JOINTS:
        raise ValueError(f"`joint_names` must be {JOINTS} names. Received: {len(joint_names)}.")
    points = [_plan_of_keypoint(i) for i in range(KEYPOINTS)] + [_plan_of_joint(name) for name in joint_names]
    return tuple(np.array(column, np.int32) for column in zip(*points))


def _plan_of_keypoint(index):
    for first, limb, part in ((116, _RIGHT_ARM, 1), (95, _LEFT_ARM, 0), (25, _HEAD, 2)):
        if index >= first:
            return index, limb, part
    source = {20: 19, 23: 22}.get(index, index)  # small toes: big toes
    if index in (0, 15, 16, 17, 18):
        return source, _HEAD, 2
    limbs = {_RIGHT_ARM: (3, 4), _LEFT_ARM: (6, 7), _RIGHT_LEG: (10, 11, 22, 23, 24), _LEFT_LEG: (13, 14, 19, 20, 21)}
    return source, next((limb for limb, points in limbs.items() if index in points), _TRUNK), PARTS


def _plan_of_joint(name):
    left = name.startswith("left")
    source = next((points[left] for word, points in _SOURCES.items() if word in name.split("_")), None)
    if source is None:  # of a hand, metacarpals too
        return _plan_of_keypoint(95 if left else 116)
    return _plan_of_keypoint(source)


def _checked(confidence, loss, part_weights):
    values = [tf.cast(tf.convert_to_tensor(value), tf.float32) for value in (confidence, loss, part_weights)]
    for name, value, rest in zip(("confidence", "loss", "part_weights"), values, ((KEYPOINTS,), (), (PARTS,))):
        if value.shape.rank != 1 + len(rest) or not value.shape[1:].is_compatible_with(rest):
            raise ValueError(f"`{name}` must be [{', '.join(map(str, ('B', *rest)))}]. Received: {value.shape}.")
    return values


def _check(arrays):
    for name, value in arrays.items():
        if value.shape != _FIELDS[name] or value.dtype.kind not in ("iu" if name in _CHOICES else "fiu"):
            raise ValueError(f"`{name}` must be numbers {list(_FIELDS[name])}. Received: {value.dtype} {list(value.shape)}.")
        if not np.all(np.isfinite(value)):
            raise ValueError(f"`{name}` must be finite. Received: {np.sum(~np.isfinite(value))} values that are not.")
        if name in _CHOICES and not np.all((value >= 0) & (value < _CHOICES[name])):
            raise ValueError(f"`{name}` must lie in 0..{_CHOICES[name] - 1}. Received: {value.min()}..{value.max()}.")
    if not np.all(arrays["lowest"] <= arrays["highest"]):
        raise ValueError("`lowest` must not be above `highest`. Received: one that is.")
