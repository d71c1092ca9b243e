"""A calibrated lens: OpenCV's map there and back, straight photos, and what is refused."""

import cv2
import numpy as np
import pytest

from hund_tf.distortion import LensDistortion, checked_coefficients

HEIGHT, WIDTH = 430, 620
INTRINSICS = (600.0, 610.0, 300.0, 220.0)
MATRIX = np.array([[600.0, 0.0, 300.0], [0.0, 610.0, 220.0], [0.0, 0.0, 1.0]])
LENSES = {
    "barrel": (-0.3, 0.09, 0.001, -0.0005),
    "strong barrel": (-0.6, 0.3, 0.0, 0.0),
    "pincushion": (0.25, 0.1, -0.002, 0.001, 0.0),
    "rational": (0.5, 0.1, 0.0003, -0.0002, 0.01, 0.9, 0.25, 0.02),
    "thin prism": (-0.2, 0.05, 0.001, 0.001, 0.0, 0.01, 0.0, 0.0, 0.002, 0.001, -0.002, 0.001),
    "tilted": (-0.2, 0.05, 0.001, 0.001, 0.0, 0.01, 0.0, 0.0, 0.002, 0.001, -0.002, 0.001, 0.02, -0.03)}


def lens(name="barrel"):
    return LensDistortion(LENSES[name], INTRINSICS, HEIGHT, WIDTH)


def points_in_picture(count=200, seed=0):
    return np.random.default_rng(seed).uniform([0, 0], [WIDTH, HEIGHT], (count, 2))


def test_barrel_by_hand():
    """A ray of slope 0.5 with k1 = -0.2: 0.5 * (1 - 0.2 * 0.25) = 0.475 focal lengths from the centre."""
    bent = LensDistortion((-0.2, 0, 0, 0), INTRINSICS, HEIGHT, WIDTH).distort_points([[600.0, 220.0], [300.0, 220.0]])
    np.testing.assert_allclose(bent, [[585.0, 220.0], [300.0, 220.0]], atol=1e-9)


@pytest.mark.parametrize("name", LENSES)
def test_distorted_projection_is_opencvs(name):
    points = np.random.default_rng(0).uniform([-0.8, -0.6, 2.0], [0.8, 0.6, 6.0], (50, 3))
    straight = points[:, :2] / points[:, 2:] * INTRINSICS[:2] + INTRINSICS[2:]
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), MATRIX, np.array(LENSES[name]))
    np.testing.assert_allclose(lens(name).distort_points(straight), expected[:, 0], atol=1e-6)
    seen = lens(name).bend_vertices(points)
    np.testing.assert_allclose(seen[:, :2] / seen[:, 2:] * INTRINSICS[:2] + INTRINSICS[2:], expected[:, 0], atol=1e-6)


@pytest.mark.parametrize("name", LENSES)
def test_there_and_back_near_and_far(name):
    points = np.concatenate([points_in_picture(), np.random.default_rng(1).uniform(-9e3, 9e3, (200, 2))])
    np.testing.assert_allclose(lens(name).undistort_points(lens(name).distort_points(points)), points, atol=1e-5)
    np.testing.assert_allclose(lens(name).distort_points(lens(name).undistort_points(points)), points, atol=1e-5)


def test_far_points_do_not_fold_back_into_the_picture():
    """OpenCV's polynomial brings feet far below the picture back into it; ours go on."""
    depths = np.array([300.0, 1000.0, 3000.0, 1e5])
    far = np.stack([np.full(4, 300.0), 220.0 + depths], -1)
    bent = LensDistortion((-0.5, 0, 0, 0), INTRINSICS, HEIGHT, WIDTH).distort_points(far)
    assert np.all(np.diff(bent[:, 1]) > 0) and np.all(bent[1:, 1] > HEIGHT)


@pytest.mark.parametrize("name", ["barrel", "pincushion", "tilted"])
def test_straightened_photo_shows_dots_where_the_straight_camera_has_them(name):
    """Dots drawn where the lens shows them stand, straightened, where a pinhole camera would: within 0.1 pixel."""
    x, y = np.meshgrid(np.arange(60, WIDTH - 40, 60), np.arange(50, HEIGHT - 30, 60))
    dots = np.stack([x.ravel(), y.ravel()], -1) + 0.3
    photo = draw_dots(lens(name).distort_points(dots))
    straight = lens(name).undistort_photo(photo)
    found = np.array([centre_of_mass(straight, dot) for dot in dots])
    assert np.linalg.norm(found - dots, axis=-1).max() < 0.1
    assert np.linalg.norm(lens(name).distort_points(dots) - dots, axis=-1).max() > 5  # there was something to undo


