"""Runs that are cut off, go wrong, average or stop early, on a network of two layers."""

import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import resumable
import tensorflow as tf

from hund_tf.training import callbacks

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module", name="whole")
def fixture_whole(tmp_path_factory):
    """A run that nothing cut off: its model and folder."""
    folder = tmp_path_factory.mktemp("whole")
    return resumable.run(str(folder))[0], folder


def test_killed_and_resumed_run_ends_where_a_whole_one_does(whole, tmp_path):
    command = [sys.executable, HERE / "resumable.py", HERE.parents[1], tmp_path, "12"]  # the second epoch's fifth step
    assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert callbacks.resume_point(str(tmp_path), resumable.STEPS) == (1, 4)  # the checkpoint of step 11
    model, _ = resumable.run(str(tmp_path))
    for found, expected in zip(model.get_weights(), whole[0].get_weights()):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    rows, expected = (callbacks.read_curve(folder / "curve.csv") for folder in (tmp_path, whole[1]))
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    np.testing.assert_allclose([row["val_loss"] for row in rows], [row["val_loss"] for row in expected], rtol=1e-5)
    assert not (tmp_path / "backup").exists()  # a finished run needs none


def test_run_that_died_before_its_weights_were_written_writes_them(whole, tmp_path):
    resumable.run(str(tmp_path), save=False)
    assert callbacks.resume_point(str(tmp_path), resumable.STEPS) == (resumable.EPOCHS, 0)
    model, history = resumable.run(str(tmp_path))
    assert not history.epoch and not (tmp_path / "backup").exists()
    model.load_weights(tmp_path / "weights.h5")
    for found, expected in zip(model.get_weights(), whole[0].get_weights()):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def turned():
    """Validation data of which a network that learns to say more gets worse from epoch to epoch."""
    return resumable.dataset(10**5).take(2).map(lambda inputs, values: (inputs, 0 * values - 5))


@pytest.mark.parametrize("died", [False, True])
def test_run_that_lost_patience_leaves_its_best_weights(tmp_path, died):
    model, history = resumable.run(str(tmp_path), patience=1, validation=turned(), save=not died)
    losses = history.history["val_loss"]
    assert len(losses) == 2 and losses[0] < losses[1]
    if died:
        model, history = resumable.run(str(tmp_path), patience=1, validation=turned())
        assert not history.epoch and len(callbacks.read_curve(tmp_path / "curve.csv")) == 2
    model.load_weights(tmp_path / "weights.h5")
    np.testing.assert_allclose(model.evaluate(turned(), verbose=0), losses[0], rtol=1e-5)


def test_curve_without_validation_is_read(tmp_path):
    (tmp_path / "curve.csv").write_text("epoch,loss,val_loss\n0,2.5,NA\n")
    assert callbacks.read_curve(tmp_path / "curve.csv") == [{"epoch": 0, "loss": 2.5}]
    assert callbacks.read_curve(tmp_path / "none.csv") == []


def test_new_run_begins_at_the_beginning(tmp_path):
    assert callbacks.resume_point(str(tmp_path), 5) == (0, 0)


def test_averaged_weights_are_validated_and_saved(whole):
    model, folder = whole
    averages = [tf.identity(value) for value in model.optimizer._model_variables_moving_average]
    for found, average in zip(model.trainable_variables, averages):
        np.testing.assert_array_equal(found, average)  # the run ended on them
    best = callbacks.read_curve(folder / "curve.csv")
    assert best[-1]["val_loss"] == min(row["val_loss"] for row in best)
    validation = resumable.dataset(10**5).take(2)
    np.testing.assert_allclose(model.evaluate(validation, verbose=0), best[-1]["val_loss"], rtol=1e-5)
    model.load_weights(folder / "best.h5")
    np.testing.assert_allclose(model.evaluate(validation, verbose=0), best[-1]["val_loss"], rtol=1e-5)


