"""137 keypoints, 3D landmarks and mask of the people in crops."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.sensing import blazepose, crops, hands, landmarks

SAMPLE = pathlib.Path(landmarks.__file__).parents[1] / "assets" / "samples" / "street.jpg"
BOXES = [[108.0, 82.0, 84.0, 253.0], [290.0, 100.0, 122.0, 282.0]]  # the two who stand
# of the man at the left, by eye, photo pixels: nose, his right and left shoulder, hip, knee, ankle
JOINTS = {0: (154, 108), 2: (130, 128), 5: (178, 131), 9: (138, 195), 12: (167, 195), 11: (139, 320), 14: (160, 320)}


@pytest.fixture(scope="module")
def networks():
    return landmarks.LandmarkNetworks()


@pytest.fixture(scope="module")
def cut():
    photo = tf.io.decode_image(SAMPLE.read_bytes(), channels=3)
    return crops.crop_images(photo, BOXES)


@pytest.fixture(scope="module")
def seen(networks, cut):
    return networks(cut[0])


def test_shapes_and_ranges(seen):
    shapes = dict(keypoints=(2, 137, 2), confidence=(2, 137), person_mask=(2, 60, 60), landmarks3d=(2, 25, 3),
                  landmarks3d_confidence=(2, 25), detector_disagreement=(2, 25), thunder=(2, 17, 3),
                  blazepose=(2, 33, 3), depths=(2, 137))
    for name, values in seen._asdict().items():
        assert values.shape == shapes[name], name
        assert np.isfinite(values).all(), name
    for values in (seen.confidence, seen.person_mask, seen.landmarks3d_confidence):
        assert 0 <= float(tf.reduce_min(values)) and float(tf.reduce_max(values)) <= 1
    assert np.all(seen.confidence.numpy()[:, [20, 23]] == 0)  # nobody sees small toes


def test_joints_of_a_man_lie_where_they_lie(seen, cut):
    found = crops.to_image(seen.keypoints, cut[1])[0].numpy()
    for joint, place in JOINTS.items():
        assert np.linalg.norm(found[joint] - place) < 0.05 * 253, joint
        assert seen.confidence[0, joint] > 0.5, joint


def test_depths_are_those_of_a_face_that_looks_at_us(seen):
    """The nose is nearest; the jaw's ends, before the ears, are farther than all else; the body has none."""
    depths = seen.depths[0].numpy()
    assert np.all(depths[:25] == 0)
    face = depths[25:95]
    assert face[30] < face[36] and face[30] < face[45] and face[[0, 16]].min() > np.median(face)
    hands = depths[95:].reshape(2, 21)
    assert np.abs(hands[:, 0]).max() < 1 < np.ptp(hands)


def test_neck_and_midhip_are_middles(seen):
    points = seen.keypoints.numpy()
    np.testing.assert_allclose(points[:, 8], (points[:, 9] + points[:, 12]) / 2, atol=1e-3)
    np.testing.assert_allclose(points[:, 1], (points[:, 2] + points[:, 5]) / 2, atol=1e-3)


def test_landmarks3d_are_those_of_a_standing_man(seen):
    points = seen.landmarks3d[0].numpy()
    np.testing.assert_allclose(points[8], 0, atol=1e-5)  # mid-hip
    assert points[0, 1] < -0.4 and points[11, 1] > 0.5  # nose up, ankle down: y points down
    assert points[0, 2] < points[1, 2] + 0.05  # he faces us: the nose is not behind the neck
    assert points[2, 0] < 0 < points[5, 0]  # his right shoulder is at our left
    assert 1.0 < np.ptp(points[:, 1]) < 2.0


def test_mask_covers_the_man_and_not_the_road(seen):
    mask = seen.person_mask[0].numpy()
    trunk = (seen.keypoints[0, 1] + seen.keypoints[0, 8]).numpy() / 2 / 8
    assert mask[int(trunk[1]), int(trunk[0])] > 0.9
    assert mask[:, :5].mean() < 0.05 and mask[:, -5:].mean() < 0.05


def test_batch_equals_one_by_one(networks, cut, seen):
    for i in range(2):
        alone = networks(cut[0][i:i + 1])
        np.testing.assert_allclose(alone.keypoints[0], seen.keypoints[i], atol=0.05)
        np.testing.assert_allclose(alone.confidence[0], seen.confidence[i], atol=1e-3)
        np.testing.assert_allclose(alone.landmarks3d[0], seen.landmarks3d[i], atol=1e-3)


