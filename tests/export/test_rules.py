"""The rules of the exported graph: what passes is handed on, what does not is an error with the rule, as in `arguments`."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf import arguments, images
from hund_tf.export import rules
from hund_tf.geometry import camera

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def checked():
    """Function of a rule's name and its arguments; each rule is traced once, as in an export."""
    def of(function, *specs):
        return tf.function(function, autograph=False, input_signature=[tf.TensorSpec(*spec) for spec in specs])

    number = ([], tf.int32)
    traced = {
        "photo": of(rules.photo, ([None, None, 3], tf.uint8)),
        "size_of_photo": of(rules.size_of_photo, ([], tf.int64), ([], tf.int64)),
        "intrinsics_or_default": of(rules.intrinsics_or_default, ([4], tf.float32), number, number),
        "crop_intrinsics": of(rules.crop_intrinsics, ([None, 4], tf.float32)),
        "boxes_on": of(rules.boxes_on, ([None, 4], tf.float32), number, number),
        "count": of(lambda value: rules.count("num_stages", value, 0, arguments.MOST_STAGES), number)}
    return lambda name, *values: traced[name](*values)


def refused(words):
    return pytest.raises(tf.errors.InvalidArgumentError, match=words)


def test_values_wait_for_the_check():
    log = tf.Variable(0)

    @tf.function(autograph=False)
    def write(good):
        value, other = rules.require(good, "It must be good.", ["not", good], tf.constant(3), tf.constant(4))
        log.assign(value + other)

    write(tf.constant(True))
    assert log.numpy() == 7
    log.assign(0)
    with refused(r"It must be good. Received:\] \[not\] \[0\]"):
        write(tf.constant(False))
    assert log.numpy() == 0


@pytest.mark.parametrize("height, width", [(16, 16), (16_384, 16), (10_000, 6_500)])
def test_sizes_that_pass(checked, height, width):
    assert [int(side) for side in checked("size_of_photo", height, width)] == [height, width]


@pytest.mark.parametrize("height, width", [
    (0, 0), (15, 16), (16, 16_385), (10_001, 6_500), (10_000, 10_000), (2**32 - 1, 2**32 - 1), (-1, -1)])
def test_sizes_that_do_not(checked, height, width):
    with refused("A photo must have sides of 16 to 16,384 pixels and at most 65 megapixels") as failure:
        checked("size_of_photo", height, width)
    assert f"[{width}] [x] [{height}] [pixels.]" in failure.value.message


def test_photo(checked):
    image = np.random.default_rng(0).integers(0, 255, [16, 20, 3], np.uint8)
    np.testing.assert_array_equal(checked("photo", image), image)
    for bad in (image[:15], image[:0], image[:, :0]):
        with refused("A photo must have sides"):
            checked("photo", bad)


@pytest.mark.parametrize("height, width", [(300, 400), (400, 300)])
def test_unknown_intrinsics_are_the_default_ones(checked, height, width):
    found = checked("intrinsics_or_default", [-1.0] * 4, height, width)
    assert found.dtype == tf.float64
    np.testing.assert_array_equal(found, [400, 400, width / 2, height / 2])
    np.testing.assert_array_equal(found, np.squeeze(camera.default_intrinsics(height, width)))


def test_known_intrinsics_are_handed_on(checked):
    given = [500.5, 501.25, -3.0, 1e6]
    np.testing.assert_array_equal(checked("intrinsics_or_default", given, 300, 400), given)
    np.testing.assert_array_equal(checked("crop_intrinsics", [given, given]), [given, given])
    assert checked("crop_intrinsics", np.zeros([0, 4], np.float32)).shape == (0, 4)


@pytest.mark.parametrize("bad", [[NAN, 1, 1, 1], [1, 1, 1, NAN], [INF, 1, 1, 1], [1, 1, -INF, 1], [0, 1, 1, 1], [1, -1, 1, 1],
                                 [-1, -1, -1, 1], [1e9, 1, 1, 1], [NAN] * 4])
def test_impossible_intrinsics(checked, bad):
    with refused("`intrinsics` must be .*finite, fx and fy positive, in pixels; or all -1, unknown. Received:"):
        checked("intrinsics_or_default", bad, 300, 400)
    with refused("`intrinsics` must each be .*finite"):
        checked("crop_intrinsics", [[1, 1, 1, 1], bad])
    with pytest.raises(ValueError):
        arguments.checked_intrinsics(bad)


def test_crops_have_no_default(checked):
    with refused("`intrinsics` must each be"):
        checked("crop_intrinsics", [[-1.0] * 4])


@pytest.mark.parametrize("boxes", [np.zeros([0, 4]), [[0, 0, 10, 10]], [[-5, -5, 6, 6], [399, 299, 4000, 1]],
                                   [[0, 0, 4000, 4000]], [[1, 2, 3, 4]] * 50])
def test_boxes_that_pass(checked, boxes):
    boxes = np.array(boxes, np.float32)
    np.testing.assert_array_equal(checked("boxes_on", boxes, 300, 400), boxes)
    np.testing.assert_array_equal(arguments.checked_boxes(boxes, 300, 400), boxes)


@pytest.mark.parametrize("box, words", [
    ([NAN, 0, 1, 1], "with positive size"), ([0, 0, INF, 1], "with positive size"), ([0, 0, 0, 1], "with positive size"),
    ([0, 0, 1, -1], "with positive size"), ([400, 0, 10, 10], "overlap the photo"), ([-10, 0, 10, 10], "overlap the photo"),
    ([0, 300, 10, 10], "overlap the photo"), ([0, 0, 4001, 10], "at most 10 times as large"), ([3e38, 0, 3e38, 1], "overlap")])
def test_boxes_that_do_not(checked, box, words):
    boxes = np.array([[0, 0, 10, 10], box], np.float32)
    with refused(f"{words}.*Received:"):
        checked("boxes_on", boxes, 300, 400)
    with pytest.raises(ValueError), np.errstate(over="ignore"):
        arguments.checked_boxes(boxes, 300, 400)


def test_too_many_boxes(checked):
    with refused(r"There must be at most 50 boxes. Received:\] \[51\]"):
        checked("boxes_on", np.ones([51, 4], np.float32), 300, 400)


def test_counts(checked):
    assert [int(checked("count", value)) for value in (0, 50)] == [0, 50]
    for value in (-1, 51, 2**31 - 1):
        with refused(rf"`num_stages` must be from 0 to 50. Received:\] \[{value}\]"):
            checked("count", value)


def test_limits_are_those_of_the_package():
    assert images.MIN_SIDE == 16 and images.MAX_SIDE == 16_384 and images.MAX_PIXELS == 65_000_000