def test_training_goes_on_with_the_live_weights():
    model = keras.Sequential([keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.build([None, 1])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    averaged, seen = callbacks.AveragedWeights(), []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(float(model.trainable_variables[0])))
    ones = np.ones([1, 1], np.float32)
    model.fit(ones, ones, epochs=2, verbose=0, validation_data=(ones, ones), callbacks=[averaged, note, averaged.give_back, note])
    # live: 0 -> 0.2 -> 0.36; average: 0 -> 0.1 -> 0.23
    np.testing.assert_allclose(seen, [0.1, 0.2, 0.23, 0.36], rtol=1e-5)


def failing(model, target_of, describe):
    """Trains on targets by step, with checkpoints after each."""
    data = tf.data.Dataset.range(20).map(lambda step: (tf.ones([2, 1]), target_of(step) * tf.ones([2, 1])))
    return model.fit(data, epochs=2, steps_per_epoch=10, verbose=0, callbacks=[
        callbacks.StopOnNonFinite(10, describe), model.keep])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stops_the_run_and_names_the_batch(tmp_path, value):
    model = keras.Sequential([keras.layers.Dense(1, kernel_initializer="ones")])
    model.build([None, 1])
    model.compile("sgd", "mse")
    model.keep = callbacks.Checkpoint(str(tmp_path / "backup"), 10, every=1)
    words = (r"The loss must stay finite. Received: (nan|inf) in epoch 2, batch 4, step 13 of the run, which holds photos 26 "
             "and 27. The last checkpoint is kept")
    with pytest.raises(FloatingPointError, match=words):
        failing(model, lambda step: tf.where(step == 13, np.float32(value), 2.0), lambda step: f"photos {2 * step} and {2 * step + 1}")
    assert callbacks.resume_point(str(tmp_path), 10) == (1, 3)
    kept = tf.train.latest_checkpoint(tmp_path / "backup" / "chief")
    for name, shape in tf.train.list_variables(kept):
        if shape and tf.train.load_variable(kept, name).dtype == np.float32:
            assert np.all(np.isfinite(tf.train.load_variable(kept, name))), name


def test_gradients_that_are_not_finite_stop_the_run():
    stop = callbacks.StopOnNonFinite(10)
    stop.on_epoch_begin(0)
    stop.on_train_batch_end(0, {"loss": 1.0, "gradient_norm": 2.0})
    with pytest.raises(FloatingPointError, match="The gradient_norm must stay finite. Received: inf in epoch 1, batch 3, step 2 of"):
        stop.on_train_batch_end(2, {"loss": 1.0, "gradient_norm": np.inf})


@pytest.mark.parametrize("losses, patience, out", [
    ([3, 2, 1], 1, False), ([2, 1, 1], 1, True), ([1, 2, 0.5], 2, False), ([1, 2, 3], 2, True), ([1, 2, 3], 3, False),
    ([1, np.nan, np.nan], 2, True), ([np.nan, 1], 1, False), ([], 1, False), ([1, 2, 3], None, False)])
def test_patience_runs_out_when_nothing_got_better(losses, patience, out):
    assert callbacks.out_of_patience([{"val_loss": float(loss)} for loss in losses], patience) == out


@pytest.mark.parametrize("before, epochs", [([], 3), ([0.5], 2), ([0.5, 0.7], 1)])
def test_patience_remembers_the_epochs_before_the_run_was_cut_off(before, epochs):
    model = keras.Sequential([keras.layers.Dense(1)])
    ones = np.ones([2, 1], np.float32)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    losses = iter([1.0, 1.0, 1.0, 1.0, 1.0])
    worsen = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_loss=next(losses)))
    history = model.fit(ones, ones, initial_epoch=len(before), epochs=len(before) + 5, verbose=0,
                        callbacks=[worsen, callbacks.Patience([{"val_loss": loss} for loss in before], 2)])
    assert len(history.epoch) == epochs


def test_best_weights_of_before_are_not_replaced_by_worse(tmp_path):
    (tmp_path / "curve.csv").write_text("epoch,loss,val_loss\n0,1,0.25\n1,1,0.5\n")
    keep = [c for c in callbacks.make(str(tmp_path), 5) if isinstance(c, keras.callbacks.ModelCheckpoint)]
    assert keep[0].best == np.inf  # a run without checkpoint begins anew
    assert (tmp_path / "curve.csv").read_text() == "epoch,loss,val_loss\n"


def test_an_epoch_is_kept_when_it_was_validated(tmp_path):
    model, ones, seen = keras.Sequential([keras.layers.Dense(1)]), np.ones([2, 1], np.float32), []
    model.compile("sgd", "mse")
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(callbacks.resume_point(str(tmp_path), 2)))
    keep = callbacks.Checkpoint(str(tmp_path / "backup"), 2, every=1)
    model.fit(ones, ones, batch_size=1, epochs=2, verbose=0, callbacks=[look, keep, look])
    assert seen == [(0, 1), (1, 0), (1, 1), (2, 0)]
