"""Training runs: what a run of the body network learns from and leaves, with tiny scenes and a toy body."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
import toy

from hund_tf.config import HundConfig, ObjectiveConfig, TrainingConfig
from hund_tf.training import callbacks, examples, recorded, regimes, runs, synthetic, train

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
        runs.save_finished(model, types.SimpleNamespace(history={"loss": [1.0]}), str(tmp_path), "weights.h5")
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

    def of_scenes(scenes, body, segmentation, batch_size, seed, shuffle=True, start=0):
        begun.append(("scenes", start))
        data = tf.data.Dataset.from_tensors(toy.batch(toy_body, batch_size))
        return data.repeat() if shuffle else data

    def of_records(dataset, segmentation, start=0):
        begun.append(("records", start))
        summary, _ = toy.batch(toy_body, 2)
        return tf.data.Dataset.from_tensors((summary, examples.no_labels(2))).repeat()

    monkeypatch.setattr(keras.utils, "set_random_seed", tf.random.set_seed)  # Keras' own outlasts the test and makes warnings
    monkeypatch.setattr(train.regimes, "TrainableHund", network)
    monkeypatch.setattr(train, "_load", scenes)
    monkeypatch.setattr(train, "new_segmentation", lambda weights=None: None)
    monkeypatch.setattr(synthetic, "body_dataset", of_scenes)
    monkeypatch.setattr(recorded, "body_dataset", of_records)
    monkeypatch.setattr(train._Examples, "_read", lambda self, pattern, shuffle: pattern)
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


def test_resumed_turns_begin_where_each_was(small):
    arguments, begun = small
    source = train._Examples(types.SimpleNamespace(coding="toy"), None, 2, 0)
    _, describe = source.training("scenes", "photos", start=5)
    assert begun == [("scenes", 3), ("records", 2)]
    assert describe(4) == "scenes " + ", ".join(map(str, synthetic.examples_of(2, 8, 2, 0)))


def test_examples_must_carry_what_the_regime_needs(small, tmp_path):
    arguments, _ = small
    with pytest.raises(ValueError, match="Regime 'ws' needs labelled 2D keypoints.*Received: scenes"):
        train.train_body("scenes-*.npz", "held-out.npz", run_dir=str(tmp_path), epochs=1,
                         training=TrainingConfig(regime="ws"), **arguments)


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
    dataset = recorded.body_dataset(tf.data.Dataset.from_tensors(values).repeat(3), train.new_segmentation(), start=1)
    batches = list(dataset)
    assert len(batches) == 2
    summary, labels = batches[0]
    assert summary.maps.shape == (2, 30, 30, 152) and summary.intrinsics.shape == (2, 4)
    np.testing.assert_array_equal(labels.joints3d, 2 * np.ones([2, 137, 3]))
    assert not np.any(labels.keypoints_weight) and np.all(labels.has_state == 1) and labels.state.theta.shape == (2, 306)
    assert recorded.sources_of(tf.data.Dataset.from_tensors(values), 0) == "photos/0, photos/1"


def test_records_without_evidence_are_refused():
    dataset = tf.data.Dataset.from_tensors(record(has_evidence=tf.constant([1.0, 0.0])))
    with pytest.raises(ValueError, match=r"must hold evidence .* some without: \['photos/1'\]"):
        recorded.body_dataset(dataset, None)
