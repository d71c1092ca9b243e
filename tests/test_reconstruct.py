"""What the line from photo to bodies asks of its arguments, and whom it keeps, with a stand-in for the networks."""

from types import SimpleNamespace
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import tensorflow as tf

from hund_tf.body.generative_body import BodyOutput
from hund_tf.distortion import LensDistortion
from hund_tf.geometry import camera
from hund_tf.reconstruct import Reconstructor
from hund_tf.sensing import crops
from hund_tf.state import BodyStateCodec

PHOTO = np.full([40, 60, 3], 120, np.uint8)
PHOTO[:, :15] = 0
BOXES = [[0.0, 0.0, 10.0, 20.0], [20.0, 5.0, 10.0, 20.0], [40.0, 9.0, 10.0, 20.0]]
MIDDLE = [25.0, 15.0]  # of the second box


class Landmarks(NamedTuple):
    keypoints: tf.Tensor
    confidence: tf.Tensor


class Detector:
    """Finds people in boxes, each a little less surely, its own keypoints all in one place of each; none if not told where."""

    def __init__(self, boxes, places=None, surest=0.9):
        boxes = tf.constant(boxes, tf.float32)
        scores = surest - 0.1 * tf.range(len(boxes), dtype=tf.float32)
        hints = tf.zeros([len(boxes), 17, 3])
        if places is not None:
            hints = tf.tile(tf.pad(tf.constant(places), [[0, 0], [0, 1]], constant_values=1.0)[:, None], [1, 17, 1])
        self.found = boxes, scores, hints

    def detect(self, image):
        return self.found


class Line(Reconstructor):
    """Finds three boxes; the surest, in the dark, holds nobody. Notes how many crops are looked at, how many get a body.

    Whoever is asked for by a detector's keypoints is seen as far from where anybody is seen as these are from the middle.
    """

    def __init__(self, boxes=BOXES, **of_detector):
        self.detector = Detector(boxes, **of_detector)
        self.sensing, self.looks, self.bodies = self, [], []

    def find_landmarks(self, crop_images, first=None):
        self.looks.append(len(crop_images))
        lit = crop_images[:, 240, 240, :1] > 0
        places = np.tile(np.random.default_rng(0).uniform(60, 420, [1, 137, 2]), [len(crop_images), 1, 1])
        if first is not None:
            places += first[:, :1, :2] - 240.0
        return Landmarks(tf.constant(places, tf.float32),
                         tf.where(lit, tf.fill([1, 137], 0.8), 0.1))

    def _reconstruct_people(self, seen, intrinsics, num_stages, clock, lens, refine):
        self.bodies.append(len(seen.boxes))
        return [SimpleNamespace(score=score, keypoints=keypoints) for score, keypoints in zip(
            np.asarray(seen.scores), np.asarray(seen.keypoints))]


def scores(result):
    return [round(float(person.score), 1) for person in result.people]


def test_who_is_nobody_does_not_count_and_gets_no_body():
    line = Line()
    assert scores(line.reconstruct(PHOTO, max_people=1)) == [0.8]
    assert line.looks == [1, 1] and line.bodies == [1]
    assert scores(line.reconstruct(PHOTO)) == [0.8, 0.7] and line.looks[-1] == 3 and line.bodies[-1] == 2
    assert line.reconstruct(np.zeros_like(PHOTO)).people == [] and len(line.bodies) == 2


def test_who_is_found_twice_is_one_person():
    twice = [BOXES[0], BOXES[1], BOXES[1]]
    line = Line(twice, surest=0.6)
    assert scores(line.reconstruct(PHOTO)) == [0.5] and line.looks == [3]
    assert scores(line.reconstruct(PHOTO, max_people=2)) == [0.5] and line.looks[1:] == [2, 1]
    line = Line(twice, places=[MIDDLE] * 3)  # the detector is sure of a second one, but sees the same there
    assert scores(line.reconstruct(PHOTO)) == [0.8] and line.looks == [3, 1]


