"""Who is a person, and who the same one again."""

import numpy as np

from hund_tf.sensing.people import distinct, is_known, is_person


def somebody(seed=0):
    points = np.random.default_rng(seed).uniform(0, 1, [137, 2]) * [100.0, 300.0]
    return points, np.full(137, 0.9)


def test_half_a_body_that_is_seen_surely_is_a_person_a_few_points_are_none():
    confidence = np.zeros(137)
    confidence[:12] = 0.8
    assert is_person(confidence)
    confidence[4:] = 0.0
    assert not is_person(confidence)


def test_sure_hands_and_face_alone_are_no_person():
    confidence = np.ones(137)
    confidence[:25] = 0.0
    assert not is_person(confidence)


def test_a_head_that_both_networks_see_is_a_person():
    confidence = np.zeros(137)
    confidence[[0, 15, 16, 17, 18]] = 0.9
    assert is_person(confidence)
    confidence[[0, 15, 16, 17, 18]] = 0.5  # what one network sees alone
    assert not is_person(confidence)


def test_the_same_points_seen_in_another_box_are_the_same_person():
    points, confidence = somebody()
    assert is_known(points + 5.0, confidence, [somebody(1), (points, confidence)])


def test_a_neighbour_in_the_same_pose_is_another_person():
    points, confidence = somebody()
    assert not is_known(points + [40.0, 0.0], confidence, [(points, confidence)])


def test_the_measure_is_the_persons_size_not_pixels():
    points, confidence = somebody()
    assert not is_known(0.1 * points + [4.0, 0.0], confidence, [(0.1 * points, confidence)])
    assert is_known(10 * points + [50.0, 0.0], confidence, [(10 * points, confidence)])


def test_people_without_common_points_are_two():
    points, confidence = somebody()
    legs, head = confidence.copy(), confidence.copy()
    legs[:9], head[9:] = 0.0, 0.0
    assert not is_known(points, legs, [(points, head)])


def test_some_wild_points_do_not_make_another_person():
    points, confidence = somebody()
    other = points.copy()
    other[[4, 7, 11]] += 150.0
    assert is_known(other, confidence, [(points, confidence)])


def test_who_is_kept_is_known_from_then_on():
    points, confidence = zip(somebody(), somebody(1), somebody(), somebody(2))
    confidence = np.array(confidence)
    confidence[1] = 0.1
    known = []
    assert distinct(points, confidence, known) == [0, 3] and len(known) == 2
    assert distinct(points, confidence, known) == []
