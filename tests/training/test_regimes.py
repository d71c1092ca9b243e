"""What teaches the body network under each regime, on a toy body."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import toy

from hund_tf.body.generative_body import BodyOutput
from hund_tf.config import ObjectiveConfig, TrainingConfig
from hund_tf.hund import HundBody
from hund_tf.networks.context_encoder import READ_KEYPOINTS, EvidenceSummary
from hund_tf.training import regimes, stage_losses
from hund_tf.training.examples import neutral_state, no_labels

NOTHING = float("nan")


@pytest.fixture(scope="module", name="batch")
def fixture_batch(toy_body):
    return toy.batch(toy_body, 2)


def losses(body, data, regime, num_stages=1, **settings):
    """The loss of each example, and the descent it came from."""
    model = toy.make(body, num_stages, training=TrainingConfig(regime=regime, **settings))
    return model._compare(*model._checked(data))[0].numpy(), model.descend(data[0])


def test_evidence_alone_teaches_by_the_objective(toy_body, batch):
    found, descent = losses(toy_body, (batch[0], None), "ss", num_stages=2)
    np.testing.assert_allclose(found, tf.reduce_sum(descent.losses[1:], 0), rtol=1e-6)


def test_labelled_keypoints_take_the_place_of_detected_ones(toy_body, batch):
    summary, labels = batch
    index = tf.constant(READ_KEYPOINTS)[:, None]
    places = tf.stack([tf.scatter_nd(index, row, [137, 2]) for row in summary.keypoints])
    weight = tf.tile(tf.scatter_nd(index, tf.ones([31]), [137])[None], [2, 1])
    labels = no_labels(2)._replace(keypoints=places, keypoints_weight=weight)
    as_detected, descent = losses(toy_body, (summary, labels), "ws")
    np.testing.assert_allclose(as_detected, tf.reduce_sum(descent.losses[1:], 0), rtol=1e-5)
    moved, _ = losses(toy_body, (summary, labels._replace(keypoints=places + 4800.0)), "ws")
    assert np.all(moved > as_detected + 1)
    unlabelled = labels._replace(keypoints_weight=weight * [[1.0], [0.0]], keypoints=places * [[[1.0]], [[NOTHING]]])
    np.testing.assert_allclose(losses(toy_body, (summary, unlabelled), "ws")[0], [as_detected[0], 0.0], rtol=1e-6)


def without_second(labels):
    """The labels with garbage for a state in the second example."""
    state = [value * np.float32([[1.0], [NOTHING]]) for value in labels.state]
    return labels._replace(state=type(labels.state)(*state), has_state=tf.constant([1.0, 0.0]))


def test_each_example_is_taught_by_what_it_carries(toy_body, batch):
    summary, labels = batch
    taught, descent = losses(toy_body, batch, "fs")
    only_first, _ = losses(toy_body, (summary, without_second(labels)), "fs")
    np.testing.assert_allclose(only_first, [taught[0], 0.0], rtol=1e-6)
    both, _ = losses(toy_body, (summary, without_second(labels)), "fs+ss", self_weight=0.5)
    np.testing.assert_allclose(both, [taught[0], 0.5 * tf.reduce_sum(descent.losses[1:, 1])], rtol=1e-5)


def test_joints_alone_teach_where_there_is_no_state(toy_body, batch):
    summary, labels = batch
    points = toy_body(labels.state, mesh=None).keypoints
    joints = no_labels(2)._replace(joints3d=points, joints3d_weight=tf.constant([[1.0] * 137, [0.0] * 137]))
    found, _ = losses(toy_body, (summary, joints), "fs")
    assert found[0] > 0.1 and found[1] == 0
    mixed, descent = losses(toy_body, (summary, joints), "fs+ss")
    np.testing.assert_allclose(mixed, [found[0], tf.reduce_sum(descent.losses[1:, 1])], rtol=1e-5)


def test_joint_loss_by_hand():
    points = np.zeros([1, 137, 3], np.float32)
    points[..., 2] = 2.0
    points[0, 4] += [0.3, 0.4, 0.0]  # the right wrist
    state = neutral_state(1)
    truth = np.full([1, 137, 3], NOTHING, np.float32)
    truth[0, [4, 9, 12]] = [[0, 0, 4], [-1, 0, 4], [1, 0, 4]]  # hips about (0, 0, 4), two metres behind
    weight = np.zeros([1, 137], np.float32)
    weight[0, [4, 9, 12]] = 1.0
    labels = no_labels(1)._replace(joints3d=tf.constant(truth), joints3d_weight=tf.constant(weight))
    config = TrainingConfig(joints_weight=1.0, translation_weight=10.0)
    loss = stage_losses.against_joints(state, BodyOutput(None, points, tf.constant(points), None), labels, config)
    np.testing.assert_allclose(loss, [(0.5 + 1 + 1) / 3 + 10 * 2 / 4], rtol=1e-5)
    none = stage_losses.against_joints(state, BodyOutput(None, points, tf.constant(points), None), no_labels(1), config)
    np.testing.assert_array_equal(none, [0.0])


def test_keypoint_loss_by_hand():
    points = tf.tile([[[0.0, 0.0, 2.0]]], [1, 137, 1])  # in the middle of the crop
    keypoints = np.full([1, 137, 2], 240.0, np.float32)
    keypoints[0, 4] += [48.0, 0.0]
    weight = np.zeros([1, 137], np.float32)
    weight[0, [0, 4]] = 1.0, 3.0
    labels = no_labels(1)._replace(keypoints=tf.constant(keypoints), keypoints_weight=tf.constant(weight))
    loss = stage_losses.against_keypoints(neutral_state(1), BodyOutput(None, points, points, None), tf.constant([2.0]), labels,
                                          tf.constant([toy.INTRINSICS]), ObjectiveConfig(keypoint_weight=10.0, part_weight=0.5))
    np.testing.assert_allclose(loss, [10 * (3 * 0.1 + 0) / 4 + 0.5 * 2], rtol=1e-5)


def test_stages_count_as_their_weights_say(toy_body, batch):
    _, descent = losses(toy_body, batch, "ss", num_stages=2)
    first, second, third = descent.losses.numpy()
    for settings, expected in (({"first_weight": 1, "stage_weights": (2, 3)}, first + 2 * second + 3 * third),
                               ({"stage_weights": (0, 3)}, 3 * third), ({}, second + third),
                               ({"meta_loss": "min"}, np.minimum(second, third)),
                               ({"first_weight": 1, "meta_loss": "oi", "stage_weights": (1, 0)}, np.minimum(second - first, 0))):
        found, _ = losses(toy_body, batch, "ss", num_stages=2, **settings)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("regime, part_map_size, precision", [
    ("ss", 15, "float32"), ("fs", 0, "mixed_bfloat16"), ("fs+ss", 0, "float32")])
def test_fit(toy_body, batch, regime, part_map_size, precision):
    model = toy.make(toy_body, 1, part_map_size, TrainingConfig(regime=regime, precision=precision))
    model.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    before = [value.copy() for value in model.get_weights()]
    dataset = tf.data.Dataset.from_tensors(batch if regime != "ss" else batch[:1]).repeat()
    history = model.fit(dataset, epochs=2, steps_per_epoch=1, verbose=0).history
    assert all(np.all(np.isfinite(values)) for values in (*history.values(), *model.get_weights()))
    assert history["loss"][1] < history["loss"][0] and np.all(np.array(history["gradient_norm"]) > 0)
    assert any(np.any(old != new) for old, new in zip(before, model.get_weights()))
    assert (history["mpjpe_mm"][0] > 0) == (regime != "ss")


def test_float16_is_finite_and_the_loss_scaled(toy_body, batch):
    model = toy.make(toy_body, 1, training=TrainingConfig(precision="mixed_float16"))
    model.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    assert isinstance(model.optimizer, keras.mixed_precision.LossScaleOptimizer)
    history = model.fit(tf.data.Dataset.from_tensors(batch), verbose=0).history
    assert all(np.all(np.isfinite(values)) for values in (*history.values(), *model.get_weights()))
    assert {variable.dtype for variable in model.trainable_variables} == {tf.float32}


@pytest.mark.parametrize("regime, reaches", [("ss", True), ("ws", True), ("fs+ss", True), ("fs", False)])
def test_parts_pass_a_gradient_where_the_evidence_teaches(toy_body, batch, regime, reaches):
    model = toy.make(toy_body, 1, 15, TrainingConfig(regime=regime))
    state = model.codec.initial(2)
    with tf.GradientTape() as tape:
        tape.watch(state)
        part_loss = model.objective(state, batch[0]).part_loss
    slopes = tape.gradient(part_loss, state)
    assert (slopes is not None and bool(tf.reduce_any(slopes != 0))) == reaches


@pytest.mark.parametrize("regime", ["ws", "fs"])
def test_batches_without_the_label_are_refused(toy_body, batch, regime):
    model = toy.make(toy_body, 1, training=TrainingConfig(regime=regime))
    model.compile("sgd", run_eagerly=True)
    with pytest.raises(ValueError, match=rf"regime '{regime}' must be \(EvidenceSummary, TrainingLabels\). Received: no labels"):
        model.fit(tf.data.Dataset.from_tensors(batch[:1]), verbose=0)
    with pytest.raises(ValueError, match=f"regime '{regime}' must hold .* above 0. Received: none"):
        regimes.check_labels(no_labels(2), regime)
    regimes.check_labels(no_labels(2), "ss")
    regimes.check_labels(None, "fs+ss")
    regimes.check_labels(batch[1], "fs")


@pytest.mark.parametrize("settings, words", [
    ({"regime": "full"}, "`regime` must be one of .*'fs\\+ss'.* Received: 'full'"), ({"meta_loss": "mean"}, "`meta_loss` must be"),
    ({"precision": "float16"}, "`precision` must be"), ({"mesh_weight": -1}, "`mesh_weight` must not be negative"),
    ({"stage_weights": (1, NOTHING)}, "`stage_weights` must not be negative"),
    ({"first_weight": 0, "stage_weights": (0, 0)}, "One stage must have a weight above 0")])
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        TrainingConfig(**settings)


def test_one_weight_for_each_stage(toy_body):
    with pytest.raises(ValueError, match=r"`stage_weights` must be 2 numbers, one for each stage. Received: \(1.0,\)"):
        toy.make(toy_body, 2, training=TrainingConfig(stage_weights=(1,)))


def test_exported_and_training_graph_give_equal_states(toy_body, batch, tmp_path):
    model = toy.make(toy_body, 2)
    trained = tf.function(lambda *data: tf.stack(model._compare(*data)[1]["states"]), autograph=False)(*batch)
    module = tf.Module()
    use = HundBody(model.config, toy_body)
    use.build_weights()
    for own, learned in zip(use.trainable_variables, model.trainable_variables):
        own.assign(learned)
    module.weights = use.trainable_variables
    specs = [tf.TensorSpec([None, *value.shape[1:]], value.dtype) for value in batch[0]]
    module.descend = tf.function(lambda *parts: tf.stack(use.descend(EvidenceSummary(*parts)).states), specs,
                                 autograph=False)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    exported = loaded.descend(*batch[0])
    assert exported.shape == (3, 2, 151) and np.any(exported[0] != exported[1])
    np.testing.assert_allclose(exported, trained, rtol=1e-5, atol=1e-6)
