"""What all training runs share: their optimizer, and how they begin and end."""

import functools
import json
import os
import shutil

import keras
import numpy as np
import tensorflow as tf

from hund_tf.files import write_atomically
from hund_tf.training import callbacks, strategies


def optimizer(learning_rate, steps, ema=None):
    """Adam with warm-up and cosine decay over the steps of a run; `ema` is the momentum of averaged weights."""
    warmup = max(min(500, steps // 10), 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 20, max(steps - warmup, 1), alpha=0.01, warmup_target=learning_rate, warmup_steps=warmup)
    average = {} if ema is None else {"use_ema": True, "ema_momentum": ema}
    return keras.optimizers.Adam(schedule, clipnorm=1.0, **average)


def learn(model, loss, tape):
    """One step of a model's optimizer down the gradient of a loss; the norm of all gradients."""
    gradients = model.optimizer.compute_gradients(loss, model.trainable_variables, tape)
    model.optimizer.apply_gradients(gradients)
    return tf.linalg.global_norm([gradient for gradient, _ in gradients])


def begin(run_dir, *, epochs, steps_per_epoch, batch_size, seed, learning_rate, ema, **others):
    """Keeps the settings of a run in its folder; a run that had begun must go on with the same.

    Args:
        run_dir: str, folder of the run.
        epochs, steps_per_epoch, batch_size, seed, learning_rate, ema: as in `train.train_body`.
        **others: what else decides what the run learns, for JSON.

    Raises:
        ValueError: if it began with other settings; the message names those that differ.
    """
    schedule = {"epochs": epochs, "steps_per_epoch": steps_per_epoch, "batch_size": batch_size, "seed": seed,
                "learning_rate": learning_rate, "ema": ema}
    keep_settings(run_dir, {**schedule, **others}, begun=has_begun(run_dir))


def check_unfinished(run_dir, weights):
    """A FileExistsError if the run in this folder has left its weights."""
    path = os.path.join(run_dir, weights)
    if os.path.exists(path):
        raise FileExistsError(f"A run must be new or unfinished. Received: {path}, which a finished run left.")


def save_finished(model, history, run_dir, name, patience=None, strategy=None):
    """Writes the weights of a run that is through, and then removes its last checkpoint.

    They are those of the last epoch, or those of the best where patience ran out. Of several workers all must call this: the
    chief writes and removes when the last is through, for until then that one may read the checkpoint.

    Args:
        model: the trained `keras.Model`.
        history: `keras.callbacks.History`.
        run_dir: str, folder of the run.
        name: str, of the file.
        patience: see `callbacks.make`.
        strategy: `tf.distribute.Strategy` of the run; None: one process.

    Raises:
        FloatingPointError: if loss or weights are not finite.
    """
    losses = history.history.get("loss", [])
    if not np.all(np.isfinite(losses)) or not all(np.all(np.isfinite(v)) for v in model.get_weights()):
        raise FloatingPointError(f"Loss and weights must stay finite. Received: a loss of {losses[-1:]} in the last epoch of "
                                 f"{run_dir}; best.h5 holds the weights before. A lower learning rate may help.")
    if strategies.several_workers(strategy):  # above, too, each must read its weights: metrics are summed over all when read
        strategies.wait_for_all(strategy)
        if not strategies.is_chief():
            return
    best = os.path.join(run_dir, callbacks.BEST)
    stopped = os.path.exists(best) and callbacks.out_of_patience(callbacks.read_curve(os.path.join(run_dir, callbacks.CURVE)), patience)
    write_atomically(os.path.join(run_dir, name), functools.partial(shutil.copyfile, best) if stopped else model.save_weights)
    shutil.rmtree(os.path.join(run_dir, callbacks.BACKUP), ignore_errors=True)


def has_begun(run_dir):
    """Whether a run has left anything to go on from in its folder."""
    return any(os.path.exists(os.path.join(run_dir, name)) for name in (callbacks.BACKUP, callbacks.CURVE))


def keep_settings(folder, settings, name="config.json", begun=True, told=()):
    """Writes the settings of what begins in a folder; what goes on there must have the same.

    A setting that was not kept, as by an earlier version, is neither compared nor added: nobody knows what it was.

    Args:
        folder: str, of a run.
        settings: dict for JSON.
        name: str, of the file.
        begun: bool, whether settings that are there count; those of a run that never began do not.
        told: names of settings that are kept for whoever reads them, and may differ.

    Raises:
        ValueError: if what is there was begun with other settings; the message names those that differ.
    """
    settings, kept = json.loads(json.dumps(settings)), read_settings(folder, name)
    if begun and kept is not None:
        told = [{key: values.pop(key) for key in told if key in values} for values in (kept, settings)]
        before, now = _differences(kept, {key: settings[key] for key in settings if key in kept})
        if before or now:
            raise ValueError(f"A run must go on with the settings it began with, {told[0] | before}; others need a folder of "
                             f"their own. Received: {told[1] | now}.")
        return
    os.makedirs(folder, exist_ok=True)

    def write(temporary):
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(settings, file, indent=1)

    write_atomically(os.path.join(folder, name), write)


def read_settings(folder, name="config.json"):
    """What `keep_settings` wrote, or None."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _differences(one, other):
    """Of two nested dicts what the other does not have alike: two flat dicts, names joined by dots."""
    one, other = dict(_flat(one)), dict(_flat(other))
    return tuple({name: value for name, value in here.items() if name not in there or there[name] != value}
                 for here, there in ((one, other), (other, one)))


def _flat(settings, prefix=""):
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
