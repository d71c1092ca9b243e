"""Who a box that the detector found shows: a person at all, and one not seen before. Keypoints in, yes or no out."""

import numpy as np

# A box in which the landmark networks see little of a body is no person: a dog, a sign, a hull mark. Of a portrait they see
# the head alone, but surely: 0.9 on photos of faces, up to 0.5 where one network sees a head that the other does not.
_MIN_MEAN_CONFIDENCE, _SURE_HEAD = 0.28, 0.7
_HEAD = [0, 15, 16, 17, 18]  # nose, eyes, ears
_SEEN_BODY = [i for i in range(25) if i not in (20, 23)]  # BODY_25 less the small toes, which nothing detects
# Two boxes in which the networks see the same points show one person. In crowded photos such pairs are 0.003 to 0.033 of
# the person's size apart, and the nearest pairs of two people 0.084.
_SAME = 0.05
_SURE, _LEAST_COMMON = 0.3, 5


def is_person(keypoint_confidence):
    """Whether the landmark networks, by their confidence `[137]`, see enough of a body or surely a head in a detector's box."""
    confidence = np.asarray(keypoint_confidence)
    return bool(np.mean(confidence[_SEEN_BODY]) >= _MIN_MEAN_CONFIDENCE or np.mean(confidence[_HEAD]) >= _SURE_HEAD)


def is_known(keypoints_image, keypoint_confidence, known):
    """Whether someone is one of the people known already.

    Args:
        keypoints_image: `[137, 2]`, pixels of the photo.
        keypoint_confidence: `[137]`.
        known: list of `(keypoints_image, keypoint_confidence)`.

    Returns:
        bool: the median distance of body points that are sure in both, over the smaller one's size, is below 0.05 for one
        of them. With fewer than five common points two people count as two.
    """
    points, sure = _body(keypoints_image, keypoint_confidence)
    for other_points, other_confidence in known:
        other, other_sure = _body(other_points, other_confidence)
        both = sure & other_sure
        if both.sum() < _LEAST_COMMON:
            continue
        size = min(np.ptp(points[sure], axis=0).max(), np.ptp(other[other_sure], axis=0).max())
        if np.median(np.linalg.norm(points - other, axis=-1)[both]) < _SAME * size:
            return True
    return False


def distinct(keypoints_image, keypoint_confidence, known):
    """Who of N seen is a person, and neither known nor seen before among them.

    Args:
        keypoints_image: `[N, 137, 2]`, pixels of the photo.
        keypoint_confidence: `[N, 137]`.
        known: list of `(keypoints_image, keypoint_confidence)` of one person each; who is new is added.

    Returns:
        list of int, rows.
    """
    rows = []
    for row, looks in enumerate(zip(keypoints_image, keypoint_confidence)):
        if is_person(looks[1]) and not is_known(*looks, known):
            known.append(looks)
            rows.append(row)
    return rows


def _body(keypoints, confidence):
    return np.asarray(keypoints, np.float64)[:25], np.asarray(confidence)[:25] > _SURE
