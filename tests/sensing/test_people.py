"""Who is a person, and who the same one again."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.sensing import people
from hund_tf.sensing.people import Looks


def somebody(seed=0):
    points = np.random.default_rng(seed).uniform(0, 1, [137, 2]) * [100.0, 300.0]
    return points, np.full(137, 0.9)


def looks(*seen):
    points, confidence = zip(*seen)
    return Looks(tf.constant(np.array(points)), tf.constant(np.array(confidence), tf.float32))


def is_person(confidence):
    return bool(people.is_person(tf.constant(confidence[None], tf.float32))[0])


def is_known(points, confidence, known):
    return bool(tf.reduce_any(people.same_person(looks((points, confidence)), looks(*known))))


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


def test_the_middle_of_an_even_number_of_distances_is_the_mean_of_two():
    points, confidence = somebody()
    confidence[6:25] = 0.0  # six points
    size = np.ptp(points[:6], axis=0).max()
    for apart, same in ((0.04, True), (0.07, False)):  # 0.045 and 0.06 on average
        other = points.copy()
        other[:3, 0] += 0.05 * size
        other[3:6, 0] += apart * size
        assert is_known(other, confidence, [(points, confidence)]) is same


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_who_is_kept_is_known_from_then_on(wrap):
    seen = [list(person) for person in (somebody(), somebody(1), somebody(), somebody(2))]
    seen[1][1] = np.full(137, 0.1)
    seen = looks(*seen)
    distinct = wrap(people.distinct)
    keep = distinct(seen, people.nobody()).numpy()
    assert keep.tolist() == [True, False, False, True]
    known = people.joined(people.nobody(), Looks(*(values[keep] for values in seen)))
    assert len(known.keypoints) == 2 and not np.any(distinct(seen, known))


def test_nobody_is_nobody():
    assert people.distinct(people.nobody(), people.nobody()).shape == [0]
    assert people.distinct(people.nobody(), looks(somebody())).shape == [0]
