"""Compares HUND with L-BFGS on held-out poses: same evidence, objective and body (paper, Figures 3 and 4).

    python tools/compare_descent.py SCENES.npz [--objective keypoints] [--json FILE] [--plots docs/images]

Reading F, K and B is left out for all alike: time starts when the evidence lies ready. HUND's time is that of its context
CNN, of every stage and of the objective at each state. The peer is L-BFGS of TensorFlow Probability, all rows of a batch
at once, its search compiled by XLA (--no-xla: a graph in which the geometry alone is compiled; with L_b always so: XLA
cannot compile the rasterizer, whose tiles have sizes known only at run time). It moves in steps that suit each unknown and
goes on after a failed line search.
Losses and errors are of one run in a batch; times of runs from the start to each number of iterations, medians.
"""

import argparse
import json
import os
import platform
import shlex
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tqdm import tqdm

import hund_tf
from hund_tf.evaluation import metrics
from hund_tf.fitting import lbfgs, starts
from hund_tf.geometry import rotations
from hund_tf.geometry.soft_rasterizer import SoftRasterizer
from hund_tf.losses.objective import BodyObjective
from hund_tf.networks.context_encoder import EvidenceSummary
from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.training import synthetic
from hund_tf.training.regimes import LIMBS

TITLES = {"keypoints": "keypoints + priors", "full": "keypoints + parts + priors (all of L_u)"}
BODY_JOINTS = slice(1, 22)
_HIPS = (LIMBS.index(1), LIMBS.index(2))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", help="scene file of held-out clips, of tools/make_scenes.py")
    parser.add_argument("--preset", default="body")
    parser.add_argument("--objective", choices=tuple(TITLES), action="append", help="default: both")
    parser.add_argument("--poses", type=int, default=100, help="the first of the file (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=100, help="of L-BFGS (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=20, help="rows of a batch where nothing is timed (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise on the evidence")
    parser.add_argument("--hybrids", type=int, nargs="*", default=(1, 2, 3, 4, 5), metavar="I", help="stages before L-BFGS")
    parser.add_argument("--timed", type=int, default=5, help="runs of which each time is the median; 0: no times")
    parser.add_argument("--no-xla", action="store_true", help="do not compile the search itself")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plots", metavar="DIR", help="draw the figures here; needs matplotlib")
    options = parser.parse_args(arguments)
    command = "python tools/compare_descent.py " + shlex.join(sys.argv[1:] if arguments is None else arguments)
    model = hund_tf.load_preset(options.preset)
    scenes = synthetic.load_scenes([options.scenes], model.hund.body)
    scenes = {name: values[:options.poses] for name, values in scenes.items()}
    poses = len(scenes["theta"])
    batches = synthetic.body_dataset(scenes, model.hund.body, model.sensing.segmentation, batch_size=poses,
                                     seed=options.seed, shuffle=False)
    summary, labels = next(iter(batches))
    truth = labels.state
    result = {"command": command, "machine": _machine(), "poses": poses, "objectives": {}}
    for kind in options.objective or TITLES:
        methods = Methods(model.hund, kind, options.iterations, not options.no_xla)
        measured = {"title": TITLES[kind], "courses": methods.courses(summary, truth, options)}
        if options.timed:
            measured["times"] = {f"batch {size}": methods.times(summary, size, options) for size in (1, 32) if size <= poses}
        result["objectives"][kind] = measured
        print(table(measured), flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    if options.plots:
        import descent_plots

        print("\n".join(descent_plots.draw(result, options.plots)))


class Methods:
    """HUND and L-BFGS on one objective.

    Args:
        hund: `HundBody`, with weights.
        kind: "keypoints" or "full".
        iterations: int, of L-BFGS.
        compile_search: bool, whether XLA compiles the whole search where the objective has no L_b.
    """

    def __init__(self, hund, kind, iterations, compile_search):
        self.hund, self.marks = hund, marks(iterations)
        full = kind == "full"
        config = hund.config.objective
        rasterizer = SoftRasterizer(config.part_map_size) if full else None
        self.objective = BodyObjective(hund.body, hund.codec, config, rasterizer, **({"wrap": self._compiled} if full else {}))
        compiled = dict(jit_compile=True, autograph=False)
        plain = dict(autograph=False)
        self._loss = self._loss_of_state if full else tf.function(self._loss_of_state, **compiled)
        self._encode = tf.function(self._encode_eagerly, **plain)
        self._judge = tf.function(self.objective.__call__, **(plain if full else compiled))
        self._stage = tf.function(self._stage_eagerly, **(plain if full else compiled))
        self._trace = tf.function(lambda start, summary: self._search(lbfgs.trace, self._loss, start, summary, iterations),
                                  **plain)
        whole = compile_search and not full
        loss = self._loss_of_state if whole else self._loss
        self._minimize = tf.function(lambda start, summary, n: self._search(lbfgs.minimize, loss, start, summary, n),
                                     **(compiled if whole else plain))
        self._errors = tf.function(self._errors_eagerly, **plain)

    @staticmethod
    def _compiled(function):
        return tf.function(function, jit_compile=True, autograph=False)

    def courses(self, summary, truth, options):
        """Loss, angle and joint errors of each method: dict of dict of lists, one entry a mark, means over the poses."""
        found = {}
        count = len(summary.intrinsics)
        for first in tqdm(range(0, count, options.batch), desc="courses", disable=None):
            rows = slice(first, first + options.batch)
            part, part_truth = (type(x)(*(field[rows] for field in x)) for x in (summary, truth))
            for name, states, losses, numbers in self._run(part, options.hybrids):
                errors = np.stack([self._errors(state, part, part_truth) for state in states])  # [marks, 3, rows]
                values = np.concatenate([np.asarray(losses)[:, None], errors], axis=1)
                found.setdefault(name, (numbers, []))[1].append(values)
        lines = {}
        for name, (numbers, parts) in found.items():
            loss, angle, mpjpe, pa_mpjpe = np.concatenate(parts, axis=2).transpose(1, 0, 2)  # each [marks, poses]
            lines[name] = {"iterations": list(numbers), "loss": loss.mean(1).tolist(), "loss_median": np.median(loss, 1).tolist(),
                           "loss_one": loss[:, 0].tolist(), "joint_angle_deg": angle.mean(1).tolist(),
                           "mpjpe_mm": mpjpe.mean(1).tolist(), "pa_mpjpe_mm": pa_mpjpe.mean(1).tolist(),
                           "loss_each_last": loss[-1].tolist()}
        return lines

    def times(self, summary, size, options):
        """Cumulative milliseconds an image from the evidence to each state, medians: dict of dict of lists."""
        rows = [tf.range(i * size, (i + 1) * size) % len(summary.intrinsics) for i in range(options.timed)]
        parts = [EvidenceSummary(*(tf.gather(field, r) for field in summary)) for r in rows]
        stages = self.hund.config.num_stages
        self._descend(parts[0], stages)  # traced and compiled
        taken = np.median([self._descend(part, stages)[2] for part in parts], axis=0) * 1000 / size
        lines = {"HUND": {"iterations": list(range(stages + 1)), "ms_an_image": taken.tolist()}}
        starts_of = {"L-BFGS, A-pose": (0.0, self._a_pose), "L-BFGS, s_0": (taken[0], lambda p: self._descend(p, 0)[0][-1])}
        starts_of.update({f"HUND({i}) + L-BFGS": (taken[i], lambda p, i=i: self._descend(p, i)[0][-1])
                          for i in options.hybrids})
        self._minimize(self._a_pose(parts[0]), parts[0], tf.constant(2))
        for name, (before, start_of) in tqdm(starts_of.items(), desc=f"times, batch {size}", disable=None):
            runs = []
            for part in parts:
                start = start_of(part)
                runs.append([_seconds(lambda n=n: self._minimize(start, part, tf.constant(n)).loss.numpy())
                             for n in self.marks[1:]])
            runs = np.median(runs, axis=0) * 1000 / size
            lines[name] = {"iterations": self.marks, "ms_an_image": [before, *(before + runs)]}
        return lines

    def _run(self, summary, hybrids):
        """Yields name, states, losses and their numbers of each method on one batch."""
        states, losses, _ = self._descend(summary, self.hund.config.num_stages)
        yield "HUND", states, losses, range(len(states))
        begin = {"L-BFGS, A-pose": self._a_pose(summary), "L-BFGS, s_0": states[0],
                 **{f"HUND({i}) + L-BFGS": states[i] for i in hybrids}}
        for name, start in begin.items():
            course = self._trace(start, summary)
            yield name, tf.gather(course.positions, self.marks), tf.gather(course.losses, self.marks), self.marks

    def _descend(self, summary, stages):
        """HUND as it runs in use: states, losses and the seconds that had passed at each, after the evidence."""
        start = time.perf_counter()
        context, state = self._encode(summary)
        memory = self.hund.neural_descent.cell.initial_memory(len(state))
        report = self._judge(state, summary)
        states, losses, taken = [state], [report.loss.numpy()], [time.perf_counter() - start]
        for _ in range(stages):
            state, memory, report = self._stage(state, memory, report.feedback, context, summary)
            states.append(state)
            losses.append(report.loss.numpy())
            taken.append(time.perf_counter() - start)
        return states, losses, taken

    def _a_pose(self, summary):
        return tf.tile(starts.a_pose(self.hund.body, self.hund.codec), [len(summary.intrinsics), 1])

    def _encode_eagerly(self, summary):
        return self.hund.context_encoder(summary, self.hund.codec.initial(tf.shape(summary.intrinsics)[0]))

    def _stage_eagerly(self, state, memory, feedback, context, summary):
        state, memory = self.hund.neural_descent.cell(state, memory, feedback, context)
        return state, memory, self.objective(state, summary)

    def _loss_of_state(self, packed, summary):
        return self.objective(packed, summary).loss

    @staticmethod
    def _search(search, loss, start, summary, iterations):
        return search(lambda x: loss(x, summary), start, iterations, scale=starts.natural_steps())

    def _errors_eagerly(self, packed, summary, truth):
        """Joint angles (degrees), MPJPE and PA-MPJPE (mm) against the truth: `[3, B]`."""
        state = self.hund.codec.unpack(packed, summary.intrinsics, CROP_SIZE)
        found, true = (self.hund.body(x, mesh=None) for x in (state, truth))
        turns, true_turns = (tf.concat([rotations.matrix_from_6d(s.rotation)[:, None], b.joint_rotations[:, BODY_JOINTS]], 1)
                             for s, b in ((state, found), (truth, true)))
        trace = tf.einsum("bjik,bjik->bj", turns, true_turns)
        angle = tf.reduce_mean(tf.acos(tf.clip_by_value((trace - 1) / 2, -1.0, 1.0)), -1) * (180 / np.pi)
        joints = tf.stack([tf.gather(b.joints, LIMBS, axis=1) for b in (found, true)], 1)
        errors = tf.map_fn(lambda pair: tf.numpy_function(_joint_errors, [pair], tf.float32), joints)
        return tf.stack([angle, errors[:, 0], errors[:, 1]])


def marks(iterations):
    """Numbers of iterations at which states are looked at: 0, 1, 2, 3, 5, 7, 10, 15 and so on to `iterations`."""
    return sorted({n for n in (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500) if n < iterations}
                  | {0, iterations})


def table(measured):
    """What each method ends with, as a Markdown table."""
    lines = [f"**{measured['title']}**", "", "| method | loss, mean (median) | lower than HUND | angle, degrees | MPJPE mm | "
             "PA-MPJPE mm | ms an image, batch 1 | batch 32 |", "|---|---|---|---|---|---|---|---|"]
    hund = np.array(measured["courses"]["HUND"]["loss_each_last"])
    for name, course in measured["courses"].items():
        lower = f"{np.mean(np.array(course['loss_each_last']) < hund):.0%}" if name != "HUND" else ""
        times = [f"{times[name]['ms_an_image'][-1]:.1f}" if name in times else "" for times in (
            measured.get("times", {}).get(f"batch {size}", {}) for size in (1, 32))]
        lines.append(f"| {name}, {course['iterations'][-1]} | {course['loss'][-1]:.3f} ({course['loss_median'][-1]:.3f}) | "
                     f"{lower} | {course['joint_angle_deg'][-1]:.1f} | {course['mpjpe_mm'][-1]:.1f} | "
                     f"{course['pa_mpjpe_mm'][-1]:.1f} | {' | '.join(times)} |")
    return "\n".join(lines) + "\n"


def _joint_errors(pair):
    return np.array([metrics.mpjpe_mm(*pair, root=_HIPS), metrics.pa_mpjpe_mm(*pair)], np.float32)


def _seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _machine():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cores": cores, "processor": platform.machine(), "python": platform.python_version(), "load": os.getloadavg()[0]}


if __name__ == "__main__":
    main()
