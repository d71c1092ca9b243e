"""Times of an export: its start as a server, and `reconstruct_crops` beside Python eager and `model.predict`."""

import tempfile
import time

import numpy as np
import tensorflow as tf
from benchmark_timing import entry, medians

import hund_tf
from hund_tf.export import saved_model
from hund_tf.serving import warmup
from hund_tf.serving.servable import Servable

_BATCHES = (1, 8, 32)
_SAME_M = 1e-3  # vertices of two that do the same work are as near as this, metres
_OUTPUTS = ("keypoints3d", "vertices")


def measure(folder, preset, repeats):
    """List of `entry`.

    Args:
        folder: str, of a version of an export of `preset`; None: it is exported first, which is timed too.
        preset: str.
        repeats: int, counted runs of each.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as out:
            start = time.perf_counter()
            made = saved_model.export(preset, out)
            return [entry("export: hund export", _since(start)), *_measure_folder(made, preset, repeats)]
    return _measure_folder(folder, preset, repeats)


def _measure_folder(folder, preset, repeats):
    start = time.perf_counter()
    servable = Servable(folder, 1)
    entries, start = [entry("export: load", _since(start))], time.perf_counter()
    warmup.replay(servable)
    entries.append(entry("export: warm-up", _since(start)))
    for name, inputs in saved_model.warmup_inputs().items():
        if name != "describe":
            ask = _asked(servable, name, inputs)
            start = time.perf_counter()
            ask()
            first = _since(start)
            entries.append(entry(f"export: {name}, first after warm-up", first, "then", medians({"": ask}, repeats)[""]))
    whole = Whole(hund_tf.load_preset(preset))
    ask, pair = _crops(servable, 1)
    check_same(lambda: ask()["vertices"], lambda: whole(pair)["vertices"].numpy())
    for batch in _BATCHES:
        entries += _measure_crops(servable, whole, batch, repeats)
    return entries


def _measure_crops(servable, whole, batch, repeats):
    ask, pair = _crops(servable, batch)
    times = medians({"ours": ask,
                     "Python eager": lambda: whole(pair)["vertices"].numpy(),
                     "model.predict": lambda: whole.predict(pair, batch_size=batch, verbose=0)}, repeats)
    ours = times.pop("ours")
    return [{**entry(f"export: reconstruct_crops, batch {batch}", ours, peer, time_ms),
             "people_per_second": [1000 * batch / ours, 1000 * batch / time_ms]} for peer, time_ms in times.items()]


def check_same(ours, whole):
    """Both must do the same work.

    Args:
        ours, whole: functions without arguments; the vertices of the same crops, in metres.

    Raises:
        RuntimeError: if they differ by more than a millimetre.
    """
    apart = float(np.max(np.abs(ours() - whole())))
    if not apart <= _SAME_M:
        raise RuntimeError("The export must be one of the preset that it is measured beside: the same vertices to "
                           f"{_SAME_M} m. Received: {apart:.2g} m.")


class Whole(tf.keras.Model):
    """Crops `[B, 480, 480, 3]` and intrinsics `[B, 4]` to posed people, as an export does it: a dict of outputs."""

    def __init__(self, reconstructor):
        super().__init__()
        self._reconstructor = reconstructor

    def call(self, inputs):
        crops, intrinsics = inputs
        sensing, hund = self._reconstructor.sensing, self._reconstructor.hund
        landmarks = sensing.find_landmarks(crops)
        descent = hund(sensing.describe(landmarks, intrinsics))
        state, _ = self._reconstructor.complete(descent.reports[-1].state, landmarks, intrinsics)
        body = hund.body(state, mesh="full")
        return {"keypoints3d": body.keypoints, "vertices": body.vertices}


def _crops(servable, batch):
    """Function that asks the export for so many crops, and the same crops and intrinsics as tensors."""
    one = saved_model.warmup_inputs()["reconstruct_crops"]
    inputs = {name: np.repeat(values, batch, 0) for name, values in one.items()}
    return _asked(servable, "reconstruct_crops", inputs), tuple(map(tf.constant, inputs.values()))


def _asked(servable, name, inputs):
    signature = servable.signature(name)
    feeds = signature.completed(dict(inputs))
    return lambda: servable.run(signature, feeds, signature.wanted(_OUTPUTS))


def _since(start):
    return 1000 * (time.perf_counter() - start)
