"""Degraded evidence: clean at zero noise, repeatable by seed, errors of the size that was asked for."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.training import evidence

SEED = tf.constant([3, 5], tf.int64)


def scene(batch=64):
    rng = np.random.default_rng(0)
    labels = np.zeros((batch, 60, 60), np.uint8)
    labels[:, 15:45, 20:40] = 1
    return {"keypoints": tf.constant(rng.uniform(120, 360, (batch, 137, 2)), tf.float32),
            "image_bounds": tf.constant(np.tile([-50.0, -50.0, 600.0, 600.0], (batch, 1)), tf.float32),
            "part_labels": tf.constant(labels)}


POINTS = tf.constant(np.random.default_rng(1).normal(0, 0.4, (64, 25, 3)), tf.float32)


def test_zero_noise_is_the_truth():
    truth = scene()
    found = evidence.detect(truth, POINTS, SEED, noise=0.0)
    derived = [i for i in range(25) if i not in (1, 8)]  # neck and mid-hip are midpoints
    np.testing.assert_allclose(tf.gather(found.keypoints, derived, axis=1), tf.gather(truth["keypoints"], derived, axis=1),
                               atol=1e-3)
    np.testing.assert_allclose(found.landmarks3d, POINTS - POINTS[:, 8:9], atol=1e-5)
    np.testing.assert_array_equal(found.part_labels, truth["part_labels"])
    inside = found.person_mask.numpy()[:, 17:43, 22:38]
    assert inside.min() > 0.9 and found.person_mask.numpy()[:, :10].max() < 0.1


def test_same_seed_same_evidence():
    first, second = (evidence.detect(scene(), POINTS, SEED) for _ in range(2))
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)


def test_noise_is_of_the_size_of_real_detectors():
    truth = scene()
    found = evidence.detect(truth, POINTS, SEED)
    box = 240.0
    error = np.linalg.norm(found.keypoints[:, :25] - truth["keypoints"][:, :25], axis=-1) / box
    seen = found.confidence[:, :25].numpy() > 0
    assert 0.01 < np.median(error[seen]) < 0.04
    assert 0.6 < seen.mean() < 0.95
    assert np.all(found.confidence.numpy()[:, [20, 23]] == 0)


def test_points_outside_the_photo_are_unseen():
    truth = scene()
    truth["image_bounds"] = tf.tile(tf.constant([[0.0, 0.0, 480.0, 240.0]]), [64, 1])
    found = evidence.detect(truth, POINTS, SEED)
    below = found.keypoints[..., 1].numpy() > 240
    assert np.all(found.confidence.numpy()[below] == 0)


def test_hips_just_off_the_photo_are_claimed_at_its_edge():
    truth = scene()
    keypoints = truth["keypoints"].numpy()
    keypoints[:, 9] = [200.0, 250.0]  # 10 pixels below the photo's edge
    truth = {**truth, "keypoints": tf.constant(keypoints),
             "image_bounds": tf.tile(tf.constant([[0.0, 0.0, 480.0, 240.0]]), [64, 1])}
    found = evidence.detect(truth, POINTS, SEED)
    confidence, height = found.confidence[:, 9].numpy(), found.keypoints[:, 9, 1].numpy()
    claimed = confidence > 0
    assert 0.3 < claimed.mean() < 0.95
    assert np.all(height[claimed] < 240) and np.median(height[claimed]) > 220
    assert confidence.max() < 0.8


def test_drawn_3d_estimate_agrees_with_the_image_and_with_itself():
    """As tools/compare_evidence.py finds it on photos: legs alike within some percent, the view from the front near the keypoints."""
    points = standing()
    found = evidence.detect(seen(points), points, SEED)
    estimate, sure = found.landmarks3d.numpy(), found.landmarks3d_confidence.numpy()
    thighs = [np.linalg.norm(estimate[:, a] - estimate[:, b], axis=-1) for a, b in ((9, 10), (12, 13))]
    known = (sure[:, [9, 10, 12, 13]] > 0.5).all(1)
    assert np.median(np.abs(np.log(thighs[0] / thighs[1]))[known]) < 0.06
    across = np.abs(estimate[:, [4, 7], 0] - (points[:, [4, 7], 0] - points[:, 8:9, 0]))
    assert np.median(across) < 0.06
    deep = np.abs(estimate[:, [4, 7], 2] - (points[:, [4, 7], 2] - points[:, 8:9, 2]))
    assert np.median(deep) > np.median(across)


def test_drawn_3d_estimate_knows_nobody_size():
    """On photos its legs are as long for tall people as for short ones: what it says must not betray the truth."""
    legs = [np.median(np.linalg.norm(np.diff(evidence.detect(seen(p), p, SEED).landmarks3d.numpy()[:, [9, 10, 11]], axis=1), axis=-1))
            for p in (standing(), 1.2 * standing())]
    assert legs[0] == pytest.approx(legs[1], rel=0.02) and legs[0] == pytest.approx(0.38, rel=0.05)


def test_drawn_3d_estimate_leans_towards_the_camera():
    points = standing()
    lean = evidence.detect(scene(), points, SEED).landmarks3d.numpy()[:, 1, 2]
    assert np.median(lean) < np.median((points[:, 1] - points[:, 8])[:, 2]) - 0.03


def seen(points):
    """A scene that shows these points in the middle of the crop."""
    truth = scene()
    keypoints = truth["keypoints"].numpy()
    keypoints[:, :25] = 240.0 + 200.0 * points[..., :2]
    return {**truth, "keypoints": tf.constant(keypoints)}


def standing():
    """BODY_25 points of somebody who stands upright and faces the camera: `[64, 25, 3]`, metres."""
    x = [0, 0, -.18, -.2, -.2, .18, .2, .2, 0, -.1, -.1, -.1, .1, .1, .1, -.03, .03, -.07, .07, .12, .15, .1, -.12, -.15, -.1]
    y = [-.75, -.55, -.55, -.25, 0, -.55, -.25, 0, 0, 0, .42, .85, 0, .42, .85, -.8, -.8, -.78, -.78, .92, .92, .9, .92, .92, .9]
    z = [-.12, 0, 0, 0, -.05, 0, 0, -.05, 0, 0, 0, 0, 0, 0, 0, -.1, -.1, 0, 0, -.15, -.12, .05, -.15, -.12, .05]
    return np.tile(np.stack([x, y, z], -1).astype(np.float32), [64, 1, 1])
