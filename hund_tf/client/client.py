"""A photo in, the people that a hund server finds out: one client that waits, one for asyncio."""

import asyncio
import itertools
import threading

import grpc

from hund_tf.client import channels, errors, requests
from hund_tf.client.retries import RetryPolicy, Suspects, Tries

TIMEOUT_S = 60.0


class _Client:
    """What both clients share: settings, and a method for each signature. `_run` sends a `Call`."""

    def __init__(self, addresses, timeout=TIMEOUT_S, retries=None, tls=None, model="hund", version=None,
                 most_bytes=channels.MOST_BYTES, options=()):
        self.addresses = channels.checked_addresses(addresses)
        self._timeout = _checked_timeout(timeout)
        self._policy = _policy(retries)
        self._tls = channels.TlsOptions() if tls is True else tls or None
        self._requests = requests.RequestBuilder(model, version)
        self._most_bytes, self._options = most_bytes, tuple(options)
        self._turns, self._suspects = itertools.count(), Suspects()
        self._description = None

    def reconstruct(self, image, intrinsics=None, max_people=None, num_stages=None, outputs=None, timeout=None):
        """Finds the people in a photo and gives each a posed body.

        Args:
            image: uint8 `[H, W, 3]`, RGB.
            intrinsics: fx, fy, cx, cy in pixels; `fx = fy = max(H, W)` and the centre if None.
            max_people: int, keep that many of the best; the export's number if None.
            num_stages: int, M; the export's if None.
            outputs: names of `HundResult` to send, all if None; what is left out saves the way over the network.
            timeout: float, seconds for this call with all its retries.

        Returns:
            `HundResult`.

        Raises:
            ValueError: if an argument breaks its rule: nothing is sent. `HundInputError`, one of them, if the server says so.
            HundServerError: if the server cannot do it.
        """
        return self._run(self._requests.reconstruct(image, intrinsics, max_people, num_stages, outputs), timeout)

    def reconstruct_boxes(self, image, boxes, intrinsics=None, num_stages=None, outputs=None, timeout=None):
        """The same for people whose boxes are known: `[N, 4]`, x, y, width, height in pixels. One row a box."""
        return self._run(self._requests.reconstruct_boxes(image, boxes, intrinsics, num_stages, outputs), timeout)

    def reconstruct_bytes(self, files, outputs=None, timeout=None):
        """The same for photos as they lie on the disk: a list of bytes, JPEG or PNG -> list of `HundResult`.

        EXIF turns a photo upright, but does not tell the server of the camera.
        """
        return self._run(self._requests.reconstruct_bytes(files, outputs), timeout)

    def reconstruct_crops(self, crops, intrinsics, outputs=None, timeout=None):
        """The same for crops of one person each: uint8 `[B, 480, 480, 3]` and their intrinsics `[B, 4]`. One row a crop."""
        return self._run(self._requests.reconstruct_crops(crops, intrinsics, outputs), timeout)

    def status(self, timeout=None):
        """The versions of the model on one of the servers: tuple of `VersionStatus`, newest first."""
        return self._run(self._requests.status(), timeout)

    def _run(self, call, timeout):
        raise NotImplementedError

    def _open(self, library):
        return [channels.open_channel(library, address, self._tls, self._most_bytes, self._options)
                for address in self.addresses]

    def _seconds(self, timeout):
        return self._timeout if timeout is None else _checked_timeout(timeout)

    def _tries(self, seconds):
        return Tries(self._policy, self.addresses, next(self._turns), seconds, self._suspects)

    def _closed_error(self, tries):
        return errors.HundServerError(grpc.StatusCode.CANCELLED, "the client was closed before there was an answer",
                                      self.addresses[tries.place])

    def _read(self, call, response, tries):
        tries.answered()
        try:
            return call.read(response)
        except ValueError as error:
            raise errors.HundServerError(grpc.StatusCode.DATA_LOSS, f"an answer that cannot be read. {error}",
                                         self.addresses[tries.place]) from error