def draw_dots(centres, sigma=2.5):
    """Gaussian dots at pixels whose origin is the corner of the top-left pixel."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    photo = np.zeros([HEIGHT, WIDTH])
    for cx, cy in centres:
        photo += np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
    return np.repeat((photo.clip(0, 1) * 255).astype(np.uint8)[..., None], 3, -1)


def centre_of_mass(photo, near, reach=14):
    left, top = (near - reach).astype(int).clip(0)
    weights = photo[top:top + 2 * reach, left:left + 2 * reach, 0].astype(np.float64)
    y, x = np.mgrid[:weights.shape[0], :weights.shape[1]]
    return np.array([left + 0.5 + (x * weights).sum() / weights.sum(), top + 0.5 + (y * weights).sum() / weights.sum()])


def test_boxes_go_round_bent_ellipses_and_do_not_grow():
    boxes = np.array([[20.0, 30.0, 100.0, 300.0], [250.0, 100.0, 120.0, 200.0]])
    bent = lens().distort_boxes(boxes)
    rng = np.random.default_rng(0)
    for box, around in zip(boxes, bent):
        place = rng.normal(size=(4000, 2))
        place *= 0.5 * np.sqrt(rng.uniform(size=(4000, 1))) / np.linalg.norm(place, axis=-1, keepdims=True)
        inside = lens().distort_points(box[:2] + (place + 0.5) * box[2:])
        low, high = inside.min(0), inside.max(0)
        assert np.all(low > around[:2] - 0.5) and np.all(high < around[:2] + around[2:] + 0.5)
        np.testing.assert_allclose(np.concatenate([low, high - low]), around, atol=6)
    np.testing.assert_allclose(lens().undistort_boxes(bent), boxes, atol=2.5)
    assert np.abs(bent - boxes).max() > 8
    assert lens().distort_boxes(np.zeros([0, 4])).shape == (0, 4)


def test_shapes_and_numbers_that_are_not_finite_are_kept():
    points = points_in_picture(6).reshape(2, 3, 2)
    points[0, 1] = np.nan
    for answer in (lens().distort_points(points), lens().undistort_points(points)):
        assert answer.shape == (2, 3, 2) and np.isnan(answer[0, 1]).all() and np.isfinite(answer[1]).all()
    vertices = np.array([[0.1, 0.2, -1.0], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(lens().bend_vertices(vertices), vertices)


@pytest.mark.parametrize("coefficients", [
    (), (0.1,), (0.1, 0, 0), (0.1,) * 6, (0.1,) * 15, "abc", (0.1, np.nan, 0, 0), (np.inf, 0, 0, 0), [[0.1, 0, 0, 0]],
    [0, 0, 0, None, "x"], 0.1])
def test_wrong_coefficients_are_refused(coefficients):
    with pytest.raises(ValueError, match="`distortion` must be 4, 5, 8, 12 or 14 finite numbers"):
        checked_coefficients(coefficients)


@pytest.mark.parametrize("coefficients", [
    (-1.5, 0, 0, 0), (100.0, 0, 0, 0), (1e300, 0, 0, 0), (0, 0, 0.5, 0), (0, 0, 0, 0, 0, -5.0, 0, 0),
    (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1.5, 0)])
def test_a_map_that_folds_over_inside_the_picture_is_refused(coefficients):
    with pytest.raises(ValueError, match="must map the picture one-to-one.*inside the picture of 620 x 430 pixels"):
        LensDistortion(coefficients, INTRINSICS, HEIGHT, WIDTH)


def test_folding_outside_the_picture_is_allowed():
    """r (1 - 0.5 r^2) folds at r = 0.816 focal lengths; the farthest corner is at 0.65."""
    assert LensDistortion((-0.5, 0, 0, 0), INTRINSICS, HEIGHT, WIDTH).undistort_points([[310.0, 215.0]]).shape == (1, 2)
    with pytest.raises(ValueError, match="folds|one-to-one"):
        LensDistortion((-0.5, 0, 0, 0), (400.0, 400.0, 300.0, 220.0), HEIGHT, WIDTH)
