"""Crops, their maps, and Eq. 1."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.geometry import camera
from hund_tf.sensing import crops, sampling


def ramp_image(height, width):
    """Red is x, green is y of each pixel's centre, as shares of 1000 pixels."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([x, y, np.zeros_like(x)], -1).astype(np.float32) / 1000


@pytest.mark.parametrize("box", [[10, 20, 40, 30], [3.3, 7.7, 61.1, 12.9], [20, 20, 12, 24]])
def test_a_crop_pixel_shows_the_place_its_map_names(box):
    image = ramp_image(90, 120)
    crop, crop_from_image = crops.crop_images(image, [box], size=64, margin=1.0)
    centers = tf.reshape(tf.stack(tf.meshgrid(tf.range(64.0) + 0.5, tf.range(64.0) + 0.5), -1), [1, -1, 2])
    places = crops.to_image(centers, crop_from_image)[0].numpy()
    seen = crop[0].numpy().reshape(-1, 3)[:, :2] * 1000
    inside = np.all((places > 0.5) & (places < [119.5, 89.5]), -1)
    assert inside.sum() > 1000
    np.testing.assert_allclose(seen[inside], places[inside], atol=1e-3)  # bilinear reads a ramp exactly


def test_map_and_its_inverse_by_hand():
    """Box 10, 20, 100 x 50 in a 200-pixel crop without margin: scale 2, square from (10, -5)."""
    _, crop_from_image = crops.crop_images(np.zeros([80, 120, 3], np.uint8), [[10.0, 20.0, 100.0, 50.0]], 200, 1.0)
    np.testing.assert_allclose(crop_from_image[0], [[2, 0, -20], [0, 2, 10]], atol=1e-5)
    points = tf.constant([[[10.0, -5.0], [60.0, 45.0], [33.3, 71.9]]])
    moved = crops.to_crop(points, crop_from_image)
    np.testing.assert_allclose(moved[0, :2], [[0, 0], [100, 100]], atol=1e-4)
    np.testing.assert_allclose(crops.to_image(moved, crop_from_image), points, atol=1e-4)
    assert crops.inside_image(moved, crop_from_image, 80, 120).numpy().tolist() == [[False, True, True]]


def test_eq1_by_hand():
    """f 500, centre (320, 240), scale 2, offset (-20, 10): f 1000, centre (620, 490)."""
    matrix = crops.intrinsics_warp(tf.constant([2.0]), tf.constant([[-20.0, 10.0]]))
    np.testing.assert_allclose(matrix[0], [[2, 0, 0, 0, 0], [0, 2, 0, 0, 0], [0, 0, 2, 0, -20], [0, 0, 0, 2, 10],
                                           [0, 0, 0, 0, 1]])
    warped = crops.warp_intrinsics([500.0, 510.0, 320.0, 240.0], tf.constant([2.0]), tf.constant([[-20.0, 10.0]]))
    np.testing.assert_allclose(warped, [[1000, 1020, 620, 490]])
    uneven = crops.warp_intrinsics([500.0, 510.0, 320.0, 240.0], tf.constant([[2.0, 3.0]]), tf.constant([[0.0, 0.0]]))
    np.testing.assert_allclose(uneven, [[1000, 1530, 640, 720]])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_projecting_into_the_crop_equals_cropping_the_projection(seed):
    rng = np.random.default_rng(seed)
    points = tf.constant(rng.uniform([-1, -1, 2], [1, 1, 5], (1, 10, 3)), tf.float32)
    intrinsics = tf.constant([[800.0, 790.0, 310.0, 250.0]])
    _, crop_from_image = crops.crop_images(np.zeros([480, 640, 3], np.uint8), rng.uniform(50, 200, (1, 4)))
    in_crop = camera.project(points, crops.crop_intrinsics(intrinsics, crop_from_image))
    np.testing.assert_allclose(in_crop, crops.to_crop(camera.project(points, intrinsics), crop_from_image),
                               rtol=1e-4, atol=1e-3)


