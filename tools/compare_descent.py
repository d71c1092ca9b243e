"""Compares HUND with L-BFGS on held-out poses: same evidence, objective and body (paper, Figures 3 and 4).

    python tools/compare_descent.py SCENES.npz --json FILE [--plots docs/images]

Reading F, K and B is left out for all alike: time starts when the evidence lies ready. HUND's time is that of its context
CNN, of every stage and of the objective at each state. The peer is L-BFGS of TensorFlow Probability, all rows of a batch
at once, its search compiled by XLA (--no-xla: a graph in which the geometry alone is compiled; with L_b always so: XLA
cannot compile the rasterizer, whose tiles have sizes known only at run time). It moves in steps that suit each unknown and
goes on after a failed line search.
Losses and errors are of one run in a batch; times of runs from the start to each number of iterations, medians.

FILE is written after every method and added to by later runs of the same scenes, preset, poses and seed, so that the whole
can be measured in pieces. L_b makes an evaluation some twenty times slower, and 100 iterations are about 1,350 evaluations;
fewer iterations, hybrids and times keep it short:

    python tools/compare_descent.py SCENES.npz --json FILE --objective full --part courses --iterations 20 --hybrids 5 --batch 100
    python tools/compare_descent.py SCENES.npz --json FILE --objective full --part times --iterations 20 --hybrids --timed 1
"""

import argparse
import json
import os
import platform
import shlex
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import hund_tf
from descent_methods import Methods
from hund_tf import cli_values, files, presets
from hund_tf.evaluation import held_out
from hund_tf.training import synthetic

