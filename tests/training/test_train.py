"""Training runs: what a run of the body network learns from and leaves, with tiny scenes and a toy body."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
import toy

from hund_tf.config import BodyConfig, HundConfig, ObjectiveConfig, TrainingConfig
from hund_tf.training import callbacks, evidence, examples, recorded, records, regimes, runs, synthetic, train


def test_finished_run_is_not_started_again(tmp_path):
    (tmp_path / "parts.h5").write_bytes(b"weights")
    with pytest.raises(FileExistsError, match="finished run"):
        train.train_parts("none-*.npz", "none-*.npz", str(tmp_path))
    assert (tmp_path / "parts.h5").read_bytes() == b"weights"


def test_a_run_needs_something_to_learn_from(tmp_path):
    with pytest.raises(ValueError, match="`scenes` or `records` must name what to learn from. Received: neither"):
        train.train_body(None, "held-out.npz", "parts.h5", str(tmp_path))


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.build([None, 1])
    model.trainable_variables[0].assign([[np.nan]])
    with pytest.raises(FloatingPointError, match="must stay finite"):
        runs.save_finished(model, SimpleNamespace(history={"loss": [1.0]}), str(tmp_path), "weights.h5")
    assert not (tmp_path / "weights.h5").exists()


def test_schedule_warms_up_and_decays():
    optimizer = runs.optimizer(1e-3, 100, ema=0.99)
    rates = [float(optimizer._learning_rate(step)) for step in (0, 5, 10, 60, 100)]
    assert rates[0] < rates[1] < rates[2] and rates[2] == pytest.approx(1e-3) and rates[2] > rates[3] > rates[4] > 0
    assert optimizer.use_ema and optimizer.ema_momentum == 0.99 and not runs.optimizer(1e-3, 100).use_ema


@pytest.fixture(name="small")
def fixture_small(monkeypatch, toy_body):
    """`train_body` with the toy body, in eager mode, its batches made up; remembers where they began."""
    toy_body.coding = "toy"
    begun, real = [], regimes.TrainableHund

    def network(config, training, compile_geometry):
        model = real(config, toy_body, training, compile_geometry=False)
        compile_ = model.compile
        model.compile = lambda **settings: compile_(run_eagerly=True, **settings)
        return model

    def scenes(pattern, body):
        return {"theta": np.zeros([8, 1]), "kind": pattern}

    def of_scenes(scenes, body, segmentation, batch_size, seed, shuffle=True, start=0, rows=slice(None)):
        begun.append(("scenes", start))
        data = tf.data.Dataset.from_tensors(toy.batch(toy_body, batch_size))
        return data.repeat() if shuffle else data

    def of_records(start, segmentation):
        begun.append(("records", start))
        summary, _ = toy.batch(toy_body, 2)
        return tf.data.Dataset.from_tensors((summary, examples.no_labels(2))).repeat()

    monkeypatch.setattr(keras.utils, "set_random_seed", tf.random.set_seed)  # Keras' own outlasts the test and makes warnings
    monkeypatch.setattr(train.regimes, "TrainableHund", network)
    monkeypatch.setattr(train, "_load", scenes)
    monkeypatch.setattr(train, "new_segmentation",
                        lambda weights: SimpleNamespace(get_weights=lambda: [np.full(3, len(weights))]))
    monkeypatch.setattr(synthetic, "body_dataset", of_scenes)
    monkeypatch.setattr(recorded, "body_dataset", of_records)
    monkeypatch.setattr(records, "read", lambda *args, start=0, **settings: start)
    config = HundConfig(num_stages=1, units=8, context_dim=8, objective=ObjectiveConfig(part_map_size=0))
    return dict(parts="parts.h5", batch_size=2, steps_per_epoch=2, config=config, compile_geometry=False), begun


def test_run_leaves_weights_curve_and_pictures(small, tmp_path):
    arguments, begun = small
    train.train_body("scenes-*.npz", "held-out.npz", run_dir=str(tmp_path), epochs=1, ema=0.9, patience=3, records="photos",
                     training=TrainingConfig(regime="fs+ss"), **arguments)
    assert {"weights.h5", "best.h5", "curve.csv", "tensorboard"} <= {path.name for path in tmp_path.iterdir()}
    row, = callbacks.read_curve(tmp_path / "curve.csv")
    assert {"loss", "val_loss", "mpjpe_mm", "val_mpjpe_mm", "gradient_norm"} <= set(row) and row["val_mpjpe_mm"] > 0
    assert list((tmp_path / "tensorboard" / "stages").iterdir()) and list((tmp_path / "tensorboard" / "validation").iterdir())
    assert begun[:2] == [("scenes", 0), ("records", 0)]  # they take turns


def test_a_run_keeps_which_part_cnn_it_learned_from(small, tmp_path, monkeypatch):
    """And does not go on with another."""
    arguments, _ = small

    def cut(model, *args, **settings):
        (tmp_path / callbacks.CURVE).touch()
        raise TimeoutError

    monkeypatch.setattr(keras.Model, "fit", cut)
    for parts, error in (("parts.h5", TimeoutError), ("others.h5", ValueError)):
        with pytest.raises(error, match=None if error is TimeoutError else "began with, {'parts_sha256': "):
            train.train_body("scenes-*.npz", "held-out.npz", run_dir=str(tmp_path), epochs=1, tensorboard=False,
                             **{**arguments, "parts": parts})
    assert len(runs.read_settings(str(tmp_path))["parts_sha256"]) == 64


def test_resumed_turns_begin_where_each_was(small, monkeypatch):
    arguments, begun = small
    source = train._Examples(SimpleNamespace(coding="toy"), None, 2, 0, "scenes", "photos")
    source.training(5)
    assert begun == [("scenes", 3), ("records", 2)]
    monkeypatch.setattr(records, "sources_of", lambda paths, step, batch_size, seed: [paths, str(step)])
    assert source.describe(4) == "scenes " + ", ".join(map(str, synthetic.examples_of(2, 8, 2, 0)))
    assert source.describe(5) == "records photos, 2"


def test_examples_must_carry_what_the_regime_needs(small, tmp_path):
    arguments, _ = small
    with pytest.raises(ValueError, match="Regime 'ws' needs labelled 2D keypoints.*Received: scenes"):
        train.train_body("scenes-*.npz", "held-out.npz", run_dir=str(tmp_path), epochs=1,
                         training=TrainingConfig(regime="ws"), **arguments)
    assert not (tmp_path / "config.json").exists()  # nothing began: the next try may have other settings


def test_records_without_3d_labels_cannot_teach_by_them(small, tmp_path):
    arguments, _ = small
    with pytest.raises(ValueError, match="regime 'fs' must hold 3D labels"):
        train.train_body("scenes-*.npz", "held-out.npz", run_dir=str(tmp_path), epochs=1, records="photos",
                         training=TrainingConfig(regime="fs"), **arguments)
    assert not (tmp_path / "weights.h5").exists()


def record(count=2, **changes):
    """A batch of records as a dict."""
    shapes = {"keypoints": (137, 2), "confidence": (137,), "person_mask": (60, 60), "landmarks3d": (25, 3),
              "landmarks3d_confidence": (25,), "label_keypoints": (137, 2), "label_keypoints_weight": (137,),
              "joints3d": (137, 3), "joints3d_weight": (137,), "theta": (306,), "shape": (16,), "expression": (20,),
              "rotation": (6,), "translation": (3,), "has_state": (), "has_evidence": (), "part_labels": (60, 60)}
    values = {name: tf.ones([count, *shape]) for name, shape in shapes.items()}
    sources = tf.constant([f"photos/{i}" for i in range(count)])
    return {**values, "intrinsics": tf.fill([count, 4], 240.0), "source": sources, **changes}


def test_records_become_evidence_and_labels():
    values = record(joints3d=2 * tf.ones([2, 137, 3]), label_keypoints_weight=tf.zeros([2, 137]))
    (summary, labels), = recorded.body_dataset(tf.data.Dataset.from_tensors(values), train.new_segmentation())
    assert summary.maps.shape == (2, 30, 30, 152) and summary.intrinsics.shape == (2, 4)
    np.testing.assert_array_equal(labels.joints3d, 2 * np.ones([2, 137, 3]))
    assert not np.any(labels.keypoints_weight) and np.all(labels.has_state == 1) and labels.state.theta.shape == (2, 306)


def test_records_without_evidence_are_refused():
    dataset = tf.data.Dataset.from_tensors(record(has_evidence=tf.constant([1.0, 0.0])))
    with pytest.raises(ValueError, match=r"must hold evidence .* some without: \['photos/1'\]"):
        recorded.body_dataset(dataset, None)


def noise(scene, seed):
    """Detections of a batch that are noise, drawn for all of it at once."""
    count = len(scene["theta"])
    shapes = ((137, 2), (137,), (60, 60), (60, 60), (25, 3), (25,))
    return evidence.DetectedEvidence(*(tf.random.stateless_uniform([count, *shape], seed) for shape in shapes))


def test_a_part_of_each_batch_of_scenes_is_what_the_whole_has_there(toy_body, monkeypatch):
    monkeypatch.setattr(synthetic, "detect", lambda body, scene, seed, scale: noise(scene, seed))
    scenes = dict(toy.truth(6)._asdict(), intrinsics=np.tile(np.float32(toy.INTRINSICS), (6, 1)),
                  image_bounds=np.zeros([6, 4]), part_labels=np.zeros([6, 60, 60]))
    segmentation = train.new_segmentation()
    (whole,), (part,) = (synthetic.body_dataset(scenes, toy_body, segmentation, 4, start=1, **rows).take(1)
                         for rows in ({}, {"rows": slice(1, 3)}))
    for expected, found in zip(tf.nest.flatten(whole), tf.nest.flatten(part)):
        np.testing.assert_allclose(found, expected[1:3], rtol=1e-5, atol=1e-5)


@pytest.fixture(name="parts_run")
def fixture_parts_run(toy_body, monkeypatch):
    """`train_parts` with made-up batches."""
    batch = (tf.ones([2, 30, 30, 137]), tf.ones([2, 60, 60])), tf.ones([2, 60, 60], tf.int32)
    data = tf.data.Dataset.from_tensors(batch)
    monkeypatch.setattr(keras.utils, "set_random_seed", tf.random.set_seed)
    monkeypatch.setattr(train, "GenerativeBody", lambda **settings: toy_body)
    monkeypatch.setattr(train, "_load", lambda pattern, body: {"theta": np.zeros([2, 1])})
    monkeypatch.setattr(synthetic, "part_dataset", lambda *args, shuffle=True, **settings: data.repeat() if shuffle else data)
    return lambda folder, **settings: train.train_parts(
        "scenes", "held-out", str(folder), **{**dict(epochs=1, steps_per_epoch=2, batch_size=2, tensorboard=False), **settings})


def test_a_parts_run_goes_on_with_the_settings_it_began_with(parts_run, tmp_path, monkeypatch):
    def cut(model, *args, **settings):
        (tmp_path / callbacks.CURVE).touch()
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(train._PartLearner, "fit", cut)
        with pytest.raises(TimeoutError):
            parts_run(tmp_path)
    for change, words in (({"batch_size": 4}, "'batch_size': 2.* Received: {'batch_size': 4}"),
                          ({"body": BodyConfig(pose_prior="gaussian")}, "'body.pose_prior': 'flow'.* Received: .*'gaussian'")):
        with pytest.raises(ValueError, match=f"go on with the settings it began with, .*{words}"):
            parts_run(tmp_path, **change)
    parts_run(tmp_path)
    assert (tmp_path / "parts.h5").exists()


def test_best_weights_of_a_parts_run_are_those_of_the_part_cnn(parts_run, tmp_path):
    parts_run(tmp_path, ema=0.9)
    best, finished = (train.new_segmentation(str(tmp_path / name)).get_weights() for name in ("best.h5", "parts.h5"))
    for a, b in zip(best, finished):
        np.testing.assert_array_equal(a, b)
    row, = callbacks.read_curve(tmp_path / "curve.csv")
    assert row["gradient_norm"] > 0 and "val_gradient_norm" not in row
