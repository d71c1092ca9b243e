"""Who is in a photo, and where."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.sensing import detector

SAMPLE = pathlib.Path(detector.__file__).parents[1] / "assets" / "samples" / "street.jpg"
MEN = ((108, 82, 192, 335), (290, 100, 412, 382))  # x0, y0, x1, y1 of the two who stand, by eye


@pytest.fixture(scope="module")
def find():
    return detector.PersonDetector()


@pytest.fixture(scope="module")
def photo():
    return tf.io.decode_image(SAMPLE.read_bytes(), channels=3).numpy()


def covered(boxes, person):
    """Least share of any person's sides outside the best box, and that box's overlap."""
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    return detector.box_overlap(tf.constant([person], tf.float32), tf.constant(corners)).numpy().max()


def test_people_of_the_sample_photo(find, photo):
    boxes, scores = (v.numpy() for v in find(photo))
    assert 2 <= len(boxes) <= 5
    assert np.all(np.diff(scores) <= 0) and scores[0] > 0.5
    for person in MEN:
        assert covered(boxes, person) > 0.6


@pytest.mark.parametrize("crop", [(290, 100, 412, 200), (108, 82, 192, 160)])
def test_head_and_shoulders_that_fill_the_picture(find, photo, crop):
    """The portrait of each of the two is one sure person, seen whole."""
    x0, y0, x1, y1 = crop
    boxes, scores = find(photo[y0:y1, x0:x1].copy())
    assert scores[0] > 0.8
    assert covered(boxes.numpy()[:1], (0, 0, x1 - x0, y1 - y0)) > 0.6


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_photo(find, photo, quarters):
    boxes, _ = find(np.rot90(photo, quarters).copy())
    assert len(boxes) >= 1


def test_doubled_photo_has_twice_the_people(find, photo):
    once, twice = find(photo)[0], find(np.concatenate([photo, photo], 1))[0]
    assert len(twice) >= 2 * len(once) - 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (300, 400, 3), (7, 900, 3), (2000, 20, 3)])
@pytest.mark.parametrize("value", [0, 127])
def test_blank_images_have_nobody(find, shape, value):
    boxes, scores = find(np.full(shape, value, np.uint8))
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_boxes_stay_in_the_image(find, photo):
    boxes = find(photo[100:, 120:].copy())[0].numpy()
    assert np.all(boxes[:, :2] >= 0)
    assert np.all(boxes[:, :2] + boxes[:, 2:] <= [photo.shape[1] - 120 + 1e-3, photo.shape[0] - 100 + 1e-3])


def test_same_person_twice_is_one():
    boxes = tf.constant([[0.0, 0, 10, 20], [0, 0, 10, 19], [30, 0, 40, 20], [0, 0, 10, 20]])
    keypoints = np.zeros([4, 17, 3], np.float32)
    keypoints[..., 2] = 1
    keypoints[2, :, 0] = 35
    keypoints[1, :, 0] = 8  # other keypoints in nearly the same box: still the same person by box
    keep = detector.distinct(boxes, tf.constant([0.9, 0.8, 0.7, 0.0]), tf.constant(keypoints))
    assert keep.numpy().tolist() == [True, False, True, False]


def test_keypoint_similarity_of_a_person_with_themselves_is_one():
    keypoints = tf.constant(np.random.default_rng(0).uniform(0, 20, (3, 17, 3)), tf.float32)
    boxes = tf.constant([[0.0, 0, 20, 20]] * 3)
    similarity = detector.keypoint_similarity(boxes, keypoints).numpy()
    np.testing.assert_allclose(np.diag(similarity), 1.0, atol=1e-6)
    np.testing.assert_allclose(similarity, similarity.T, atol=1e-6)


def test_boxes_grow_to_hold_hands_and_toes():
    keypoints = np.zeros([1, 17, 3], np.float32)
    keypoints[..., :2] = 50
    keypoints[0, 9] = [90, 50, 0.9]  # left wrist beyond the box, elbow at 70
    keypoints[0, 7] = [70, 50, 0.9]
    keypoints[0, 15] = [50, 200, 0.1]  # an ankle that is not seen
    boxes = detector.whole_body_boxes(tf.constant([[40.0, 40, 60, 60]]), tf.constant(keypoints))
    np.testing.assert_allclose(boxes, [[40, 40, 99, 60]], atol=1e-4)


def test_wrong_inputs_are_refused(find):
    with pytest.raises(ValueError, match="multiple of 32"):
        detector.PersonDetector(size=100)
    with pytest.raises(ValueError, match=r"`image` must be \[H, W, 3\]"):
        find(np.zeros([4, 4], np.uint8))