TITLES = {"keypoints": "keypoints + priors", "full": "keypoints + parts + priors (all of L_u)"}
PARTS = ("courses", "times")
_SAME = ("preset", "poses", "seed")  # of all runs that one file holds, beside the scenes


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", help="scene file of held-out clips, of tools/make_scenes.py")
    parser.add_argument("--preset", default="body")
    parser.add_argument("--objective", choices=tuple(TITLES), action="append", help="default: keypoints, and full where the "
                        "preset has L_b")
    parser.add_argument("--part", choices=PARTS, action="append", help="default: both")
    parser.add_argument("--poses", type=int, default=100, help="the first of the file (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=100, help="of L-BFGS (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=20, help="rows of a batch where nothing is timed (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise on the evidence")
    parser.add_argument("--hybrids", type=int, nargs="*", metavar="I", help="stages before L-BFGS (default: all)")
    parser.add_argument("--timed", type=cli_values.count(1), default=5,
                        help="runs of which each time is the median (default: %(default)s)")
    parser.add_argument("--timed-batches", type=int, nargs="+", default=(1, 32), metavar="ROWS", help="default: 1 32")
    parser.add_argument("--timed-at", type=int, nargs="+", metavar="N", help="iterations (default: 1, 2, 3, 5 and so on)")
    parser.add_argument("--no-xla", action="store_true", help="do not compile the search itself")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plots", metavar="DIR", help="draw the figures here; needs matplotlib")
    options = parser.parse_args(arguments)
    command = "python tools/compare_descent.py " + shlex.join(sys.argv[1:] if arguments is None else arguments)
    try:
        result = begin(options)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    if held_out.needs_photos(options.preset):
        parser.error(f"scenes have evidence and no photos, so --preset must not need them. Received: --preset {options.preset}.")
    model = hund_tf.load_preset(options.preset)
    if options.objective is None:
        options.objective = list(TITLES)[:2 if model.hund.config.objective.part_map_size else 1]
    if "full" in options.objective and not model.hund.config.objective.part_map_size:
        parser.error(f"--objective full needs a preset with L_b. Received: {options.preset}, whose part_map_size is 0.")
    stages = model.hund.config.num_stages
    options.hybrids = tuple(range(1, stages + 1)) if options.hybrids is None else options.hybrids
    if not all(0 <= stage <= stages for stage in options.hybrids):
        parser.error(f"--hybrids must be stages from 0 to {stages}. Received: {options.hybrids}.")
    result["runs"].append({"command": command, "machine": _machine()})
    summary, truth = evidence(model, options)
    for kind in options.objective:
        methods = Methods(model.hund, kind, options.iterations, not options.no_xla)
        for _ in measure(methods, summary, truth, options, result["objectives"].setdefault(kind, {"title": TITLES[kind]})):
            if options.json:
                files.write_atomically(options.json, lambda temporary: _save(result, temporary))
        print(table(result["objectives"][kind]), flush=True)
    if options.plots:
        import descent_plots

        print("\n".join(descent_plots.draw(result, options.plots)))


def begin(options):
    """The result so far: empty, or that of an earlier run that looked at the same.

    Raises:
        ValueError: if the file is of other scenes or settings.
    """
    weights = os.path.join(presets.find(options.preset), "weights.h5")
    same = {"scenes": os.path.basename(options.scenes), **{name: getattr(options, name) for name in _SAME},
            "sha256_of_scenes": presets.sha256(options.scenes), "sha256_of_weights": presets.sha256(weights)}
    if not (options.json and os.path.exists(options.json)):
        return {**same, "runs": [], "objectives": {}}
    with open(options.json, encoding="utf-8") as file:
        before = json.load(file)
    other = [name for name in same if before.get(name) != same[name]]
    if other:
        raise ValueError(f"--json must be a new file, or one of the same {', '.join(same)}. Received: {options.json}, "
                         f"whose {other[0]} is {before.get(other[0])!r}.")
    return before


def evidence(model, options):
    """`EvidenceSummary` and true `ModelState` of the poses."""
    body = model.hund.body
    scenes = {name: values[:options.poses] for name, values in synthetic.load_scenes([options.scenes], body).items()}
    batches = synthetic.body_dataset(scenes, body, model.sensing.segmentation, batch_size=len(scenes["theta"]),
                                     seed=options.seed, shuffle=False)
    summary, labels = next(iter(batches))
    return summary, labels.state


def measure(methods, summary, truth, options, measured):
    """Fills `measured` and yields after each method."""
    parts = options.part or PARTS
    if "courses" in parts:
        for name, course in methods.courses(summary, truth, options.batch, options.hybrids):
            measured.setdefault("courses", {})[name] = course
            yield
    for size in options.timed_batches if "times" in parts else ():
        if size <= len(summary.intrinsics):
            for name, times in methods.times(summary, size, options.timed, options.hybrids, options.timed_at):
                measured.setdefault("times", {}).setdefault(f"batch {size}", {})[name] = times
                yield


def table(measured):
    """What each method ends with, as a Markdown table; empty where something was not measured."""
    courses, times = measured.get("courses", {}), measured.get("times", {})
    lines = [f"**{measured['title']}**", "", "| method | loss, mean (median) | lower than HUND | angle, degrees | MPJPE mm | "
             f"PA-MPJPE mm | {' | '.join(f'ms an image, {size}' for size in times)}{' |' if times else ''}",
             "|---" * (6 + len(times)) + "|"]
    for name in dict.fromkeys([*courses, *(name for timed in times.values() for name in timed)]):
        cells = [name, "", "", "", "", ""]
        if name in courses:
            course, hund = courses[name], np.array(courses["HUND"]["loss_each_last"])
            lower = f"{np.mean(np.array(course['loss_each_last']) < hund):.0%}" if name != "HUND" else ""
            cells = [f"{name}, {course['iterations'][-1]}", f"{course['loss'][-1]:.3f} ({course['loss_median'][-1]:.3f})", lower,
                     *(f"{course[key][-1]:.1f}" for key in ("joint_angle_deg", "mpjpe_mm", "pa_mpjpe_mm"))]
        cells += [f"{timed[name]['ms_an_image'][-1]:.1f}" if name in timed else "" for timed in times.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _save(result, path):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)


def _machine():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cores": cores, "processor": platform.machine(), "python": platform.python_version(), "load": os.getloadavg()[0]}


if __name__ == "__main__":
    main()
