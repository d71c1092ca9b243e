"""Photos to records: crops by Eq. 1, labels that move with them, evidence inside the photo only, limits."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.datasets import convert, layout

HEIGHT, WIDTH = 300, 400


def pixels():
    """Red grows to the right, green downward."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(WIDTH) // 2, np.arange(HEIGHT)[:, None] // 2
    return image


def person(x=100.0, y=50.0, width=100.0, height=200.0, **labels):
    return layout.LabelledPerson("set/photo/1", np.array([x, y, width, height]), **labels)


class Landmarks(NamedTuple):
    keypoints: tf.Tensor
    confidence: tf.Tensor
    person_mask: tf.Tensor
    landmarks3d: tf.Tensor
    landmarks3d_confidence: tf.Tensor


class FakeLandmarks:
    """Sees all keypoints at the crop's corner 1, 2 but the first at -5, -5."""

    confidence = 0.5

    def __call__(self, images):
        count = len(images)
        keypoints = np.tile(np.float32([1, 2]), (count, 137, 1))
        keypoints[:, 0] = -5
        return Landmarks(
            keypoints=tf.constant(keypoints), confidence=tf.fill([count, 137], self.confidence),
            person_mask=tf.fill([count, 60, 60], 0.25), landmarks3d=tf.ones([count, 25, 3]),
            landmarks3d_confidence=tf.ones([count, 25]))


class FakeDetector:
    """Finds people in the same boxes of every photo, its own keypoints all in one place of each."""

    def __init__(self, boxes, places=None):
        self.boxes, self.scores = boxes, tf.linspace(0.9, 0.8, len(boxes)) if len(boxes) else tf.zeros(0)
        places = boxes[:, :2] if places is None else places
        self.hints = tf.tile(tf.pad(places, [[0, 0], [0, 1]], constant_values=1.0)[:, None], [1, 17, 1])

    def detect(self, image):
        return self.boxes, self.scores, self.hints


def records_of(photo, **networks):
    return list(convert.people_records(photo, **networks))


def test_crop_intrinsics_bounds_and_labels_by_hand():
    # the box' square has the side 1.2 x 200 = 240 and the corner (30, 30): 2 crop pixels a pixel
    keypoints, weights = np.zeros((137, 2)), np.zeros(137)
    keypoints[4], weights[4] = (150, 150), 0.5
    joints, joint_weights = np.zeros((137, 3)), np.zeros(137)
    joints[4], joint_weights[4] = (-0.25, 0.0, 5.0), 1.0
    photo = layout.LabelledPhoto(pixels, np.array([1000.0, 1000, 200, 150]), [person(
        keypoints=keypoints, keypoints_weight=weights, joints3d=joints, joints3d_weight=joint_weights)])
    [(source, values)] = records_of(photo)
    assert source == "set/photo/1"
    np.testing.assert_allclose(values["intrinsics"], [2000, 2000, 340, 240])
    np.testing.assert_allclose(values["image_bounds"], [-60, -60, 740, 540])
    np.testing.assert_allclose(values["label_keypoints"][4], [240, 240])
    assert not values["label_keypoints"][[0, 5]].any()
    # metres stay, and still fall on the keypoint: 2000 * -0.25 / 5 + 340 = 240
    np.testing.assert_allclose(values["joints3d"][4], [-0.25, 0, 5])
    crop = tf.io.decode_jpeg(values["image"]).numpy().astype(float)
    np.testing.assert_allclose(crop[240, 240, :2], [75, 75], atol=4)  # half of photo pixel (150, 150)


def test_evidence_outside_the_photo_is_not_seen():
    photo = layout.LabelledPhoto(pixels(), None, [person(x=0.0, y=0.0, width=200.0, height=200.0)])
    [(_, values)] = records_of(photo, landmarks=FakeLandmarks())  # the crop begins at (-20, -20)
    assert not values["confidence"].any()
    photo = photo._replace(people=[person()])
    [(_, values)] = records_of(photo, landmarks=FakeLandmarks())
    assert values["confidence"][0] == 0.5 and values["person_mask"].shape == (60, 60)
    np.testing.assert_allclose(values["intrinsics"], [800, 800, 340, 240])  # f = max(H, W)


@pytest.mark.parametrize("confidence, people", [(0.5, 2), (0.1, 0)])
def test_found_boxes_without_a_body_are_left_out(confidence, people):
    landmarks = FakeLandmarks()
    landmarks.confidence = confidence
    boxes = tf.constant([[100.0, 50, 100, 200], [150.0, 50, 100, 200]])
    found = records_of(layout.LabelledPhoto(pixels(), None, None, "photos/a.jpg"), landmarks=landmarks,
                       detector=FakeDetector(boxes))
    assert [source for source, _ in found] == ["photos/a.jpg/0", "photos/a.jpg/1"][:people]
    assert all("label_keypoints" not in values for _, values in found)


@pytest.mark.parametrize("place, people", [((90.0, 130.0), 2), ((72.0, 74.0), 1)])
def test_who_is_overlooked_beside_another_is_looked_at_again(place, people):
    """Of the same box twice: the second person is where the detector has them, unless that is where the first is."""
    pattern = np.random.default_rng(0).uniform(-100, 100, (1, 137, 2)).astype(np.float32)

    def landmarks(images, first=None):
        middle = tf.fill([len(images), 1, 2], 84.0) if first is None else first[:, :1, :2]  # photo (72, 72)
        return FakeLandmarks()(images)._replace(keypoints=middle + pattern)

    detector = FakeDetector(tf.constant([[100.0, 50, 100, 200]] * 2), tf.constant([(0.0, 0.0), place]))
    found = [values["keypoints"] for _, values in records_of(
        layout.LabelledPhoto(pixels(), None, None, "photos/a.jpg"), landmarks=landmarks, detector=detector)]
    expected = np.array([[84.0, 84.0], 2 * (np.array(place) - 30)])[:people]
    np.testing.assert_allclose([points - pattern[0] for points in found], np.tile(expected[:, None], [1, 137, 1]), atol=1e-3)


def test_nobody_in_a_photo_is_no_record():
    assert records_of(layout.LabelledPhoto(pixels(), None, None), detector=FakeDetector(tf.zeros([0, 4]))) == []
    assert records_of(layout.LabelledPhoto(None, None, [])) == []


@pytest.mark.parametrize("limit, written", [(None, 6), (5, 5), (9, 6)])
def test_limit_counts_people(limit, written):
    kept = []
    writer = SimpleNamespace(write=kept.append)
    photos = [layout.LabelledPhoto(pixels, None, [person(), person()])] * 3
    assert convert.convert(photos, writer, limit=limit) == written == len(kept)


def test_a_crowd_is_seen_in_parts_and_everyone_keeps_the_own_place():
    people = [person(x=100.0 + i)._replace(source=str(i)) for i in range(10)]
    found = records_of(layout.LabelledPhoto(pixels, np.array([1000.0, 1000, 200, 150]), people))
    assert [(source, round(float(values["intrinsics"][2]))) for source, values in found] == [
        (str(i), 340 - 2 * i) for i in range(10)]


def test_middles_have_the_least_weight_and_missing_points_none():
    points = [[0.0, 0], [2, 4], [np.nan, 1]]
    placed, weights = layout.at_openpose(points, {1: (0, 1), 2: 1, 3: 2, 4: (0, 2)}, [0.5, 1, 1])
    np.testing.assert_array_equal(placed[1:5], [[1, 2], [2, 4], [0, 0], [0, 0]])
    np.testing.assert_array_equal(weights[1:5], [0.5, 1, 0, 0])