@pytest.mark.parametrize("most, looks", [(None, [3, 1]), (2, [2, 1, 1]), (1, [1, 1])])
def test_who_is_overlooked_beside_another_is_looked_at_again(most, looks):
    """Two boxes in one place, in both of which the networks see the same person."""
    line = Line([BOXES[0], BOXES[1], BOXES[1]], places=[MIDDLE, MIDDLE, [29.0, 15.0]])
    people = line.reconstruct(PHOTO, max_people=most).people
    assert [round(float(person.score), 1) for person in people] == [0.8, 0.7][:most] and line.looks == looks
    if len(people) == 2:
        np.testing.assert_allclose(people[1].keypoints - people[0].keypoints, np.tile([4.0, 0.0], [137, 1]), atol=1e-4)


def test_given_boxes_are_not_looked_at_again():
    line = Line()
    assert len(line.reconstruct(PHOTO, boxes=[BOXES[1], BOXES[1]]).people) == 2 and line.looks == [2]


def test_given_boxes_are_believed():
    assert len(Line().reconstruct(PHOTO, boxes=[[-5, 0, 20, 20]]).people) == 1
    assert Line().reconstruct(PHOTO, boxes=BOXES[:1]).people  # in the dark
    assert scores(Line().reconstruct(PHOTO, boxes=BOXES, max_people=2)) == [1.0, 1.0]
    assert Line().reconstruct(PHOTO, boxes=[]).people == []


@pytest.mark.parametrize("boxes", [[[100, 0, 5, 5]], [[0, 0, 1e30, 5]], [[0, 0, 5]], "abc", [[0, 0, 1, 2], [0]],
                                   [[0, 0, np.nan, 4]], [[0, 0, -3, 4]]])
def test_boxes_must_lie_on_the_photo(boxes):
    with pytest.raises(ValueError, match="box"):
        Line().reconstruct(PHOTO, boxes=boxes)


@pytest.mark.parametrize("arguments, words", [
    ({"num_stages": -1}, "num_stages"), ({"num_stages": 2.5}, "num_stages"), ({"max_people": 0}, "max_people"),
    ({"max_people": 1.5}, "max_people"), ({"refine": -1}, "refine"), ({"refine": 0.5}, "refine"),
    ({"intrinsics": (0, 1, 2, 3)}, "intrinsics")])
def test_numbers_are_checked(arguments, words):
    with pytest.raises(ValueError, match=words):
        Line().reconstruct(PHOTO, **arguments)


@pytest.mark.parametrize("image", [np.zeros([4, 4, 3]), np.zeros([4, 4], np.uint8), np.zeros([0, 0, 3], np.uint8)])
def test_image_must_be_pixels(image):
    with pytest.raises(ValueError, match="image"):
        Line().reconstruct(image)


# --- the real line from boxes to people, its networks replaced by ones that answer by rule ---

HEIGHT, WIDTH = 240, 8000
CAMERA = (7000.0, 6900.0, 4100.5, 130.25)
LENS = (-0.2, 0.06, 0.001, -0.002, 0.01)
PEOPLE = [[40.0, 60.0, 30.0, 70.0], [7800.0, 40.0, 100.0, 190.0], [3000.0, 5.0, 300.0, 230.0], [7950.0, 5.0, 6.0, 12.0]]


class Sensing:
    """Sees all keypoints of everybody in the light, in a fixed pattern over the crop, the first one in its middle."""

    @staticmethod
    def find_landmarks(crop_images, first=None):
        places = np.random.default_rng(0).uniform(60, 420, (1, 137, 2))
        places[0, 0] = 240.0
        confidence = tf.tile(tf.cast(crop_images[:, 240, 240, :1] > 0, tf.float32), [1, 137])
        return Landmarks(tf.constant(np.tile(places, [len(crop_images), 1, 1]), tf.float32), confidence)

    @staticmethod
    def describe(landmarks, intrinsics):
        return SimpleNamespace(part_maps=landmarks.keypoints, intrinsics=intrinsics, confidence=landmarks.confidence)


