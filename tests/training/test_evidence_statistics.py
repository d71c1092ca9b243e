"""Figures of evidence on people whose figures are known."""

import numpy as np
import pytest

from hund_tf.training import evidence_statistics


def people(count=6, seed=0):
    rng = np.random.default_rng(seed)
    points3d = rng.normal(size=(count, 25, 3)) * 0.3
    keypoints = np.zeros((count, 137, 2))
    keypoints[:, :25] = points3d[..., :2] * 100.0 + 240.0
    mask = np.zeros((count, 60, 60))
    mask[:, 20:40, 20:40] = 1.0
    return {"keypoints": keypoints, "confidence": np.full((count, 137), 0.9), "person_mask": mask,
            "landmarks3d": points3d, "landmarks3d_confidence": np.ones((count, 25))}


def test_sharp_mask_has_no_edge_and_a_known_share():
    figures = evidence_statistics.figures(people())
    assert figures["mask: width of its edge, pixels of 60"] == 0.0
    assert figures["mask: share of the crop, median"] == pytest.approx(400 / 3600)


def test_soft_rim_of_one_pixel_has_width_one():
    evidence = people()
    soft = evidence["person_mask"]
    soft[:, 20:40, 20:40] = 0.6
    soft[:, 21:39, 21:39] = 1.0
    assert evidence_statistics.figures(evidence)["mask: width of its edge, pixels of 60"] == pytest.approx(1.0)


def test_estimate_that_follows_the_image_has_no_residual():
    assert evidence_statistics.figures(people())[
        "3D estimate seen from the front, to the keypoints, median over size"] == pytest.approx(0.0, abs=1e-9)


def test_left_arm_half_as_long_again_differs_by_its_logarithm():
    evidence = people()
    points = evidence["landmarks3d"]
    points[:, 6] = points[:, 5] + 1.5 * (points[:, 3] - points[:, 2])
    assert evidence_statistics.figures(evidence)["3D upper arm: left and right differ by, median"] == pytest.approx(np.log(1.5))


def test_unseen_points_count_as_not_found_and_do_not_enter_the_confidence():
    evidence = people(count=4)
    evidence["confidence"][:2, 0] = 0.0
    figures = evidence_statistics.figures(evidence)
    assert figures["nose: not found"] == 0.5 and figures["nose: confidence, median"] == pytest.approx(0.9)


def test_nobody_seen_gives_nan_not_an_error():
    evidence = people(count=2)
    evidence["confidence"][:] = 0.0
    figures = evidence_statistics.figures(evidence)
    assert np.isnan(figures["nose: confidence, median"]) and figures["face found"] == 0.0
