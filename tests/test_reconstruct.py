"""What the line from photo to bodies asks of its arguments, and whom it keeps, with a stand-in for the networks."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.reconstruct import Reconstructor

PHOTO = np.zeros([40, 60, 3], np.uint8)
BOXES = tf.constant([[0.0, 0.0, 10.0, 20.0], [5.0, 5.0, 10.0, 20.0], [9.0, 9.0, 10.0, 20.0]])


class Line(Reconstructor):
    """Finds three boxes; the surest holds nobody."""

    def __init__(self):
        self.detector = lambda image: (BOXES, tf.constant([0.9, 0.8, 0.7]))
        self.batches = []

    def _reconstruct_boxes(self, pixels, intrinsics, boxes, scores, num_stages, clock, lens):
        self.batches.append(len(boxes))
        return [SimpleNamespace(score=score, keypoint_confidence=np.full(137, 0.1 if score > 0.85 else 0.8))
                for score in scores]


def test_who_is_nobody_does_not_count():
    line = Line()
    assert [round(float(p.score), 1) for p in line.reconstruct(PHOTO, max_people=1).people] == [0.8]
    assert line.batches == [1, 1]
    assert len(line.reconstruct(PHOTO).people) == 2 and line.batches[-1] == 3


def test_given_boxes_are_believed():
    assert len(Line().reconstruct(PHOTO, boxes=[[-5, 0, 20, 20]]).people) == 1
    assert Line().reconstruct(PHOTO, boxes=[]).people == []


@pytest.mark.parametrize("boxes", [[[100, 0, 5, 5]], [[0, 0, 1e30, 5]], [[0, 0, 5]], "abc", [[0, 0, 1, 2], [0]],
                                   [[0, 0, np.nan, 4]], [[0, 0, -3, 4]]])
def test_boxes_must_lie_on_the_photo(boxes):
    with pytest.raises(ValueError, match="box"):
        Line().reconstruct(PHOTO, boxes=boxes)


@pytest.mark.parametrize("arguments, words", [
    ({"num_stages": -1}, "num_stages"), ({"num_stages": 2.5}, "num_stages"), ({"max_people": 0}, "max_people"),
    ({"max_people": 1.5}, "max_people"), ({"intrinsics": (0, 1, 2, 3)}, "intrinsics")])
def test_numbers_are_checked(arguments, words):
    with pytest.raises(ValueError, match=words):
        Line().reconstruct(PHOTO, **arguments)


@pytest.mark.parametrize("image", [np.zeros([4, 4, 3]), np.zeros([4, 4], np.uint8), np.zeros([0, 0, 3], np.uint8)])
def test_image_must_be_pixels(image):
    with pytest.raises(ValueError, match="image"):
        Line().reconstruct(image)
