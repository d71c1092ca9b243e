"""Times of one photo: a cold start of the command to the first files, then every part in a warm process."""

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmark_timing import entry, medians

from hund_tf import images, outputs, presets

_WARM_UP = 3  # runs that are not counted: graphs are traced in the first


def measure(photo, preset, max_people, repeats, cold=True):
    """List of `entry`: with `cold`, the parts of the first photo in a new process; the parts in a warm one; of a person's preset,
    the whole call beside that of its body alone."""
    entries = []
    if cold:
        entries += [entry(f"photo, cold: {name}", 1000 * seconds)
                    for name, seconds in measure_cold_start(photo, preset, max_people).items()]
    people, parts = measure_parts(photo, preset, max_people, repeats)
    entries += [entry(f"photo, people {people}: {name}", 1000 * seconds) for name, seconds in parts.items()]
    return entries + measure_beside_body(photo, preset, max_people, repeats)


def measure_beside_body(photo, preset, max_people, repeats):
    """A person's preset and that of its body alone, in turns, on one photo; none of another preset."""
    import hund_tf

    model = hund_tf.load_preset(preset)
    if model.parts is None:
        return []
    body = hund_tf.load_preset(presets.read_members(presets.find(preset))[presets.BODY])
    pixels = images.read_image(photo)
    calls = {name: functools.partial(which.reconstruct, pixels, max_people=max_people or None)
             for name, which in (("person", model), ("body", body))}
    people, times = len(calls["person"]().people), medians(calls, repeats, seconds=120.0)
    return [entry(f"photo, people {people}: whole person beside the body alone", times["person"], "body alone", times["body"])]


def measure_cold_start(photo, preset, max_people):
    """Seconds of `hund reconstruct` in a new process, from its start to its end, and of each part: dict."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hund_tf.cli", "reconstruct", photo, "--preset", preset, "--output", folder]
        start = time.perf_counter()
        subprocess.run(command + (["--max-people", str(max_people)] if max_people else []), stdout=subprocess.DEVNULL,
                       check=True)
        total = time.perf_counter() - start
        (name,) = (file for file in os.listdir(folder) if file.endswith(".json"))
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            parts = json.load(file)["timings"]
    rest = total - sum(parts.values())
    return {"start, imports, loading, writing, end": rest, **parts, "the whole command": total}


def measure_parts(photo, preset, max_people, repeats):
    """Median seconds of each part of one photo in a warm process: `(number of people, dict)`."""
    import hund_tf

    hund_tf.start_quickly()
    model = hund_tf.load_preset(preset)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(_WARM_UP + repeats):
            times = {}
            clock = _Lap()
            pixels = images.read_image(photo)
            times["read photo"] = clock.lap()
            result = model.reconstruct(pixels, max_people=max_people or None)
            whole = clock.lap()
            times.update(result.timings)
            times["reconstruct, whole call"] = whole
            outputs.draw(result, pixels)
            times["draw overlay"] = clock.lap()
            outputs.write(result, pixels, folder, "x", photo, model.names, preset, ("json",))
            times["write JSON"] = clock.lap()
            outputs.write(result, pixels, folder, "x", photo, model.names, preset, ("glb",))
            times["write GLB"] = clock.lap()
            times["photo to files, all"] = sum(times[name] for name in (
                "read photo", "reconstruct, whole call", "draw overlay", "write JSON", "write GLB"))
            runs.append(times)
    counted = runs[_WARM_UP:]
    return len(result.people), {name: statistics.median(run[name] for run in counted) for name in counted[0]}


class _Lap:
    def __init__(self):
        self._last = time.perf_counter()

    def lap(self):
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds
