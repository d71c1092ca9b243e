"""Requests of one kind in, one run for all of them, each one's outputs out; if the run fails, each is run alone."""

import dataclasses
import logging

import grpc
import numpy as np

from hund_tf.serving import errors

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class Task:
    """A request that waits: arrays by input, rows (None: cannot be merged), deadline (the loop's clock), future result."""

    feeds: dict
    rows: int
    deadline: float
    future: object

    def expired(self, now):
        return self.deadline is not None and now >= self.deadline


class Batch:
    """Requests that will run together from the time `ready_at` on, or sooner when full."""

    def __init__(self, servable, signature, wanted, key, ready_at):
        self.servable, self.signature, self.wanted, self.key, self.ready_at = servable, signature, wanted, key, ready_at
        self.tasks, self.rows, self.closed, self.started = [], 0, False, False

    def add(self, task):
        self.tasks.append(task)
        self.rows = None if task.rows is None else self.rows + task.rows

    def remove(self, task):
        if task in self.tasks:
            self.tasks.remove(task)
            self.rows = None if task.rows is None else self.rows - task.rows


def rows_of(signature, feeds, max_batch_size):
    """How many rows a request has, or None if it must run alone.

    Raises:
        RequestError: INVALID_ARGUMENT if its inputs differ in rows, or there are more than a batch may have.
    """
    if not signature.batched:
        return None
    sizes = {name: array.shape[0] for name, array in feeds.items()}
    if len(set(sizes.values())) > 1:
        raise errors.invalid(f"Inputs of signature {signature.name!r} must have equal first dimensions. Received: {sizes}.")
    rows = next(iter(sizes.values()), 0)
    if rows > max_batch_size:
        raise errors.invalid(f"A request must have at most {max_batch_size} rows (max_batch_size). Received: {rows}.")
    defaults = [array.shape[0] for name, array in signature.defaults.items() if name not in feeds]
    return rows if rows and all(size == rows for size in defaults) else None


def key_of(task, wanted):
    """What requests must share to be merged, as in TensorFlow Serving: outputs asked for, and shapes but for the rows."""
    return None if task.rows is None else (wanted, tuple(array.shape[1:] for array in task.feeds.values()))


def execute(batch, tasks, allowed_sizes, clock, run_timeout):
    """Runs a batch, on a thread.

    Args:
        batch: `Batch`.
        tasks: list of `Task`, those of the batch that still wait.
        allowed_sizes: tuple of int, sizes to fill up to; empty: none.
        clock: function without arguments, the time that deadlines are in.
        run_timeout: float, seconds after which a run is given up. A session cannot be told to stop a run that nobody waits
            for any more.

    Returns:
        List, for each task the dict of its outputs, or a `RequestError`.
    """
    rows = [task.rows for task in tasks]
    if rows[0] is None or (len(tasks) == 1 and not allowed_sizes):
        return [_attempt(batch, task, clock, run_timeout) for task in tasks]
    total = sum(rows)
    size = next((allowed for allowed in allowed_sizes if allowed >= total), total)
    try:
        feeds = {name: _merged([task.feeds[name] for task in tasks], size) for name in tasks[0].feeds}
        outputs = _run(batch, feeds, tasks, clock, run_timeout)
    except errors.RequestError as error:
        if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:  # they would take as long again
            return [error] * len(tasks)
        return [_attempt(batch, task, clock, run_timeout) for task in tasks]  # one bad request must not fail the others
    odd = [name for name, array in outputs.items() if not array.ndim or array.shape[0] != size]
    if odd:
        _LOG.warning("signature %r: outputs %s have not as many rows as the inputs; requests run one by one",
                     batch.signature.name, odd)
        return [_attempt(batch, task, clock, run_timeout) for task in tasks]
    ends = np.cumsum(rows)
    return [{name: array[end - count:end] for name, array in outputs.items()} for end, count in zip(ends, rows)]


def _attempt(batch, task, clock, run_timeout):
    if task.future.done():  # cancelled meanwhile; whatever is said here, nobody hears it
        return errors.unavailable("The request was given up.")
    if task.expired(clock()):
        return errors.deadline_exceeded("The deadline passed before the request was done.")
    try:
        return _run(batch, task.feeds, [task], clock, run_timeout)
    except errors.RequestError as error:
        return error
    except Exception as error:  # of one request; the others of the batch go on
        _LOG.exception("a request to signature %r failed", batch.signature.name)
        return errors.internal(f"The request could not be run ({type(error).__name__}).")


def _run(batch, feeds, tasks, clock, run_timeout):
    deadlines = [task.deadline for task in tasks]
    left = run_timeout if None in deadlines else max(deadlines) - clock()
    try:
        return batch.servable.run(batch.signature, feeds, batch.wanted, min(left, run_timeout))
    except errors.RequestError as error:
        if error.code is grpc.StatusCode.DEADLINE_EXCEEDED and left >= run_timeout:
            raise errors.deadline_exceeded(f"A run must take at most {run_timeout:g} s (--run-timeout). Received: a longer "
                                           "one.") from None
        raise


def _merged(arrays, size):
    merged = np.concatenate(arrays)
    if len(merged) < size:
        merged = np.concatenate([merged, np.repeat(merged[:1], size - len(merged), axis=0)])
    return merged