class KnownNetworks(Reconstructor):
    """Places the mean state in each crop: the pelvis on the ray through its middle; the body is a cloud of points."""

    def __init__(self):
        self.sensing, self.seen, self.parts, self.uncertainty = Sensing(), [], None, None
        self.detector = Detector(PEOPLE)
        self.hund = SimpleNamespace(body=SimpleNamespace(faces=lambda mesh: np.zeros([1, 3], int)))

    def _encode(self, evidence):
        self.seen.append(evidence)
        return evidence.intrinsics, tf.zeros([1]), BodyStateCodec().initial(len(evidence.intrinsics))

    def _descend(self, packed, context, summary, num_stages, clock):
        state = BodyStateCodec().unpack(packed, summary, 480)
        return [packed], [SimpleNamespace(state=state, loss=tf.zeros([len(packed)]))]

    def _pose(self, state):
        cloud = np.random.default_rng(1).uniform(-0.8, 0.8, (137, 3)).astype(np.float32)
        cloud[0] = 0.0
        points = state.translation[:, None] + cloud
        return BodyOutput(points[:, :9], points[:, :63], points, tf.zeros([len(points), 63, 3, 3]))


@pytest.fixture(scope="module")
def big_photo():
    return np.full([HEIGHT, WIDTH, 3], 120, np.uint8)


def test_all_people_stand_before_one_camera(big_photo):
    """Each crop has its own intrinsics; what they place projects alike with the photo's, to 1e-4 pixels."""
    model = KnownNetworks()
    result = model.reconstruct(big_photo, intrinsics=CAMERA)
    fx, fy, cx, cy = result.intrinsics
    np.testing.assert_array_equal(result.intrinsics, CAMERA)
    _, crop_from_image = crops.crop_images(np.zeros([4, 4, 3], np.uint8), PEOPLE, map_dtype=tf.float64)
    crop_intrinsics = crops.crop_intrinsics(CAMERA, crop_from_image)
    np.testing.assert_allclose(model.seen[0].intrinsics, crop_intrinsics, rtol=1e-6)
    for i, person in enumerate(result.people):
        points = person.keypoints3d.astype(np.float64)
        with_photo = points[:, :2] / points[:, 2:] * [fx, fy] + [cx, cy]
        in_crop = camera.project(points[None], crop_intrinsics[i:i + 1])
        with_crop = crops.to_image(in_crop, crop_from_image[i:i + 1])[0]
        np.testing.assert_allclose(person.keypoints2d, with_photo, rtol=0, atol=1e-4)
        np.testing.assert_allclose(person.keypoints2d, with_crop, rtol=0, atol=1e-4)
        x, y, width, height = PEOPLE[i]
        middle = x + width / 2, y + height / 2
        np.testing.assert_allclose(person.keypoints2d[0], middle, atol=5e-3)  # float32 put the pelvis there
        np.testing.assert_allclose(person.detected_keypoints2d[0], middle, rtol=0, atol=1e-4)


def test_others_are_the_same_where_a_box_without_a_person_is_left_out(big_photo):
    model = KnownNetworks()
    everybody = model.reconstruct(big_photo, intrinsics=CAMERA).people
    dark = big_photo.copy()
    dark[:, 7750:7930] = 0  # the second box
    some = model.reconstruct(dark, intrinsics=CAMERA).people
    assert len(model.seen[1].intrinsics) == len(some) == 3
    for one, other in zip([everybody[i] for i in (0, 2, 3)], some):
        for a, b in zip(tf.nest.flatten(one), tf.nest.flatten(other)):
            np.testing.assert_array_equal(a, b)


def test_distorted_photo_gives_pixels_of_that_photo_and_metres_of_the_real_camera(big_photo):
    plain = KnownNetworks().reconstruct(big_photo, intrinsics=CAMERA)
    model = KnownNetworks()
    bent = model.reconstruct(big_photo, intrinsics=CAMERA, distortion=LENS)
    np.testing.assert_array_equal(bent.distortion, LENS)
    assert plain.distortion is None and "undistortion" in bent.timings and "undistortion" not in plain.timings
    fx, fy, cx, cy = CAMERA
    matrix, lens = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), LensDistortion(LENS, CAMERA, HEIGHT, WIDTH)
    for one, other in zip(plain.people, bent.people):
        np.testing.assert_array_equal(one.keypoints3d, other.keypoints3d)  # the stand-ins look at boxes only
        points, zero = one.keypoints3d.astype(np.float64), np.zeros(3)
        expected, _ = cv2.projectPoints(points, zero, zero, matrix, np.array(LENS))
        np.testing.assert_allclose(other.keypoints2d, expected[:, 0], rtol=0, atol=1e-4)
        assert np.abs(other.keypoints2d - one.keypoints2d).max() > 2
        straight = lens.undistort_points(other.detected_keypoints2d)
        np.testing.assert_allclose(straight, one.detected_keypoints2d, rtol=0, atol=1e-4)
        np.testing.assert_allclose(lens.undistort_boxes([other.box])[0], one.box, atol=0.02 * max(one.box[2:]))


