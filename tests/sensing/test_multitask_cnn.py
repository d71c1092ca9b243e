"""The paper's first CNN: its size, its maps, its place among presets, and what it does not claim to know."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hund_tf import presets, reconstruct
from hund_tf.sensing import heatmaps, multitask_cnn
from hund_tf.sensing.multitask_cnn import MapDetections, MultitaskCNN, MultitaskSensing
from hund_tf.state import ImageEvidence
from hund_tf.training.train import trainable_count
from tests.sensing import small_trunk

INTRINSICS = tf.constant([[500.0, 500.0, 240.0, 240.0]])


@pytest.fixture(scope="module", name="cnn")
def fixture_cnn():
    return multitask_cnn.new()


@pytest.fixture(scope="module", name="sensing")
def fixture_sensing(cnn):
    return MultitaskSensing(cnn)


@pytest.fixture(scope="module", name="seen")
def fixture_seen(sensing):
    return sensing.find_landmarks(np.random.default_rng(0).uniform(size=(1, 480, 480, 3)).astype(np.float32))


def test_has_the_papers_34_million_parameters(cnn):
    assert abs(trainable_count(cnn) - multitask_cnn.PARAMETERS) < 0.05 * multitask_cnn.PARAMETERS


def test_random_residual_blocks_pass_on_what_they_are_given(cnn):
    ends = [layer for layer in cnn.trunk.layers if layer.name.endswith("_3_bn")]
    assert len(ends) == 3 + 4 + 6 + 3 and not any(np.any(layer.gamma) for layer in ends)


def test_frozen_stages_are_counted_from_the_first(cnn):
    counts = {}
    for stages in (4, 5, 0):
        cnn.freeze_trunk(stages)
        counts[stages] = trainable_count(cnn)
    assert counts[0] - counts[5] > 23e6 and counts[4] - counts[5] > 14e6  # conv5 has most of the trunk's weights
    with pytest.raises(ValueError, match="from 0 to 5. Received: 6"):
        cnn.freeze_trunk(6)


@pytest.mark.slow
def test_weights_of_a_frozen_network_are_a_file_like_any(cnn, tmp_path):
    path = str(tmp_path / "frozen.h5")
    cnn.freeze_trunk(4)
    frozen = trainable_count(cnn)
    cnn.save_weights(path)
    assert trainable_count(cnn) == frozen
    cnn.freeze_trunk(0)
    for one, other in zip(cnn.get_weights(), multitask_cnn.new(path).get_weights()):
        np.testing.assert_array_equal(one, other)


def test_evidence_has_the_shapes_of_the_paper(sensing, seen):
    evidence = sensing.describe(seen, INTRINSICS)
    assert isinstance(evidence, ImageEvidence)
    assert [tuple(x.shape) for x in evidence] == [(1, 60, 60, 256), (1, 60, 60, 137), (1, 60, 60, 15), (1, 25, 3), (1, 25),
                                                 (1, 4)]
    assert np.all(evidence.keypoint_heatmaps >= 0) and np.all(evidence.keypoint_heatmaps <= 1)
    np.testing.assert_allclose(tf.reduce_sum(evidence.part_maps, -1), np.ones([1, 60, 60]), rtol=1e-5)


def test_knows_no_3d(sensing, seen):
    evidence = sensing.describe(seen, INTRINSICS)
    assert not np.any(evidence.landmarks3d) and not np.any(evidence.landmarks3d_confidence)


def test_keypoints_are_read_from_its_heatmaps_and_what_does_not_count_is_wiped_out():
    points, confidence = np.random.default_rng(0).uniform(60, 420, (2, 137, 2)).astype(np.float32), np.full([2, 137], 0.8, np.float32)
    maps = heatmaps.paint_heatmaps(tf.constant(points), tf.constant(confidence))
    found, sure = heatmaps.read_keypoints(maps)
    sure = sure.numpy()
    sure[0, 5] = 0.0
    detections = MapDetections(found, tf.constant(sure), tf.zeros([2, 60, 60, 256]), maps, tf.zeros([2, 60, 60, 15]))
    evidence = multitask_cnn.describe(detections, tf.tile(INTRINSICS, [2, 1]))
    assert not np.any(evidence.keypoint_heatmaps[0, ..., 5])
    np.testing.assert_array_equal(evidence.keypoint_heatmaps[1], maps[1])
    np.testing.assert_array_equal(evidence.keypoint_heatmaps[0, ..., :5], maps[0, ..., :5])


def test_bytes_and_unit_floats_are_the_same_crop(sensing):
    crops = np.random.default_rng(1).integers(0, 256, (1, 480, 480, 3), dtype=np.uint8)
    as_bytes, as_floats = sensing.find_landmarks(crops), sensing.find_landmarks(np.float32(crops) / np.float32(255))
    np.testing.assert_allclose(as_bytes.features, as_floats.features, rtol=1e-3, atol=1e-3)


def test_whom_to_look_at_is_of_no_effect(sensing):
    crops = np.random.default_rng(1).integers(0, 256, (1, 480, 480, 3), dtype=np.uint8)
    for a, b in zip(sensing.find_landmarks(crops), sensing.find_landmarks(crops, tf.ones([1, 17, 3]))):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(1, 240, 240, 3), (480, 480, 3), (1, 480, 480, 4)])
def test_sensing_refuses_crops_of_another_shape(sensing, shape):
    with pytest.raises(ValueError, match=r"`crops` must be \[N, 480, 480, 3\]"):
        sensing.find_landmarks(np.zeros(shape, np.float32))


def test_network_refuses_sides_that_do_not_halve(cnn):
    with pytest.raises(ValueError, match="multiple of 32"):
        cnn(tf.zeros([1, 100, 100, 3]))


def test_fixed_statistics_make_examples_independent(cnn):
    """Without batch statistics an example's maps in training do not depend on its neighbour; with them they do."""
    crops = tf.random.stateless_uniform([2, 64, 64, 3], [0, 0])
    before = cnn.normalize_join.get_weights()
    for batch_statistics in (False, True):
        cnn.batch_statistics = batch_statistics
        pair, alone = cnn(crops, training=True).parts[:1], cnn(crops[:1], training=True).parts
        assert np.allclose(pair, alone, rtol=1e-3, atol=1e-3) is not batch_statistics
    cnn.batch_statistics = True
    cnn.normalize_join.set_weights(before)


