"""Arms that reach: to the place, not at all, or as far as they are long."""

import numpy as np
import tensorflow as tf

from hund_tf.whole_body.reach import reach

RNG = np.random.default_rng(0)
SHOULDER, ELBOW = np.zeros([50, 3]), RNG.normal(size=(50, 3)) * 0.1 + [0.3, 0, 0]
WRIST = ELBOW + RNG.normal(size=(50, 3)) * 0.15
HINGE = np.cross(ELBOW, [0.0, 0.0, 1.0]) / np.linalg.norm(np.cross(ELBOW, [0.0, 0.0, 1.0]), axis=1)[:, None]


def reached(place, wrist=WRIST):
    arm, forearm = reach(*(tf.constant(x, tf.float32) for x in (SHOULDER, ELBOW, wrist, place, HINGE)))
    elbow = np.einsum("bij,bj->bi", arm, ELBOW)
    for turn in (arm, forearm):
        np.testing.assert_allclose(turn @ tf.transpose(turn, [0, 2, 1]), np.tile(np.eye(3), [50, 1, 1]), atol=1e-5)
    return elbow + np.einsum("bij,bj->bi", forearm, wrist - ELBOW), np.stack([arm, forearm])


def test_reaches_a_place_within_reach():
    far = np.linalg.norm(ELBOW, axis=1) + np.linalg.norm(WRIST - ELBOW, axis=1)
    near = np.abs(np.linalg.norm(ELBOW, axis=1) - np.linalg.norm(WRIST - ELBOW, axis=1))
    place = RNG.normal(size=(50, 3))
    place *= ((near + RNG.uniform(0.2, 0.9, 50) * (far - near)) / np.linalg.norm(place, axis=1))[:, None]
    found, _ = reached(place)
    assert np.median(np.linalg.norm(found - place, axis=1)) < 2e-3  # the hinge has a say: arms that are nearly straight miss a little
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=1)[:, None], place / np.linalg.norm(place, axis=1)[:, None], atol=1e-4)


def test_where_it_is_gives_no_turn():
    _, turns = reached(WRIST)
    np.testing.assert_allclose(turns, np.tile(np.eye(3), [2, 50, 1, 1]), atol=2e-3)


def test_what_is_out_of_reach_is_pointed_at():
    place = RNG.normal(size=(50, 3)) * 10
    found, _ = reached(place)
    length = np.linalg.norm(ELBOW, axis=1) + np.linalg.norm(WRIST - ELBOW, axis=1)
    assert np.all(np.linalg.norm(found, axis=1) < length + 1e-4)
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=1)[:, None], place / np.linalg.norm(place, axis=1)[:, None], atol=1e-4)


def test_a_straight_arm_bends_as_elbows_do():
    wrist = 2 * ELBOW
    found, _ = reached(1.6 * ELBOW, wrist)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.6 * np.linalg.norm(ELBOW, axis=1), rtol=0.05)
