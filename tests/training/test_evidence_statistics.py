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


# x, y, z in metres of a man who stands straight; thighs lean forward, shins back, and the left thigh is longer by 0.02
MAN = {0: (0, -0.7, 0), 1: (0, -0.5, 0.03), 2: (-0.18, -0.5, 0), 3: (-0.18, -0.2, 0), 4: (-0.18, 0.05, 0), 5: (0.18, -0.5, 0),
       6: (0.18, -0.2, 0), 7: (0.18, 0.05, 0), 8: (0, 0, 0), 9: (-0.1, 0, 0), 10: (-0.1, 0.4, -0.09), 11: (-0.1, 0.8, -0.01),
       12: (0.1, 0, 0), 13: (0.1, 0.42, -0.07), 14: (0.1, 0.82, 0.01), 19: (0.1, 0.82, -0.13), 22: (-0.1, 0.8, -0.15)}


def men(count):
    evidence = people(count)
    for i, place in MAN.items():
        evidence["landmarks3d"][:, i] = place
        evidence["keypoints"][:, i] = np.array(place[:2]) * 100.0 + 240.0
    return evidence


def test_bones_of_the_estimate_have_their_lengths():
    figures = evidence_statistics.figures(men(3))
    known = {"upper arm": 0.3, "forearm": 0.25, "shin": np.hypot(0.4, 0.08), "trunk": np.hypot(0.5, 0.03), "foot": 0.14,
             "thigh": (np.hypot(0.4, 0.09) + np.hypot(0.42, 0.07)) / 2}
    for name, length in known.items():
        assert figures[f"3D {name}: length, median (m)"] == pytest.approx(length)


def test_bones_whose_ends_are_unsure_have_no_length():
    evidence = men(3)
    evidence["landmarks3d_confidence"][:, (19, 22)] = 0.3
    evidence["landmarks3d_confidence"][:, 10] = 0.3  # the left ones are left
    figures = evidence_statistics.figures(evidence)
    assert np.isnan(figures["3D foot: length, median (m)"])
    assert figures["3D thigh: length, median (m)"] == pytest.approx(np.hypot(0.42, 0.07))


def test_proportions_and_depths_are_of_who_stands_upright():
    evidence = men(7)
    spoil = evidence["keypoints"]
    spoil[1, 10, 0] += 15.0  # a thigh 20 degrees off the vertical
    spoil[2, (5, 2)] = spoil[2, (2, 5)]  # from behind
    spoil[3, 5, 0] = spoil[3, 2, 0] + 24.0  # from the side
    evidence["confidence"][4, 11] = 0.1  # an ankle hardly seen
    spoil[5, :25, 1] *= -1.0  # upside down
    spoil[1:6, 8] += [0.0, 9.0]  # whom to leave out has another trunk
    figures = evidence_statistics.figures(evidence)
    assert figures["upright: share of people"] == pytest.approx(2 / 7)
    for name, length in {"trunk": 0.5, "thigh": 0.41, "shin": 0.4}.items():
        assert figures[f"upright: {name}'s share in the image"] == pytest.approx(length / 1.31)
    for name, depth in {"trunk": -0.03, "thigh": -0.08, "shin": 0.08}.items():
        assert figures[f"upright: {name}'s depth in the 3D estimate, median (m)"] == pytest.approx(depth)


def test_nobody_upright_gives_nan():
    evidence = men(2)
    evidence["keypoints"][:, (5, 2)] = evidence["keypoints"][:, (2, 5)]
    figures = evidence_statistics.figures(evidence)
    assert figures["upright: share of people"] == 0.0
    assert np.isnan([value for name, value in figures.items() if name.startswith("upright: ") and "share of" not in name]).all()
