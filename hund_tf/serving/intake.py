"""Requests on their way in: the bytes of those that are here are bounded over both ports, and a port parses one at a time."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

import grpc

from hund_tf.serving import errors

READERS = 4  # gRPC messages read at first: gRPC tells no size before it has a whole message
SMALL = 2**15  # bytes that are parsed in a few milliseconds at most; they need not wait behind large ones
TURN_S = 1.0  # who takes longer to send lets the next one in, so that slow clients hold up nobody


class Intake:
    """Takes requests in; made and used on one event loop.

    Args:
        max_bytes: int, of all requests under way.

    Attributes:
        bytes: int, of the requests under way.
    """

    def __init__(self, max_bytes):
        self._max_bytes, self.bytes = max_bytes, 0
        self._turns = asyncio.Semaphore(READERS)
        self._parsers = {api: ThreadPoolExecutor(1, thread_name_prefix=f"parse {api}") for api in ("grpc", "rest")}

    @contextlib.contextmanager
    def room(self, size):
        """Counts `size` bytes as under way; RESOURCE_EXHAUSTED if they would be too many."""
        if self.bytes + size > self._max_bytes:
            raise errors.exhausted(f"Requests under way must have at most {self._max_bytes:,} bytes together "
                                   f"(--max-in-flight-mb). Received: {size:,} beside {self.bytes:,}; try again later.")
        self.bytes += size
        try:
            yield
        finally:
            self.bytes -= size

    async def message(self, context):
        """The bytes of the one message of a gRPC call, in its turn; INVALID_ARGUMENT if there is none."""
        await self._turns.acquire()
        with contextlib.ExitStack() as turn:
            turn.callback(self._turns.release)
            timer = asyncio.get_running_loop().call_later(TURN_S, turn.close)
            turn.callback(timer.cancel)
            message = await context.read()
        if message is grpc.aio.EOF:
            raise errors.invalid("A call must have a message. Received: none.")
        return message

    async def parsed(self, api, parse, body):
        """What the function `parse` makes of a body that came by "grpc" or "rest": on a thread, unless it takes no time."""
        if len(body) <= SMALL:
            return parse(body)
        return await asyncio.get_running_loop().run_in_executor(self._parsers[api], parse, body)

    def close(self):
        for parser in self._parsers.values():
            parser.shutdown(wait=False)