def test_config_round_trip(monkeypatch):
    monkeypatch.setattr(keras.applications, "ResNet50", small_trunk.make)
    again = MultitaskCNN.from_config(MultitaskCNN(batch_statistics=False, name="small").get_config())
    assert again.batch_statistics is False and again.name == "small"


def test_preset_brings_the_network_back(monkeypatch, tmp_path):
    """What a preset folder calls "multitask" is loaded as such, weight by weight."""
    monkeypatch.setattr(keras.applications, "ResNet50", small_trunk.make)
    saved = multitask_cnn.new()
    saved.save_weights(str(tmp_path / presets.SENSING_WEIGHTS["multitask"]))
    again = reconstruct.load_sensing(str(tmp_path), "multitask")
    assert isinstance(again, MultitaskSensing)
    for a, b in zip(saved.weights, again.cnn.weights):
        np.testing.assert_array_equal(a, b)


def test_trunk_weights_come_from_a_file(monkeypatch, tmp_path):
    """A file of a whole `keras.applications` trunk; the head stays random."""
    monkeypatch.setattr(keras.applications, "ResNet50", small_trunk.make)
    trunk = small_trunk.make()
    trunk.save_weights(str(tmp_path / "trunk.h5"))
    model = MultitaskCNN(trunk_weights=str(tmp_path / "trunk.h5"))
    for a, b in zip(trunk.weights, model.trunk.weights):
        np.testing.assert_array_equal(a, b)
