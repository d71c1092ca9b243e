"""HUND and L-BFGS on one objective: evidence in; losses, errors and times of each method, one after the other, out.

tools/compare_descent.py says how they are compared.
"""

import time

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hund_tf.evaluation import metrics
from hund_tf.fitting import lbfgs, starts
from hund_tf.geometry import rotations
from hund_tf.geometry.soft_rasterizer import SoftRasterizer
from hund_tf.losses.objective import BodyObjective
from hund_tf.networks.context_encoder import EvidenceSummary
from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.training.regimes import LIMBS

BODY_JOINTS = slice(1, 22)
_HIPS = (LIMBS.index(1), LIMBS.index(2))


def marks(iterations):
    """Numbers of iterations at which states are looked at: 0, 1, 2, 3, 5, 7, 10, 15 and so on to `iterations`."""
    return sorted({n for n in (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500) if n < iterations}
                  | {0, iterations})


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

    def courses(self, summary, truth, batch, hybrids):
        """Yields each method's name and its course, means over the poses.

        Args:
            summary: `EvidenceSummary`.
            truth: `ModelState`.
            batch: int, rows at a time.
            hybrids: numbers of stages before L-BFGS.

        Yields:
            `(name, course)`: loss, angle and joint errors, dict of lists with one entry a mark.
        """
        rows = [slice(first, first + batch) for first in range(0, len(summary.intrinsics), batch)]
        parts = [[type(x)(*(field[some] for field in x)) for x in (summary, truth)] for some in rows]
        descents = [self._descend(part, self.hund.config.num_stages)[:2] for part, _ in parts]
        begin = {"HUND": None, **self._begin(hybrids)}
        for name in tqdm(begin, desc="courses", disable=None):
            found = []
            for (part, part_truth), (states, losses) in zip(parts, descents):
                numbers = range(len(states))
                if begin[name] is not None:
                    course, numbers = self._trace(begin[name](part, states), part), self.marks
                    states, losses = tf.gather(course.positions, numbers), tf.gather(course.losses, numbers)
                errors = np.stack([self._errors(state, part, part_truth) for state in states])  # [marks, 3, rows]
                found.append(np.concatenate([np.asarray(losses)[:, None], errors], axis=1))
            yield name, _course(numbers, np.concatenate(found, axis=2))

    def times(self, summary, size, runs, hybrids, at=None):
        """Yields each method's name and its times.

        Args:
            summary: `EvidenceSummary`.
            size: int, rows of a batch.
            runs: int, of which each time is the median.
            hybrids: numbers of stages before L-BFGS.
            at: numbers of iterations; all marks if None.

        Yields:
            `(name, times)`: milliseconds an image from the evidence to each state, dict of lists.
        """
        rows = [tf.range(i * size, (i + 1) * size) % len(summary.intrinsics) for i in range(runs)]
        parts = [EvidenceSummary(*(tf.gather(field, r) for field in summary)) for r in rows]
        stages, at = self.hund.config.num_stages, sorted(set(at or self.marks[1:]))
        self._descend(parts[0], stages)  # traced and compiled
        descents = [self._descend(part, stages) for part in parts]
        taken = np.median([seconds for _, _, seconds in descents], axis=0) * 1000 / size
        yield "HUND", {"iterations": list(range(stages + 1)), "ms_an_image": taken.tolist()}
        before = {"L-BFGS, A-pose": 0.0, "L-BFGS, s_0": taken[0], **{_hybrid(i): taken[i] for i in hybrids}}
        self._minimize(self._a_pose(parts[0]), parts[0], tf.constant(2))
        for name, start_of in tqdm(self._begin(hybrids).items(), desc=f"times, batch {size}", disable=None):
            found = []
            for part, (states, _, _) in zip(parts, descents):
                start = start_of(part, states)
                found.append([_seconds(lambda n=n: self._minimize(start, part, tf.constant(n)).loss.numpy()) for n in at])
            after = np.median(found, axis=0) * 1000 / size
            yield name, {"iterations": [0, *at], "ms_an_image": [before[name], *(before[name] + after).tolist()]}

    def _begin(self, hybrids):
        """Where L-BFGS starts: name -> callable of evidence and HUND's states."""
        return {"L-BFGS, A-pose": lambda part, states: self._a_pose(part), "L-BFGS, s_0": lambda part, states: states[0],
                **{_hybrid(i): lambda part, states, i=i: states[i] for i in hybrids}}

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


def _hybrid(stages):
    return f"HUND({stages}) + L-BFGS"


def _course(numbers, values):
    """Values `[marks, 4, poses]` as lists by name."""
    loss, angle, mpjpe, pa_mpjpe = values.transpose(1, 0, 2)
    return {"iterations": list(numbers), "loss": loss.mean(1).tolist(), "loss_median": np.median(loss, 1).tolist(),
            "loss_one": loss[:, 0].tolist(), "joint_angle_deg": angle.mean(1).tolist(), "mpjpe_mm": mpjpe.mean(1).tolist(),
            "pa_mpjpe_mm": pa_mpjpe.mean(1).tolist(), "loss_each_last": loss[-1].tolist()}


def _joint_errors(pair):
    return np.array([metrics.mpjpe_mm(*pair, root=_HIPS), metrics.pa_mpjpe_mm(*pair)], np.float32)


def _seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
