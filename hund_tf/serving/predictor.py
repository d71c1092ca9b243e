"""A request of either protocol in, outputs out: find the version, unpack, check, queue, count."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, NamedTuple, Optional

from hund_tf.serving import errors
from hund_tf.serving.users import Users

_UNPACKERS = 4  # threads that unpack and pack messages; the loop goes on meanwhile
_LONGEST_S = 86_400.0  # a longer deadline is none
_CLOCKS_DIFFER = 0.2  # the client's deadline began earlier than ours, by the request's way here


class Call(NamedTuple):
    """A request that came in whole.

    Attributes:
        name, version, label, signature: of the model that it names.
        unpack: function of a `Signature`, gives `(feeds, output_filter)`: arrays by input, names of outputs. Called once, on a
            thread.
        pack: function `(servable, signature, outputs)`, gives the answer. Called on a thread.
    """

    name: str
    version: Optional[int]
    label: str
    signature: str
    unpack: Callable
    pack: Callable


class Predictor:
    """Answers predictions; made and used on one event loop.

    Args:
        versions: `Versions`.
        scheduler: `Scheduler`.
        metrics: `Metrics`.
        input_checks: functions `(signature, feeds)` that raise ValueError (the rule, then what came) for arrays which the
            model should not even see; `feeds` is a dict of arrays.
    """

    def __init__(self, versions, scheduler, metrics, input_checks=()):
        self._versions, self._scheduler, self._metrics, self._checks = versions, scheduler, metrics, tuple(input_checks)
        self._under_way, self._draining = Users(), False
        self._unpackers = ThreadPoolExecutor(_UNPACKERS, thread_name_prefix="unpack")

    async def predict(self, api, read, seconds):
        """Answers a request, which is under way from now on, though not yet here.

        Args:
            api: str, by which protocol it comes: "grpc" or "rest".
            read: async function without arguments, waits for the request and gives its `Call`.
            seconds: float or None, left for it.

        Returns:
            What the call's `pack` gives.

        Raises:
            RequestError: whatever is wrong.
        """
        with self._under_way.one_more():
            return await self._predict(api, read, seconds)

    async def drain(self):
        """Refuses requests from now on and waits until none is under way."""
        self._draining = True
        nobody = asyncio.get_running_loop().create_future()
        self._under_way.when_none(lambda: nobody.done() or nobody.set_result(None))
        await nobody

    def close(self):
        self._unpackers.shutdown(wait=False)

    async def _predict(self, api, read, seconds):
        start = time.perf_counter()
        loop = asyncio.get_running_loop()
        known, status = "", "UNKNOWN"
        deadline = loop.time() + seconds if seconds is not None and seconds <= _LONGEST_S else None
        try:
            if self._draining:
                raise errors.unavailable("The server stops.")
            call = await read()
            servable = self._versions.find(call.name, call.version, call.label)
            with servable.users.one_more():  # it is not unloaded before the answer is packed
                signature = servable.signature(call.signature)
                known = signature.name
                self._scheduler.check_room(servable, signature)
                feeds, wanted = await loop.run_in_executor(self._unpackers, self._unpacked, signature, call.unpack)
                outputs = await self._scheduler.run(servable, signature, feeds, wanted, deadline)
                answer = await loop.run_in_executor(self._unpackers, call.pack, servable, signature, outputs)
            status = "OK"
            return answer
        except errors.RequestError as error:
            status = error.code.name
            raise
        except asyncio.CancelledError:  # the client is gone, of its own will or because its deadline passed
            late = deadline is not None and loop.time() >= deadline - _CLOCKS_DIFFER * seconds
            status = "DEADLINE_EXCEEDED" if late else "CANCELLED"
            raise
        finally:
            self._metrics.answered(api, known, status, time.perf_counter() - start)

    def _unpacked(self, signature, unpack):
        feeds, output_filter = unpack(signature)
        wanted = signature.wanted(output_filter)
        signature.completed(feeds)
        for check in self._checks:
            try:
                check(signature, feeds)
            except ValueError as error:
                raise errors.invalid(str(error)) from None
        return feeds, wanted
