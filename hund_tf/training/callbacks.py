"""What a training run does beside its steps: keep, resume, log, average, stop. On Keras' own callbacks.

Order matters and `make` keeps it: a loss that is not finite stops the run before anything is kept, and a checkpoint is
written after an epoch's row stands in the log.
"""

import csv
import math
import os

import keras
import numpy as np
import tensorflow as tf

from hund_tf.files import write_atomically

SAVE_EVERY = 200  # steps between checkpoints
CURVE, BEST, BACKUP = "curve.csv", "best.h5", "backup"  # in the folder of a run


def make(run_dir, steps_per_epoch, describe=None, patience=None, tensorboard=True, panels=None, chief=True):
    """The callbacks of a run.

    Args:
        run_dir: str, folder of the run.
        steps_per_epoch: int.
        describe: see `StopOnNonFinite`.
        patience: int, epochs without a better `val_loss` before the run stops; None: it does not.
        tensorboard: bool, whether scalars go to `run_dir/tensorboard`.
        panels: `StagePanels` or None.
        chief: bool, whether this process is the one that writes logs.

    Returns:
        list of `keras.callbacks.Callback`.
    """
    os.makedirs(run_dir, exist_ok=True)
    curve, (epoch, _) = os.path.join(run_dir, CURVE), resume_point(run_dir, steps_per_epoch)
    rows = read_curve(curve)[:epoch]
    best = min((row["val_loss"] for row in rows if "val_loss" in row), default=None)
    averaged = AveragedWeights()
    callbacks = [StopOnNonFinite(steps_per_epoch, describe), averaged]
    if chief:
        _keep_rows(curve, epoch)
        callbacks.append(keras.callbacks.CSVLogger(curve, append=True))
    callbacks.append(keras.callbacks.ModelCheckpoint(
        os.path.join(run_dir, BEST), save_weights_only=True, save_best_only=True, initial_value_threshold=best))
    if panels is not None and chief:
        callbacks.append(panels)
    callbacks.append(averaged.give_back)
    if tensorboard and chief:
        callbacks.append(keras.callbacks.TensorBoard(os.path.join(run_dir, "tensorboard"), write_graph=False))
    if patience is not None:
        callbacks.append(Patience(rows, patience))
    callbacks.append(Checkpoint(os.path.join(run_dir, BACKUP), steps_per_epoch))
    return callbacks


def resume_point(run_dir, steps_per_epoch):
    """`(epoch, step)` at which a run in this folder goes on; `(0, 0)` for a new one."""
    latest = tf.train.latest_checkpoint(os.path.join(run_dir, BACKUP, "chief"))
    if latest is None:
        return 0, 0
    epoch, step = (int(tf.train.load_variable(latest, f"ckpt_saved_{name}/.ATTRIBUTES/VARIABLE_VALUE"))
                   for name in ("epoch", "batch"))
    return divmod(epoch * steps_per_epoch + step + 1, steps_per_epoch)


class Checkpoint(keras.callbacks.BackupAndRestore):
    """Keeps weights, optimizer and place every so many steps and after each epoch; a run started again goes on there.

    After the last step of an epoch it waits for the epoch's end, so that a run killed during validation validates again.
    Metrics of the epoch that was cut off count from the checkpoint on. The last checkpoint stays until `runs.save_finished`
    has written the weights.

    Args:
        folder: str.
        steps_per_epoch: int.
        every: int, steps.
    """

    def __init__(self, folder, steps_per_epoch, every=SAVE_EVERY):
        super().__init__(folder, save_freq=every, delete_checkpoint=False)
        self._steps_per_epoch = steps_per_epoch

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 < self._steps_per_epoch:
            super().on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._batches_count = 0
        self._backup(epoch=epoch)


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends training with a `FloatingPointError` that names the batch, before the step is kept anywhere.

    Args:
        steps_per_epoch: int.
        describe: callable, step counted from the run's start -> str, which examples the batch holds; None: the step alone
            is named.
    """

    def __init__(self, steps_per_epoch, describe=None):
        super().__init__()
        self._steps_per_epoch, self._describe, self._epoch = steps_per_epoch, describe, 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        for name in ("loss", "gradient_norm"):
            value = (logs or {}).get(name, 0.0)
            if not math.isfinite(value):
                step = self._epoch * self._steps_per_epoch + batch
                which = "" if self._describe is None else f", which holds {self._describe(step)}"
                raise FloatingPointError(
                    f"The {name} must stay finite. Received: {value} in epoch {self._epoch + 1}, batch {batch + 1}, step "
                    f"{step} of the run{which}. The last checkpoint is kept; a lower learning rate may help.")


class AveragedWeights(keras.callbacks.Callback):
    """Validates and saves with the averaged weights of an optimizer with `use_ema`, and trains on with the live ones.

    It goes before what saves weights and its `give_back` after. Without `use_ema` it does nothing.
    """

    def __init__(self):
        super().__init__()
        self._live = None
        self.give_back = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: self._restore())

    def on_test_begin(self, logs=None):
        if getattr(self.model, "optimizer", None) is not None and self.model.optimizer.use_ema and self._live is None:
            self._live = [tf.identity(variable) for variable in self.model.trainable_variables]
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)

    def on_epoch_end(self, epoch, logs=None):
        self.on_test_begin()  # without validation nothing was exchanged yet

    def _restore(self):
        if self._live is not None:
            for variable, value in zip(self.model.trainable_variables, self._live):
                variable.assign(value)
            self._live = None


class Patience(keras.callbacks.Callback):
    """Stops a run that is `out_of_patience`, and remembers the epochs before it was cut off.

    Args:
        rows: list of dicts, the logs of those epochs.
        patience: int, epochs.
    """

    def __init__(self, rows, patience):
        super().__init__()
        self._rows, self._patience = list(rows), patience

    def on_epoch_end(self, epoch, logs=None):
        self._rows.append(logs or {})
        if out_of_patience(self._rows, self._patience):
            self.model.stop_training = True


def out_of_patience(rows, patience):
    """Whether the last `patience` epochs, each a dict, brought no better `val_loss`; never if that is None."""
    losses = np.nan_to_num([row["val_loss"] for row in rows if "val_loss" in row], nan=np.inf)
    return patience is not None and len(losses) > patience and losses[-patience:].min() >= losses[:-patience].min()


def epochs_to_do(run_dir, steps_per_epoch, epochs, patience):
    """How many epochs a run has: `epochs`, or those it did where its patience ran out before it was cut off."""
    done, _ = resume_point(run_dir, steps_per_epoch)
    return done if out_of_patience(read_curve(os.path.join(run_dir, CURVE))[:done], patience) else epochs


def read_curve(path):
    """Rows of a CSV log as dicts of floats, one an epoch, without what Keras calls "NA"; none if there is no file."""
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value not in ("", "NA", None)}
                for row in csv.DictReader(file)]


def _keep_rows(path, count):
    """Drops the rows of epochs that will be done again."""
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as file:
        lines = file.readlines()

    def write(temporary):
        with open(temporary, "w", encoding="utf-8") as file:
            file.writelines(lines[:count + 1])

    write_atomically(path, write)
