"""Requests in, their outputs out: they wait in bounded queues, are merged where they may be, and run on a few threads.

The rules are those of TensorFlow Serving's batching. All state lives on the event loop; only `batches.execute` leaves it.
"""

import asyncio
import collections
import logging
from concurrent.futures import ThreadPoolExecutor

from hund_tf.serving import batches, errors

_LOG = logging.getLogger(__name__)


class Scheduler:
    """Queues, batches and runs requests; made and used on one event loop.

    Args:
        batching: `Batching`.
        metrics: `Metrics`.
        run_timeout: float, seconds after which a run is given up.
    """

    def __init__(self, batching, metrics, run_timeout):
        self._batching, self._metrics, self._run_timeout = batching, metrics, run_timeout
        self._queues = {}  # (servable, signature's name) -> deque of Batch; the first key's turn is next
        self._running = 0
        self._runs = set()  # the loop itself keeps no task alive
        self._pool = ThreadPoolExecutor(batching.num_batch_threads, thread_name_prefix="batch")
        metrics.queue_length.set_function(self.waiting)

    @property
    def busy(self):
        """Whether a run is under way."""
        return self._running > 0

    def waiting(self):
        """How many requests wait."""
        return sum(len(batch.tasks) for queue in list(self._queues.values()) for batch in list(queue))

    async def run(self, servable, signature, feeds, wanted, deadline=None):
        """Runs a request in its turn.

        Args:
            servable: `Servable`.
            signature: `Signature` of it.
            feeds: dict, checked arrays, defaults left out.
            wanted: tuple of str, sorted names of outputs.
            deadline: float or None, time of the event loop's clock.

        Returns:
            Dict, array of each wanted output.

        Raises:
            RequestError: RESOURCE_EXHAUSTED where the queue is full, DEADLINE_EXCEEDED, INVALID_ARGUMENT for too many
                rows, or what the run itself says.
        """
        loop = asyncio.get_running_loop()
        rows = batches.rows_of(signature, feeds, self._batching.max_batch_size)
        task = batches.Task(signature.completed(feeds), rows, deadline, loop.create_future())
        batch = self._enqueue(servable, signature, wanted, task, loop.time())
        timer = None
        if deadline is not None:
            timer = loop.call_at(deadline, _expire, task)
        try:
            self._pump()
            return await task.future
        finally:
            if timer:
                timer.cancel()
            self._forget(batch, task)

    async def close(self):
        """Gives up who waits; runs under way end on their own."""
        for queue in self._queues.values():
            for batch in queue:
                for task in batch.tasks:
                    if not task.future.done():
                        task.future.set_exception(errors.unavailable("The server stops."))
        self._queues.clear()
        self._pool.shutdown(wait=False)

    def check_room(self, servable, signature):
        """Raises RESOURCE_EXHAUSTED where no further batch may wait and the last one is full."""
        queue = self._queues.get((servable, signature.name), ())
        if len(queue) >= self._batching.max_enqueued_batches and not any(
                batch.rows is not None and batch.rows < self._batching.max_batch_size for batch in queue):
            raise _full(signature, self._batching)

    def _enqueue(self, servable, signature, wanted, task, now):
        queue = self._queues.setdefault((servable, signature.name), collections.deque())
        key = batches.key_of(task, wanted)
        if task.rows is not None:
            for batch in reversed(queue):
                if batch.key == key and not batch.closed:
                    if batch.rows + task.rows <= self._batching.max_batch_size:
                        batch.add(task)
                        return batch
                    batch.closed = True  # as TensorFlow Serving's: nobody overtakes
        if len(queue) >= self._batching.max_enqueued_batches:
            raise _full(signature, self._batching)
        delay = 0.0 if task.rows is None else self._batching.batch_timeout_micros / 1e6
        batch = batches.Batch(servable, signature, wanted, key, now + delay)
        batch.add(task)
        queue.append(batch)
        if delay:
            asyncio.get_running_loop().call_later(delay, self._pump)
        return batch

    def _forget(self, batch, task):
        """Takes a finished, expired or cancelled request from the queue, so that it neither runs nor takes a place."""
        if batch.started:
            return
        batch.remove(task)
        queue = self._queues.get((batch.servable, batch.signature.name))
        if not batch.tasks and queue is not None and batch in queue:
            queue.remove(batch)
            self._tidy(batch)

    def _tidy(self, batch):
        if not self._queues.get((batch.servable, batch.signature.name), True):
            del self._queues[batch.servable, batch.signature.name]

    def _pump(self):
        """Starts batches while threads are free."""
        while self._running < self._batching.num_batch_threads:
            batch = self._next_ready(asyncio.get_running_loop().time())
            if batch is None:
                return
            batch.started = True
            self._running += 1
            run = asyncio.ensure_future(self._execute(batch))
            self._runs.add(run)
            run.add_done_callback(self._runs.discard)

    def _next_ready(self, now):
        for key in list(self._queues):
            queue = self._queues[key]
            for batch in queue:
                full = batch.rows is None or batch.closed or batch.rows == self._batching.max_batch_size
                if full or batch.ready_at <= now + 1e-4:
                    queue.remove(batch)
                    self._queues[key] = self._queues.pop(key)  # the others' turn
                    self._tidy(batch)
                    return batch
        return None

    async def _execute(self, batch):
        loop = asyncio.get_running_loop()
        tasks = [task for task in batch.tasks if not task.future.done() and not task.expired(loop.time())]
        try:
            with batch.servable.users.one_more():
                if tasks:
                    self._metrics.batch_size.labels(batch.signature.name).observe(sum(task.rows or 1 for task in tasks))
                    results = await loop.run_in_executor(self._pool, batches.execute, batch, tasks,
                                                         self._batching.allowed_batch_sizes, loop.time, self._run_timeout)
                else:
                    results = []
        except Exception as error:  # a fault of ours must not leave anyone waiting, nor a thread taken for ever
            _LOG.exception("a batch of signature %r failed", batch.signature.name)
            results = [errors.internal(f"The batch could not be run ({type(error).__name__}).")] * len(tasks)
        finally:
            self._running -= 1
        for task in batch.tasks:
            if task not in tasks and not task.future.done():
                _expire(task)
        for task, result in zip(tasks, results):
            if task.future.done():
                continue
            if isinstance(result, Exception):
                task.future.set_exception(result)
            else:
                task.future.set_result(result)
        self._pump()


def _expire(task):
    if not task.future.done():
        task.future.set_exception(errors.deadline_exceeded("The deadline passed before the request was done."))


def _full(signature, batching):
    return errors.exhausted(f"The queue of signature {signature.name!r} must have at most {batching.max_enqueued_batches} "
                            "waiting batches. Received: one more; try again later.")
