"""Training runs: a finished one is kept, one that went wrong leaves no weights."""

import keras
import numpy as np
import pytest

from hund_tf.training import train


def test_finished_run_is_not_started_again(tmp_path):
    (tmp_path / "parts.h5").write_bytes(b"weights")
    with pytest.raises(FileExistsError, match="finished run"):
        train.train_parts("none-*.npz", "none-*.npz", str(tmp_path))
    assert (tmp_path / "parts.h5").read_bytes() == b"weights"


def fitted(tmp_path, targets):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    inputs = np.ones([8, 2], np.float32)
    callbacks = train._callbacks(str(tmp_path), steps_per_epoch=2)
    return model, model.fit(inputs, targets, batch_size=4, epochs=2, verbose=0, callbacks=callbacks,
                            validation_data=(inputs, targets))


def test_a_loss_that_is_not_finite_leaves_no_weights(tmp_path):
    model, history = fitted(tmp_path, np.full([8, 1], np.nan, np.float32))
    with pytest.raises(FloatingPointError, match="must stay finite"):
        train._save_finished(model, history, str(tmp_path), "weights.h5")
    assert not (tmp_path / "weights.h5").exists()


def test_run_leaves_weights_and_its_curve(tmp_path):
    model, history = fitted(tmp_path, np.ones([8, 1], np.float32))
    train._save_finished(model, history, str(tmp_path), "weights.h5")
    assert (tmp_path / "weights.h5").exists() and (tmp_path / "best.h5").exists()
    assert (tmp_path / "curve.csv").read_text().startswith("epoch,loss,val_loss")