def test_boxes_on_a_distorted_photo_are_mapped_there_and_back(big_photo):
    lens = LensDistortion(LENS, CAMERA, HEIGHT, WIDTH)
    given = lens.distort_boxes(PEOPLE)
    result = KnownNetworks().reconstruct(big_photo, intrinsics=CAMERA, boxes=given, distortion=LENS)
    for person, box, straight in zip(result.people, given, PEOPLE):
        np.testing.assert_allclose(person.box, box, atol=0.02 * max(box[2:]))
        middle = lens.distort_points(np.array(straight[:2]) + np.array(straight[2:]) / 2)
        np.testing.assert_allclose(person.detected_keypoints2d[0], middle, atol=0.02 * max(box[2:]))


def test_what_the_photo_does_not_show_has_no_confidence(big_photo):
    """A pincushion lens leaves the straight picture's corners black."""
    corner = [[100.0, 0.0, 600.0, 240.0]]
    model = KnownNetworks()
    model.detector = Detector(corner)
    person, = model.reconstruct(big_photo, intrinsics=CAMERA, distortion=(0.2, 0, 0, 0)).people
    inside = np.all((person.detected_keypoints2d >= 0) & (person.detected_keypoints2d <= [WIDTH, HEIGHT]), -1)
    assert 0 < inside.sum() < 137
    np.testing.assert_array_equal(person.keypoint_confidence > 0, inside)
    np.testing.assert_array_equal(model.seen[0].confidence[0] > 0, inside)


def test_refinement_gives_the_body_and_its_loss(big_photo):
    """The real search on an objective that wants all people two hundred metres away; the others do without it."""
    model = KnownNetworks()
    model.hund.codec = BodyStateCodec()
    model.hund.objective = lambda packed, summary: SimpleNamespace(
        loss=0.4 * tf.square(tf.math.log(BodyStateCodec().unpack(packed, summary.intrinsics, 480).translation[:, 2] / 200.0)))
    model._refine = lambda packed, summary, n: model._refine_eagerly(packed, SimpleNamespace(intrinsics=summary), n)
    result = model.reconstruct(big_photo, intrinsics=CAMERA, refine=8)
    assert result.refined == 8 and "refinement" in result.timings
    for person in result.people:
        np.testing.assert_allclose(person.state.translation[2], 200.0, rtol=1e-2)
        np.testing.assert_allclose(person.refined_loss, 0.0, atol=1e-4)
    plain = model.reconstruct(big_photo, intrinsics=CAMERA)
    assert plain.refined == 0 and plain.people[0].refined_loss is None and "refinement" not in plain.timings


def test_no_distortion_is_the_plain_path(monkeypatch):
    monkeypatch.setattr("hund_tf.distortion.LensDistortion", None)
    result = Line().reconstruct(PHOTO, intrinsics=(60, 60, 30, 20), distortion=(0, 0, 0, 0))
    assert result.distortion.tolist() == [0, 0, 0, 0] and "undistortion" not in result.timings
    assert Line().reconstruct(PHOTO).distortion is None


@pytest.mark.parametrize("arguments, words", [
    ({"distortion": (0.1, 0, 0, 0)}, "`distortion` needs `intrinsics`"),
    ({"distortion": (0.1, 0, 0), "intrinsics": (60, 60, 30, 20)}, "4, 5, 8, 12 or 14 finite numbers"),
    ({"distortion": (0.1, 0, 0, np.nan), "intrinsics": (60, 60, 30, 20)}, "4, 5, 8, 12 or 14 finite numbers"),
    ({"distortion": (-3, 0, 0, 0), "intrinsics": (60, 60, 30, 20)}, "one-to-one"),
    ({"distortion": (-0.9, 0, 0, 0), "intrinsics": (70, 70, 30, 20), "boxes": [[0, 0, 2, 2]]}, "straightened")])
def test_distortion_is_checked(arguments, words):
    with pytest.raises(ValueError, match=words):
        Line().reconstruct(PHOTO, **arguments)
