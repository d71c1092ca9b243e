"""Medians of calls that take turns, so that other work on the machine slows all of them alike."""

import statistics
import time

WARM_UP = 2  # runs that are not counted: graphs are traced and compiled in the first
_PAUSE = 0.003  # seconds before a run, in which the threads of the one before stop waiting for more work


def medians(calls, repeats, seconds=20.0):
    """Runs the calls in turns.

    Args:
        calls: dict of name to function without arguments that returns when its work is done.
        repeats: int, counted runs of each.
        seconds: float; a call that has taken longer in all gets no more turns after its first counted one.

    Returns:
        dict of name to median milliseconds.
    """
    spent = dict.fromkeys(calls, 0.0)
    for name, call in calls.items():
        for _ in range(WARM_UP):
            if spent[name] < seconds:
                spent[name] += _timed(call)
    spent, counted = dict.fromkeys(calls, 0.0), {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            if spent[name] < seconds:
                counted[name].append(_timed(call))
                spent[name] += counted[name][-1]
    return {name: 1000.0 * statistics.median(times) for name, times in counted.items()}


def entry(name, ours_ms, peer=None, peer_ms=None):
    """One line of the report; without a peer, or its time, there is no ratio."""
    ratio = None if peer_ms is None else peer_ms / ours_ms
    return {"name": name, "ours_ms": ours_ms, "peer": peer, "peer_ms": peer_ms, "ratio": ratio}


def _timed(call):
    time.sleep(_PAUSE)
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
