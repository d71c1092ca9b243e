"""A function that asks a server in, what came of every request of many clients out: times, statuses, throughput."""

import collections
import concurrent.futures
import threading
import time
from typing import NamedTuple

import numpy as np

from hund_tf.client import HundServerError

PAUSE_S = 0.05  # of a client whose request failed: a server that refuses at once is not asked a thousand times a second


class Outcome(NamedTuple):
    """What came of requests.

    Attributes:
        ends: `[N]`, seconds from the start to each answer, sorted.
        times: `[N]`, seconds each answer took.
        errors: `Counter`, requests without an answer by the name of their status.
        seconds: float, from the start to the last answer or error.
    """

    ends: np.ndarray
    times: np.ndarray
    errors: collections.Counter
    seconds: float

    def report(self, rows):
        """Dict of numbers, for requests of so many rows (people or photos) each."""
        p50, p95, p99 = (1000 * np.percentile(self.times, [50, 95, 99])).tolist() if len(self.times) else (None,) * 3
        return {"requests": len(self.times) + sum(self.errors.values()),
                "rows_per_second": rows * len(self.times) / self.seconds,
                "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "errors": dict(self.errors)}

    def longest_pause(self):
        """Seconds from the start, or one answer, to the next, or the end, at most."""
        return float(np.diff(self.ends, prepend=0, append=self.seconds).max())


class Progress:
    """Counts that others may read while the clients are at work."""

    def __init__(self):
        self.stop = threading.Event()
        self._lock, self._answers, self._errors, self._start = threading.Lock(), [], collections.Counter(), time.monotonic()

    def counts(self):
        """(answers, errors) so far."""
        with self._lock:
            return len(self._answers), sum(self._errors.values())

    def outcome(self):
        with self._lock:
            ends, times = np.array(sorted(self._answers) or np.zeros([0, 2])).T
            return Outcome(ends, times, self._errors, time.monotonic() - self._start)

    def ask(self, ask, end):
        """One client: asks once, and again until the time `end`."""
        start = time.monotonic()
        while True:
            try:
                ask()
            except HundServerError as error:
                with self._lock:
                    self._errors[error.code.name] += 1
                self.stop.wait(PAUSE_S)
            else:
                now = time.monotonic()
                with self._lock:
                    self._answers.append((now - self._start, now - start))
            start = time.monotonic()
            if start >= end or self.stop.is_set():
                return


def drive(ask, clients, seconds, watch=None):
    """Lets clients ask at the same time, each one request after the other.

    Args:
        ask: function without arguments, returns when the answer is there, raises `HundServerError`.
        clients: int, threads.
        seconds: float; requests under way then are waited for.
        watch: function of `Progress`, called beside them; it may end them by `stop`.

    Returns:
        `Outcome`.
    """
    progress = Progress()
    end = time.monotonic() + seconds
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        working = [pool.submit(progress.ask, ask, end) for _ in range(clients)]
        try:
            if watch is not None:
                watch(progress)
            for one in working:
                one.result()
        finally:
            progress.stop.set()
    return progress.outcome()


def merged(outcomes):
    """One `Outcome` of several, one after the other."""
    starts = np.cumsum([0.0, *(outcome.seconds for outcome in outcomes)])
    return Outcome(np.concatenate([outcome.ends + start for outcome, start in zip(outcomes, starts)]),
                   np.concatenate([outcome.times for outcome in outcomes]),
                   sum((outcome.errors for outcome in outcomes), collections.Counter()), float(starts[-1]))
