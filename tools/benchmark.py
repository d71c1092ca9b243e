"""Measures speed: a cold start to the first files, then every part of one photo, median over repeats.

    python tools/benchmark.py [PHOTO] [--max-people 1] [--repeats 20]
"""

import argparse
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from hund_tf import cli, images, outputs

_WARM_UP = 3  # runs that are not counted: graphs are traced in the first


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", default=cli.SAMPLE, help="default: the sample photo")
    parser.add_argument("--preset", default="body")
    parser.add_argument("--max-people", type=int, default=1, help="0: all (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--no-cold", action="store_true", help="leave the cold start out")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers here")
    options = parser.parse_args(arguments)
    command = "python tools/benchmark.py " + shlex.join(sys.argv[1:] if arguments is None else arguments)
    print(f"`{command.strip()}` on {_machine()}\n")
    numbers = {}
    if not options.no_cold:
        numbers["cold"] = measure_cold_start(options.photo, options.preset, options.max_people)
        print(_table("cold start: `hund reconstruct`", numbers["cold"], 2, "s"))
    people, parts = measure_parts(options.photo, options.preset, options.max_people, options.repeats)
    numbers["people"], numbers["parts"] = people, parts
    milliseconds = {name: 1000 * seconds for name, seconds in parts.items()}
    print(_table(f"one photo, {people} people, median of {options.repeats}", milliseconds, 1, "ms"))
    numbers["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    print(f"Peak memory: {numbers['peak_memory_mib']:.0f} MiB")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"command": command, "machine": _machine(), **numbers}, file, indent=1)


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


def _table(title, values, digits, unit):
    lines = [f"| {title} | {unit} |", "|---|---|"]
    lines += [f"| {name} | {value:.{digits}f} |" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def _machine():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores, {platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
