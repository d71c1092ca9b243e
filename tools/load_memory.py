"""The number of a process in, its resident memory over time out, and how fast that grows."""

import csv
import os
import time

import numpy as np

MIB = 2**20
_STATM = "/proc/{}/statm"


def resident_mib(pid):
    """Resident memory of a process, MiB, or None where there is none, or no /proc."""
    try:
        with open(_STATM.format(pid), encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB or None  # 0: it has ended, unburied
    except (OSError, IndexError):
        return None


class Sampler:
    """Watches a process until a time: samples (seconds, MiB, answers, errors), written as CSV as they come.

    Args:
        pid: int.
        seconds: float, how long.
        path: str, of the CSV file.
        every: float, seconds between two samples.

    Attributes:
        samples: list.
        ended: bool, whether the process ended first.
    """

    def __init__(self, pid, seconds, path, every=1.0):
        self._pid, self._seconds, self._path, self._every = pid, seconds, path, every
        self.samples, self.ended = [], False

    def __call__(self, progress):
        start = time.monotonic()
        with open(self._path, "w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(["seconds", "rss_mib", "answers", "errors"])
            for i in range(int(self._seconds / self._every) + 1):
                time.sleep(max(start + i * self._every - time.monotonic(), 0))
                memory = resident_mib(self._pid)
                if memory is None:
                    self.ended = True
                    progress.stop.set()
                    return
                self.samples.append((time.monotonic() - start, memory, *progress.counts()))
                lines.writerow(f"{value:.3f}" if isinstance(value, float) else value for value in self.samples[-1])
                file.flush()


def slope(samples):
    """MiB an hour by least squares, of the samples after the first quarter of the time; None of fewer than three."""
    seconds, memory = np.array([sample[:2] for sample in samples]).reshape(-1, 2).T
    late = seconds >= (seconds[-1] / 4 if len(seconds) else 0)
    if late.sum() < 3:
        return None
    return 3600 * float(np.polyfit(seconds[late] - seconds[late].mean(), memory[late], 1)[0])
