"""A request of either protocol in, outputs out: find the version, unpack, check, queue, count."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Optional

from hund_tf.serving import errors
from hund_tf.serving.users import Users

_UNPACKERS = 4  # threads that unpack and pack messages; the loop goes on meanwhile
_LONGEST_S = 86_400.0  # a longer deadline is none
_CLOCKS_DIFFER = 0.2  # the client's deadline began earlier than ours, by the request's way here


class Call(NamedTuple):
    """Which model, version, label and signature a request names, by which protocol it came, its seconds left or None."""

    api: str
    name: str
    version: Optional[int]
    label: str
    signature: str
    seconds: Optional[float]


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
        self._under_way = Users()
        self._unpackers = ThreadPoolExecutor(_UNPACKERS, thread_name_prefix="unpack")

    async def predict(self, call, unpack, pack):
        """Answers a request.

        Args:
            call: `Call`.
            unpack: function of a `Signature`, gives `(feeds, output_filter)`: arrays by input, names of outputs. Runs on
                a thread, as does
            pack: function `(servable, signature, outputs)`, gives the answer.

        Returns:
            What `pack` gives.

        Raises:
            RequestError: whatever is wrong.
        """
        with self._under_way.one_more():
            return await self._predict(call, unpack, pack)

    async def idle(self):
        """Waits until no request is under way."""
        nobody = asyncio.get_running_loop().create_future()
        self._under_way.when_none(lambda: nobody.done() or nobody.set_result(None))
        await nobody

    def close(self):
        self._unpackers.shutdown(wait=False)

    async def _predict(self, call, unpack, pack):
        start = time.perf_counter()
        loop = asyncio.get_running_loop()
        deadline = None if call.seconds is None or call.seconds > _LONGEST_S else loop.time() + call.seconds
        known, status = "", "UNKNOWN"
        try:
            servable = self._versions.find(call.name, call.version, call.label)
            with servable.users.one_more():  # it is not unloaded before the answer is packed
                signature = servable.signature(call.signature)
                known = signature.name
                self._scheduler.check_room(servable, signature)
                feeds, wanted = await loop.run_in_executor(self._unpackers, self._unpacked, signature, unpack)
                outputs = await self._scheduler.run(servable, signature, feeds, wanted, deadline)
                answer = await loop.run_in_executor(self._unpackers, pack, servable, signature, outputs)
            status = "OK"
            return answer
        except errors.RequestError as error:
            status = error.code.name
            raise
        except asyncio.CancelledError:  # the client is gone, of its own will or because its deadline passed
            late = deadline is not None and loop.time() >= deadline - _CLOCKS_DIFFER * call.seconds
            status = "DEADLINE_EXCEEDED" if late else "CANCELLED"
            raise
        finally:
            self._metrics.answered(call.api, known, status, time.perf_counter() - start)

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