class HundClient(_Client):
    """A client of one or more servers of the same hund export; it may be used by many threads at once.

    Requests go round the addresses. One that cannot be reached, dies with a request in hand or does not answer in time
    (`RetryPolicy.try_timeout`) is passed over: the request goes to the next.

    Args:
        addresses: "host:port", several with commas between them, or a list of such.
        timeout: float, seconds for a call with all its retries.
        retries: int, how often the addresses are gone through again; or a `RetryPolicy`; the default one, which tries until
            the deadline, if None.
        tls: `TlsOptions`; True: encrypted, with gRPC's own list of authorities; None: in plain text.
        model: str, the model's name on the server.
        version: int, of the model; the newest if None.
        most_bytes: int, limit of a message, either way.
        options: pairs, further gRPC channel options.

    Raises:
        ValueError: if an argument breaks its rule. Whether a server is there shows at the first call.
    """

    def __init__(self, addresses, timeout=TIMEOUT_S, retries=None, tls=None, model="hund", version=None,
                 most_bytes=channels.MOST_BYTES, options=()):
        super().__init__(addresses, timeout, retries, tls, model, version, most_bytes, options)
        self._closing = threading.Event()
        self._channels = self._open(grpc)
        self._calls = [channels.calls_of(channel) for channel in self._channels]

    def describe(self, refresh=False, timeout=None):
        """`Description` of the export: faces, names, preset. Asked for once, and again with `refresh`."""
        if self._description is None or refresh:
            self._description = self._run(self._requests.describe(), timeout)
        return self._description

    def close(self):
        """Ends the connections. Calls under way end with a `HundServerError` (CANCELLED), later ones with a RuntimeError."""
        self._closing.set()
        for channel in self._channels:
            channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def _run(self, call, timeout):
        tries = self._tries(self._seconds(timeout))
        _check_open(self._closing.is_set())
        while True:
            try:
                response = self._calls[tries.place][call.method](call.request, timeout=tries.begin())
            except grpc.RpcError as error:
                if self._closing.is_set() and error.code() == grpc.StatusCode.CANCELLED:
                    raise self._closed_error(tries) from None
                wait = tries.after(error.code(), error.details())
            except ValueError:  # what gRPC raises if the channel is closed right before the try
                if not self._closing.is_set():
                    raise
                raise self._closed_error(tries) from None
            else:
                return self._read(call, response, tries)
            if self._closing.wait(wait):
                raise self._closed_error(tries)


class AsyncHundClient(_Client):
    """`HundClient` for asyncio: the same arguments and methods, whose answers are awaited.

    An argument that breaks its rule is an error at the call itself, before anything is awaited. The client belongs to the
    event loop of its first call.
    """

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self._closed, self._closing, self._channels, self._calls = False, None, (), ()

    def describe(self, refresh=False, timeout=None):
        """`Description` of the export: faces, names, preset. Asked for once, and again with `refresh`."""
        return self._describe(refresh, self._seconds(timeout))

    async def close(self):
        """Ends the connections. Calls under way end with a `HundServerError` (CANCELLED), later ones with a RuntimeError."""
        self._closed = True
        if self._closing is not None and not self._closing.done():
            self._closing.set_result(None)
        for channel in self._channels:
            await channel.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *unused):
        await self.close()

    async def _describe(self, refresh, seconds):
        if self._description is None or refresh:
            self._description = await self._run(self._requests.describe(), seconds)
        return self._description

    def _run(self, call, timeout):
        return self._send(call, self._seconds(timeout))

    async def _send(self, call, seconds):
        _check_open(self._closed)
        if self._closing is None:  # not in __init__: these belong to the loop that runs
            self._channels = self._open(grpc.aio)
            self._calls = [channels.calls_of(channel) for channel in self._channels]
            self._closing = asyncio.get_running_loop().create_future()
        tries = self._tries(seconds)
        while True:
            try:
                response = await self._answer(call, tries)
            except grpc.RpcError as error:
                wait = tries.after(error.code(), error.details())
            else:
                return self._read(call, response, tries)
            await asyncio.wait([self._closing], timeout=wait)
            if self._closed:
                raise self._closed_error(tries)

    async def _answer(self, call, tries):
        """What comes of one try.

        gRPC ends the calls of a channel that is closed with a CancelledError, as if the caller had been cancelled. So the
        call is a task of its own: a CancelledError out of `asyncio.wait` is the caller's, one out of the task the channel's.
        """
        answer = asyncio.ensure_future(self._calls[tries.place][call.method](call.request, timeout=tries.begin()))
        try:
            await asyncio.wait([answer, self._closing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            answer.cancel()
        if self._closed and (not answer.done() or answer.cancelled()):
            raise self._closed_error(tries)
        return answer.result()


def _check_open(closed):
    if closed:
        raise RuntimeError("A client must be open to make a call. Received: one that was closed.")


def _policy(retries):
    if retries is None:
        return RetryPolicy()
    return retries if isinstance(retries, RetryPolicy) else RetryPolicy(rounds=retries)


def _checked_timeout(timeout):
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
        raise ValueError(f"`timeout` must be a positive number of seconds. Received: {timeout!r}.")
    return float(timeout)