def test_uint8_crops_and_no_crops(networks, cut, seen):
    rounded = networks(tf.cast(tf.round(cut[0][:1] * 255), tf.uint8))
    np.testing.assert_allclose(rounded.keypoints[0, :25], seen.keypoints[0, :25], atol=6)
    none = networks(tf.zeros([0, 480, 480, 3]))
    assert none.keypoints.shape == (0, 137, 2) and none.person_mask.shape == (0, 60, 60)


def test_blank_crop_is_finite_and_unseen(networks):
    seen = networks(tf.zeros([1, 480, 480, 3], tf.uint8))
    assert all(np.isfinite(v).all() for v in seen)
    assert float(tf.reduce_max(seen.confidence)) == 0.0


def test_who_is_to_be_looked_at_can_be_said(networks, cut, seen):
    """Both in one crop: the one who is asked for is seen, and where nobody is asked for, as without asking."""
    photo = tf.io.decode_image(SAMPLE.read_bytes(), channels=3)
    crop, crop_from_image = crops.crop_images(photo, [[108.0, 82.0, 304.0, 300.0]])
    places = crops.to_image(seen.thunder[..., :2], cut[1])
    asked = tf.concat([crops.to_crop(places, tf.tile(crop_from_image, [2, 1, 1])), seen.thunder[..., 2:]], -1)
    nobody = tf.zeros([1, 17, 3])
    found = networks(tf.tile(crop, [3, 1, 1, 1]), tf.concat([asked, nobody], 0))
    points = crops.to_image(found.keypoints, tf.tile(crop_from_image, [3, 1, 1]))
    for i, box in enumerate(BOXES):
        apart = np.linalg.norm(points[i] - crops.to_image(seen.keypoints, cut[1])[i], axis=-1)[:25]
        assert np.median(apart) < 0.03 * box[3]
    np.testing.assert_allclose(found.keypoints[2], networks(crop).keypoints[0], atol=0.05)
    everybody = networks(tf.tile(crop, [2, 1, 1, 1]), asked)  # Thunder need not look
    np.testing.assert_allclose(everybody.keypoints, found.keypoints[:2], atol=0.05)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_crop_gives_turned_keypoints(networks, cut, seen, quarters):
    turned = networks(tf.image.rot90(cut[0][:1], quarters))
    points = turned.keypoints[0, :15].numpy()
    for _ in range(quarters):  # rot90 turns counter-clockwise: undo, clockwise
        points = np.stack([480 - points[:, 1], points[:, 0]], -1)
    apart = np.linalg.norm(points - seen.keypoints[0, :15], axis=-1)
    assert np.median(apart) < 12 and np.sort(apart)[-3] < 40


def test_mirror_image_agrees():
    """What a perfect network sees in the mirrored picture leaves the answer as it is."""
    rng = np.random.default_rng(0)
    seen = [rng.uniform(0.1, 0.9, s).astype(np.float32) for s in ((2, 39, 2), (2, 39), (2, 39, 3), (2, 4, 4, 1), (2,))]
    swap = list(blazepose._MIRROR)
    other = [seen[0][:, swap] * [-1, 1] + [1, 0], seen[1][:, swap], seen[2][:, swap] * [-1, 1, 1],
             seen[3][:, :, ::-1], seen[4]]
    merged = blazepose.merge_mirrored(*(tf.constant(np.concatenate(p), tf.float32) for p in zip(seen, other)))
    for first, second in zip(seen, merged):
        np.testing.assert_allclose(first, second, atol=1e-6)


def test_refine_by_heat_goes_to_the_heat_and_stays_without():
    heat = np.zeros([1, 64, 64, 2], np.float32)
    heat[0, 20, 31, 0] = 0.9
    points = tf.constant([[[30 / 64, 22 / 64], [0.5, 0.5]]])
    found = blazepose.refine_by_heat(points, tf.constant(heat))
    np.testing.assert_allclose(found[0], [[31 / 64, 20 / 64], [0.5, 0.5]], atol=1e-6)


def test_hand_away_from_the_wrist_is_not_this_hand():
    assert landmarks.Hands is hands.Hands
    points = tf.zeros([1, 39, 2])
    found, confidence, _ = hands.Hands()(tf.zeros([1, 480, 480, 3]), points)
    assert found.shape == (1, 42, 2) and float(tf.reduce_max(confidence)) == 0.0


def test_wrong_crops_are_refused(networks):
    with pytest.raises(ValueError, match=r"`crops` must be \[N, 480, 480, 3\]"):
        networks(tf.zeros([1, 256, 256, 3]))
    with pytest.raises(ValueError, match=r"`first` must be \[N, 17, 3\]"):
        networks(tf.zeros([1, 480, 480, 3]), tf.zeros([17, 3]))