def far_points(box, intrinsics, seed=0):
    """Points `[1, 60, 3]` in float32, 2 to 30 m away, that are seen in and around a box."""
    rng = np.random.default_rng(seed)
    x, y, width, height = box
    pixels = rng.uniform([x - width, y - height], [x + 2 * width, y + 2 * height], (1, 60, 2))
    depth = rng.uniform(2, 30, (1, 60, 1))
    rays = (pixels - intrinsics[2:]) / intrinsics[:2]
    return np.concatenate([rays * depth, depth], -1).astype(np.float32)


@pytest.mark.parametrize("height, width", [(480, 640), (1080, 1920), (8000, 6000), (6000, 8000)])
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.0, 0.0), (0.99, 0.98), (0.99, 0.01)])
@pytest.mark.parametrize("side", [11.0, 60.0, 900.0])
def test_crop_projection_is_the_images_to_a_ten_thousandth_of_a_pixel(height, width, place, side):
    """float32 points through the crop's intrinsics and back by its map, against plain NumPy with the image's own."""
    focal = float(max(height, width))
    intrinsics = np.array([focal, 0.97 * focal, width / 2 + 0.3, height / 2 - 0.7])
    box = np.array([place[0] * width, place[1] * height, 0.4 * side, side], np.float32)
    points = far_points(box, intrinsics)
    exact = points[..., :2].astype(np.float64) / points[..., 2:] * intrinsics[:2] + intrinsics[2:]
    _, crop_from_image = crops.crop_images(np.zeros([4, 4, 3], np.uint8), box[None], map_dtype=tf.float64)
    in_crop = camera.project(points.astype(np.float64), crops.crop_intrinsics(intrinsics, crop_from_image))
    np.testing.assert_allclose(crops.to_image(in_crop, crop_from_image), exact, rtol=0, atol=1e-4)
    # what the networks get, all in float32: no pixel of an 8000 px photo is known to 1e-4, but to 2e-3
    _, rounded = crops.crop_images(np.zeros([4, 4, 3], np.uint8), box[None])
    in_crop = camera.project(points, crops.crop_intrinsics(intrinsics, rounded))
    back = crops.to_image(in_crop, rounded)
    assert back.dtype == tf.float32
    np.testing.assert_allclose(back, exact, rtol=0, atol=2e-3)


def test_both_map_dtypes_give_the_same_crop():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    for box in ([[3.3, 7.7, 31.1, 12.9]], [[-20, 5, 70, 70]]):
        first, second = (crops.crop_images(image, box, 32, map_dtype=dtype) for dtype in (tf.float32, tf.float64))
        np.testing.assert_array_equal(first[0], second[0])
        assert second[1].dtype == tf.float64
        np.testing.assert_allclose(first[1], second[1], rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_eq1_gradient_matches_finite_differences(seed):
    rng = np.random.default_rng(seed)
    values = [tf.constant(rng.normal(size=shape)) for shape in ((2, 4), (2,), (2, 2))]
    exact, numeric = tf.test.compute_gradient(crops.warp_intrinsics, values, delta=1e-6)
    for ours, reference in zip(exact, numeric):
        np.testing.assert_allclose(ours, reference, rtol=1e-5, atol=1e-7)


def test_eq1_takes_an_unknown_batch_and_one_camera_for_all():
    call = tf.function(crops.warp_intrinsics, input_signature=[
        tf.TensorSpec([4], tf.float32), tf.TensorSpec([None], tf.float32), tf.TensorSpec([None, 2], tf.float32)])
    for batch in (0, 1, 3):
        warped = call(tf.constant([500.0, 510.0, 320.0, 240.0]), tf.fill([batch], 2.0), tf.zeros([batch, 2]))
        assert warped.shape == (batch, 4) and np.all(warped.numpy() == [1000, 1020, 640, 480])


def test_shrinking_does_not_alias():
    """A board of single black and white pixels, ten times smaller, is grey; nearest pixels would be stripes."""
    board = (np.indices((600, 600)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, -1)
    crop, _ = crops.crop_images(board, [[0, 0, 600, 600]], size=60, margin=1.0)
    np.testing.assert_allclose(crop[0, 2:-2, 2:-2], 0.5, atol=0.02)


def test_border():
    white = np.full([50, 50, 3], 255, np.uint8)
    box = [[-50.0, 0.0, 100.0, 100.0]]
    black, _ = crops.crop_images(white, box, size=20, margin=1.0)
    repeated, _ = crops.crop_images(white, box, size=20, margin=1.0, border="replicate")
    assert float(tf.reduce_max(black[0, :, :10])) == 0.0 and float(tf.reduce_min(black[0, :10, 10:])) == 1.0
    assert float(tf.reduce_min(repeated)) == 1.0


def test_uint8_and_float_images_give_the_same_crops():
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    first, _ = crops.crop_images(image, [[0, 0, 30, 40]], 32)
    second, _ = crops.crop_images(image / np.float32(255), [[0, 0, 30, 40]], 32)
    np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (333, 2, 3)])
