"""Measures speed: the body and the rasterizer beside their peers, one photo from a cold start and part by part, an export.

    python tools/benchmark.py [PHOTO] [--part geometry|photo|export] [--max-people 1] [--export FOLDER] [--repeats 20] [--json FILE]

The peers of the body are PyTorch packages of the `benchmark` extra; without them those times stay empty.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import platform
import shlex
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# PyTorch's threads wait for each other by spinning, several times slower where others use the cores too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import benchmark_peers

from hund_tf import cli

_NOTES = """\
Ours: body forward and keypoints under XLA (`tf.function(jit_compile=True)`), the body's gradient and the rasterizer in a
plain `tf.function`; `_graph` and `_xla` are the other way. `_dense`: beside dense skinning in PyTorch. Each peer does the
same work in the same run, in turns; of the dense rasterizer a part of the strips is timed and scaled up.
"""
# Not measured in this run: PyTorch3D has no package for this Python. CPU build with torch 2.13, our low and full mesh.
_RECORDED = """\
PyTorch3D's soft rasterizer on 2 cores, recorded, not measured in this run (other sigma and coverage, so no ratio):

| mesh, picture, batch, faces per pixel | forward, s | with gradient, s |
|---|---|---|
| low, 60x60, 32, 10 | 2.1 | 14.9 |
| low, 60x60, 32, 50 | 3.9 | 28 |
| full, 60x60, 1, 50 | 0.76 | 2.7 |
| full, 240x240, 1, 50 | 6.2 | 27 |
"""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", default=cli.SAMPLE, help="default: the sample photo")
    parser.add_argument("--part", choices=("geometry", "photo", "export"), help="default: all")
    parser.add_argument("--export", metavar="FOLDER", help="of a version of an export of the preset; default: one is made")
    parser.add_argument("--preset", default="person", help="name or folder (default: %(default)s)")
    parser.add_argument("--max-people", type=_count, default=1, help="0: all (default: %(default)s)")
    parser.add_argument("--repeats", type=_positive, default=20)
    parser.add_argument("--no-cold", action="store_true", help="leave the cold start out")
    parser.add_argument("--json", metavar="FILE", help="also write the times here")
    options = parser.parse_args(arguments)
    if options.part in (None, "photo") and not os.path.isfile(options.photo):
        parser.error(f"PHOTO must be a file. Received: {options.photo}")
    if options.export is not None and not os.path.isfile(os.path.join(options.export, "saved_model.pb")):
        parser.error(f"--export must be a folder of a version, with saved_model.pb. Received: {options.export}")
    if options.export is not None and options.part not in (None, "export"):
        parser.error(f"--export must go with --part export, or with all parts. Received: --part {options.part}")
    command = "python tools/benchmark.py " + shlex.join(sys.argv[1:] if arguments is None else arguments)
    print(f"`{command.strip()}` on {_machine()}\n")
    entries = []
    if options.part in (None, "geometry"):
        missing = benchmark_peers.missing_packages()
        if missing:
            print(f"Not installed: {', '.join(missing)}. Those times stay empty; they need: {benchmark_peers.EXTRA}\n")
        entries += measure_geometry(options.repeats)
    if options.part in (None, "photo"):
        entries += measure_photo(options.photo, options.preset, options.max_people, options.repeats,
                                 not options.no_cold)
    if options.part in (None, "export"):
        entries += measure_export(options.export, options.preset, options.repeats)
    print(table(entries))
    if options.part in (None, "geometry"):
        print(_NOTES)
        print(_RECORDED)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(entries, file, indent=1)


def measure_geometry(repeats):
    """Entries of body, rasterizer and a step's memory."""
    return [*_in_new_process(_body_and_rasterizer, repeats), _in_new_process(_memory, repeats)]


def measure_photo(*arguments):
    """Entries of one photo, see `benchmark_photo.measure`."""
    return _in_new_process(_photo, *arguments)


def measure_export(*arguments):
    """Entries of an export, see `benchmark_export.measure`."""
    return _in_new_process(_export, *arguments)


def table(entries):
    """The entries as a Markdown table."""
    lines = ["| part | ours, ms | peer | peer, ms | ratio |", "|---|---|---|---|---|"]
    for line in entries:
        peer_ms, ratio = ("" if line[key] is None else f"{line[key]:.1f}" for key in ("peer_ms", "ratio"))
        lines.append(f"| {line['name']} | {line['ours_ms']:.1f} | {line['peer'] or ''} | {peer_ms} | {ratio} |")
    memory = [f"Peak memory of {line['name']}: {line['peak_memory_mib']:.0f} MiB" for line in entries
              if "peak_memory_mib" in line]
    throughput = ["{name}: {people_per_second[0]:.1f} people/s, {peer} {people_per_second[1]:.1f}".format(**line)
                  for line in entries if "people_per_second" in line]
    return "\n".join([*lines, "", *memory, *throughput])


def _body_and_rasterizer(repeats):
    import benchmark_geometry

    return benchmark_geometry.measure(repeats)


def _memory(repeats):
    import benchmark_memory

    return benchmark_memory.measure(repeats)


def _photo(*arguments):
    import benchmark_photo

    return benchmark_photo.measure(*arguments)


def _export(*arguments):
    import benchmark_export

    return benchmark_export.measure(*arguments)


def _in_new_process(function, *arguments):
    """One part must not see the threads, memory and libraries of another."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def _positive(text):
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1. Received: {text}")
    return int(text)


def _count(text):
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"must not be negative. Received: {text}")
    return int(text)


def _machine():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    return f"{cores} cores, {platform.machine()}, Python {platform.python_version()}, load before it {load:.1f}"


if __name__ == "__main__":
    main()
