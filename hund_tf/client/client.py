"""A photo in, the people that a hund server finds out: one client that waits, one for asyncio."""

import asyncio
import itertools
import time

import grpc

from hund_tf.client import channels, errors, requests
from hund_tf.client.retries import RetryPolicy, Tries

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
        self._turns = itertools.count()
        self._description, self._closed = None, False

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

    def _tries(self, timeout):
        if self._closed:
            raise RuntimeError("A client must be open to make a call. Received: one that was closed.")
        timeout = self._timeout if timeout is None else _checked_timeout(timeout)
        return Tries(self._policy, self.addresses, next(self._turns), timeout)

    def _read(self, call, response, tries):
        try:
            return call.read(response)
        except ValueError as error:
            raise errors.HundServerError(grpc.StatusCode.DATA_LOSS, f"an answer that cannot be read. {error}",
                                         self.addresses[tries.place]) from error


class HundClient(_Client):
    """A client of one or more servers of the same hund export; it may be used by many threads at once.

    Requests go round the addresses. One that cannot be reached, or dies with a request in hand, is passed over: the request
    goes to the next.

    Args:
        addresses: "host:port", several with commas between them, or a list of such.
        timeout: float, seconds for a call with all its retries.
        retries: int, how often the addresses are gone through again; or a `RetryPolicy`; the default one if None.
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
        self._channels = self._open(grpc)
        self._calls = [channels.calls_of(channel) for channel in self._channels]

    def describe(self, refresh=False, timeout=None):
        """`Description` of the export: faces, names, preset. Asked for once, and again with `refresh`."""
        if self._description is None or refresh:
            self._description = self._run(self._requests.describe(), timeout)
        return self._description

    def close(self):
        """Ends the connections, and with them the calls that still wait."""
        self._closed = True
        for channel in self._channels:
            channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def _run(self, call, timeout):
        tries = self._tries(timeout)
        while True:
            try:
                response = self._calls[tries.place][call.method](call.request, timeout=tries.remaining())
            except grpc.RpcError as error:
                if self._closed:
                    raise errors.from_status(error.code(), error.details(), self.addresses[tries.place]) from None
                wait = tries.after(error.code(), error.details())
            else:
                return self._read(call, response, tries)
            time.sleep(wait)


class AsyncHundClient(_Client):
    """`HundClient` for asyncio: the same arguments and methods, whose answers are awaited.

    An argument that breaks its rule is an error at the call itself, before anything is awaited. It belongs to the event loop
    of its first call.
    """

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self._channels = self._calls = None

    async def describe(self, refresh=False, timeout=None):
        """`Description` of the export: faces, names, preset. Asked for once, and again with `refresh`."""
        if self._description is None or refresh:
            self._description = await self._run(self._requests.describe(), timeout)
        return self._description

    async def close(self):
        """Ends the connections, and with them the calls that still wait."""
        self._closed = True
        for channel in self._channels or ():
            await channel.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *unused):
        await self.close()

    async def _run(self, call, timeout):
        tries = self._tries(timeout)
        if self._channels is None:  # not in __init__: a channel belongs to the loop that runs
            self._channels = self._open(grpc.aio)
            self._calls = [channels.calls_of(channel) for channel in self._channels]
        while True:
            try:
                response = await self._calls[tries.place][call.method](call.request, timeout=tries.remaining())
            except grpc.RpcError as error:
                wait = tries.after(error.code(), error.details())
            else:
                return self._read(call, response, tries)
            await asyncio.sleep(wait)


def _policy(retries):
    if retries is None:
        return RetryPolicy()
    return retries if isinstance(retries, RetryPolicy) else RetryPolicy(rounds=retries)


def _checked_timeout(timeout):
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
        raise ValueError(f"`timeout` must be a positive number of seconds. Received: {timeout!r}.")
    return float(timeout)