def test_odd_images_and_no_boxes(shape):
    image = np.full(shape, 255, np.uint8)
    crop, _ = crops.crop_images(image, [[0, 0, shape[1], shape[0]]], 16, 1.0)
    assert np.isfinite(crop).all() and float(tf.reduce_max(crop)) <= 1.0
    none, maps = crops.crop_images(image, tf.zeros([0, 4]), 16)
    assert none.shape == (0, 16, 16, 3) and maps.shape == (0, 2, 3)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"`image` must be \[H, W, 3\]"):
        crops.crop_images(np.zeros([4, 4, 1], np.uint8), tf.zeros([1, 4]))
    with pytest.raises(ValueError, match=r"`boxes` must be \[N, 4\]"):
        crops.crop_images(np.zeros([4, 4, 3], np.uint8), tf.zeros([4]))
    for arguments, words in (
            (([1, 2, 3], [1.0], [[0.0, 0.0]]), r"`intrinsics` must be \[4\] or \[N, 4\]. Received: \(3,\)"),
            (([1, 2, 3, 4], [1.0], [[0.0, 0.0, 0.0]]), r"`offset` must be \[N, 2\]. Received: \(1, 3\)"),
            (([1, 2, 3, 4], [[[1.0]]], [[0.0, 0.0]]), r"`scale` must be \[N\] or \[N, 2\]")):
        with pytest.raises(ValueError, match=words):
            crops.warp_intrinsics(*arguments)
    with pytest.raises(ValueError, match="`border` must be"):
        sampling.sample_regions(tf.zeros([1, 4, 4, 3]), tf.ones([1, 4]), 4, border="mirror")


def test_turned_region_by_hand():
    """A quarter turn: the region's right is the image's down."""
    image = ramp_image(100, 100)[None]
    regions = tf.constant([[50.0, 50.0, 20.0, np.pi / 2]])
    seen = sampling.sample_regions(image, regions, 20)[0].numpy() * 1000
    np.testing.assert_allclose(seen[0, 0, :2], [59.5, 40.5], atol=1e-3)
    np.testing.assert_allclose(seen[0, 19, :2], [59.5, 59.5], atol=1e-3)
    np.testing.assert_allclose(seen[19, 0, :2], [40.5, 40.5], atol=1e-3)


def test_sampling_in_a_function_with_free_sizes():
    call = tf.function(lambda image, boxes: crops.crop_images(image, boxes, 32),
                       input_signature=[tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([None, 4])])
    image = np.random.default_rng(0).integers(0, 256, (700, 300, 3), np.uint8)
    boxes = tf.constant([[0.0, 0.0, 300.0, 700.0], [20.0, 30.0, 10.0, 15.0]])
    both, maps = call(image, boxes)
    for i in range(2):
        one, _ = crops.crop_images(image, boxes[i:i + 1], 32)
        np.testing.assert_allclose(both[i], one[0], atol=1e-5)
    assert maps.shape == (2, 2, 3)
