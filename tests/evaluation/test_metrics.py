"""Errors worked out by hand, and what alignment must and must not undo."""

import numpy as np
import pytest

from hund_tf.evaluation import metrics


def random_points(seed, count=12):
    return np.random.default_rng(seed).normal(size=[count, 3])


def random_rotation(seed):
    q, r = np.linalg.qr(random_points(seed, 3))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_procrustes_undoes_a_similarity(seed):
    truth = random_points(seed)
    moved = 0.3 * truth @ random_rotation(seed + 10).T + [1.0, -2.0, 5.0]
    np.testing.assert_allclose(metrics.procrustes_align(moved, truth), truth, atol=1e-9)
    assert metrics.pa_mpjpe_mm(moved, truth) < 1e-6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_procrustes_is_the_least_squares_optimum(seed):
    estimate, truth = random_points(seed), random_points(seed + 5)
    aligned = metrics.procrustes_align(estimate, truth)
    best = np.sum((aligned - truth) ** 2)
    centre = aligned.mean(0)
    rng = np.random.default_rng(seed)
    for _ in range(50):  # no small further similarity makes it better
        turn = np.linalg.qr(np.eye(3) + 0.02 * rng.normal(size=[3, 3]))[0]
        turn = turn * np.sign(np.diag(turn))
        other = (aligned - centre) @ turn.T * (1 + 0.02 * rng.normal()) + centre + 0.02 * rng.normal(size=3)
        assert np.sum((other - truth) ** 2) >= best - 1e-12


def test_procrustes_does_not_mirror():
    truth = random_points(3)
    mirrored = truth * [-1.0, 1.0, 1.0]
    assert metrics.pa_mpjpe_mm(mirrored, truth) > 100.0


def test_procrustes_survives_coinciding_and_flat_points():
    truth = random_points(4)
    np.testing.assert_allclose(metrics.procrustes_align(np.ones([12, 3]), truth), np.tile(truth.mean(0), [12, 1]))
    flat = truth * [1.0, 1.0, 0.0]
    np.testing.assert_allclose(metrics.procrustes_align(2.0 * flat, flat), flat, atol=1e-9)


def test_mpjpe_by_hand():
    truth = np.array([[0.0, 0, 0], [2.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    estimate = truth + [5.0, 5.0, 5.0]  # a shift does not count
    estimate[2] += [0.0, 0.0, 0.030]  # 30 mm on one joint of four
    assert metrics.mpjpe_mm(estimate, truth, (0, 1)) == pytest.approx(7.5)
    assert metrics.mpjpe_mm(estimate, truth, (0, 1), [True, True, False, True]) == pytest.approx(0.0, abs=1e-9)
    assert metrics.translation_error_mm(estimate, truth, (0, 1)) == pytest.approx(5000 * 3**0.5)
    assert metrics.pck(estimate, truth, (0, 1), 29.0) == 0.75
    assert metrics.pck(estimate, truth, (0, 1), 31.0) == 1.0


def test_errors_without_enough_joints_are_nan():
    points = random_points(0, 4)
    assert np.isnan(metrics.mpjpe_mm(points, points, (0, 1), [False, True, True, True]))
    assert np.isnan(metrics.pa_mpjpe_mm(points, points, [True, True, False, False]))
    truth = points.copy()
    truth[3] = np.nan  # a joint without truth is left out
    assert metrics.mpjpe_mm(points, truth, (0, 1)) == 0.0


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"must both be \[J, 3\]. Received: \(4, 3\) and \(5, 3\)"):
        metrics.mpjpe_mm(np.zeros([4, 3]), np.zeros([5, 3]), (0,))


def test_reprojection_share_by_hand():
    detected = np.zeros([5, 2])
    moved = detected + [[3.0, 4.0]]
    moved[4] = 1000.0  # not confident, does not count
    confidence = [0.9, 0.9, 0.9, 0.3, 0.1]
    assert metrics.reprojection_share(moved, detected, confidence, (0, 0, 50, 100)) == pytest.approx(0.05)
    assert np.isnan(metrics.reprojection_share(moved, detected, [0.0] * 5, (0, 0, 50, 100)))


def test_box_overlap_by_hand():
    assert metrics.box_overlap((0, 0, 2, 2), (1, 0, 2, 2)) == pytest.approx(1 / 3)
    assert metrics.box_overlap((0, 0, 2, 2), (3, 0, 2, 2)) == 0.0
    assert metrics.box_overlap((0, 0, 0, 0), (0, 0, 0, 0)) == 0.0


def test_summarize_leaves_nan_out():
    summary = metrics.summarize([1.0, 2.0, 3.0, float("nan")])
    assert summary == {"median": 2.0, "mean": 2.0, "p90": pytest.approx(2.8), "count": 3}
    assert metrics.summarize([])["median"] is None
