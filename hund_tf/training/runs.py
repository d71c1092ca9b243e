"""What all training runs share: their optimizer, and how they begin and end."""

import json
import os

import keras
import numpy as np

from hund_tf.files import write_atomically


def optimizer(learning_rate, steps, ema=None):
    """Adam with warm-up and cosine decay over the steps of a run; `ema` is the momentum of averaged weights."""
    warmup = max(min(500, steps // 10), 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 20, max(steps - warmup, 1), alpha=0.01, warmup_target=learning_rate, warmup_steps=warmup)
    average = {} if ema is None else {"use_ema": True, "ema_momentum": ema}
    return keras.optimizers.Adam(schedule, clipnorm=1.0, **average)


def check_unfinished(run_dir, weights):
    """A FileExistsError if the run in this folder has left its weights."""
    path = os.path.join(run_dir, weights)
    if os.path.exists(path):
        raise FileExistsError(f"A run must be new or unfinished. Received: {path}, which a finished run left.")


def save_finished(model, history, run_dir, name):
    """Writes the weights of a run that is through; a FloatingPointError if its loss or they are not finite."""
    losses = history.history.get("loss", [])
    if not np.all(np.isfinite(losses)) or not all(np.all(np.isfinite(v)) for v in model.get_weights()):
        raise FloatingPointError(f"Loss and weights must stay finite. Received: a loss of {losses[-1:]} in the last epoch of "
                                 f"{run_dir}; best.h5 holds the weights before. A lower learning rate may help.")
    model.save_weights(os.path.join(run_dir, name))


def keep_settings(run_dir, settings):
    """Writes the settings of a new run into its folder as `config.json`; a run that goes on must have the same.

    Args:
        run_dir: str, folder of the run.
        settings: dict for JSON.

    Raises:
        ValueError: if the folder's run was begun with other settings.
    """
    settings, kept = json.loads(json.dumps(settings)), read_settings(run_dir)
    if kept is not None and kept != settings:
        raise ValueError(f"A run must go on with the settings it began with, {kept}. Received: {settings}.")
    os.makedirs(run_dir, exist_ok=True)

    def write(temporary):
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(settings, file, indent=1)

    write_atomically(os.path.join(run_dir, "config.json"), write)


def read_settings(run_dir):
    """What `keep_settings` wrote, or None."""
    path = os.path.join(run_dir, "config.json")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)
