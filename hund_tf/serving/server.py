"""Settings in, a running server out: two ports, one model, an end that lets requests under way finish."""

import asyncio
import logging
import signal
import socket

import grpc
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc

from hund_tf.serving import grpc_services, reflected, rest, tls
from hund_tf.serving.intake import Intake
from hund_tf.serving.metrics import Metrics
from hund_tf.serving.predictor import Predictor
from hund_tf.serving.scheduler import Scheduler
from hund_tf.serving.versions import Versions

MAX_CALLS = 256  # gRPC calls under way, health watches too; more are RESOURCE_EXHAUSTED
_LOG = logging.getLogger(__name__)


class Server:
    """Serves one model; all methods on one event loop, on which it was made.

    Args:
        settings: `ServerSettings`.
        input_checks: functions for `Predictor`.

    Attributes:
        port: int, of gRPC, once started.
        rest_port: int, once started.
        versions: `Versions`.
    """

    def __init__(self, settings, input_checks=()):
        self.settings, self.port, self.rest_port = settings, None, None
        self.metrics = Metrics(settings.name)
        self.versions = Versions(settings.name, settings.model)
        self._scheduler = Scheduler(settings.batching, self.metrics, settings.run_timeout)
        self._intake = Intake(settings.max_in_flight_bytes)
        self._predictor = Predictor(self.versions, self._scheduler, self.metrics, input_checks)
        self._health = health.aio.HealthServicer()
        self._streams = grpc_services.EndlessStreams()
        self._grpc = self._rest = self._watch = None

    @property
    def busy(self):
        """Whether a thread still works: a run, or the load of a version."""
        return self._scheduler.busy or self.versions.loading

    async def start(self):
        """Opens the ports; health is NOT_SERVING until a version is loaded.

        Raises:
            ValueError: if TLS files or a port cannot be used.
        """
        secrets, context = tls.credentials(self.settings)
        limit = self.settings.max_message_bytes
        self._grpc = grpc.aio.server(
            interceptors=[grpc_services.BadMessages(), self._streams], maximum_concurrent_rpcs=MAX_CALLS, options=[
                ("grpc.so_reuseport", 0),  # else a second server would share the port and get half of the requests
                ("grpc.http2.bdp_probe", 0),  # else megabytes of each request come in before it is read
                ("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", -1)])
        predictions = grpc_services.PredictionService(self._predictor, self.versions, self._intake, limit)
        self._grpc.add_generic_rpc_handlers((predictions.handlers(),))
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(grpc_services.ModelService(self.versions), self._grpc)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        reflected.enable(self._grpc)
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        address = _joined(self.settings.host, self.settings.port)
        _check_free(self.settings.host, self.settings.port, "--port")
        _check_free(self.settings.host, self.settings.rest_port, "--rest-port")
        try:
            self.port = (self._grpc.add_secure_port(address, secrets) if secrets else self._grpc.add_insecure_port(address))
        except RuntimeError as error:
            raise ValueError(f"--host and --port must be an address that is free. Received: {address} ({error}).") from None
        await self._grpc.start()
        application = rest.application(self._predictor, self.versions, self._intake, self.metrics, self.settings)
        self._rest = web.AppRunner(application, access_log=None, handler_cancellation=True,
                                   shutdown_timeout=grpc_services.LAST_WORDS_S)
        await self._rest.setup()
        try:
            site = web.TCPSite(self._rest, self.settings.host, self.settings.rest_port, ssl_context=context)
            await site.start()
        except OSError as error:
            await self._grpc.stop(None)
            await self._rest.cleanup()
            raise ValueError(f"--host and --rest-port must be an address that is free. Received: "
                             f"{_joined(self.settings.host, self.settings.rest_port)} ({error.strerror}).") from None
        self.rest_port = self._rest.addresses[0][1]

    async def load(self):
        """Loads the newest version and watches for others from then on.

        Raises:
            ValueError: if there is none that can be loaded.
        """
        await self.versions.refresh()
        if self.versions.current is None:
            raise ValueError(self.versions.reason())
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        if self.settings.poll:
            self._watch = asyncio.ensure_future(self.versions.watch(self.settings.poll))

    async def stop(self):
        """Takes no more requests, lets those under way finish within the settings' `grace` seconds, closes."""
        if self._watch is not None:
            self._watch.cancel()
        await self._health.enter_graceful_shutdown()
        closing = [self._streams.end()]
        if self._grpc is not None:
            closing.append(self._grpc.stop(self.settings.grace))
        if self._rest is not None:
            closing.append(self._stop_rest())
        await asyncio.gather(*closing)
        await self._scheduler.close()
        self._predictor.close()
        self._intake.close()
        await self.versions.close()

    def describe(self):
        """One line: what is served where."""
        host = self.settings.host
        return (f"serving {self.settings.name} version {self.versions.current.version} on {_joined(host, self.port)} (gRPC), "
                f"{_joined(host, self.rest_port)} (REST)")

    async def _stop_rest(self):
        """Waits for requests first: `cleanup` reads no more of those that are still on their way."""
        for site in self._rest.sites:
            await site.stop()
        drained = asyncio.ensure_future(self._predictor.drain())
        await asyncio.wait({drained}, timeout=self.settings.grace)
        drained.cancel()
        await self._rest.cleanup()

    async def _set_health(self, state):
        for service in ("", reflected.PREDICTION, reflected.MODEL):
            await self._health.set(service, state)


async def run(settings, input_checks=(), on_ready=None):
    """Serves until SIGTERM or SIGINT, then drains; a second signal ends at once.

    Args:
        settings: `ServerSettings`.
        input_checks: functions for `Predictor`.
        on_ready: function of the line `Server.describe()`, called when requests can come.

    Returns:
        Bool, whether every thread has ended; if not, the process must be ended without waiting for them.

    Raises:
        ValueError: if the server cannot start.
    """
    server = Server(settings, input_checks)
    loop = asyncio.get_running_loop()
    asked, asked_again = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: asked_again.set() if asked.is_set() else asked.set())
    await server.start()
    loading = asyncio.ensure_future(server.load())
    stopping = asyncio.ensure_future(asked.wait())
    try:
        await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
            if on_ready:
                on_ready(server.describe())
            await stopping
        _LOG.info("stopping: requests under way have %g seconds", settings.grace)
    except ValueError:
        await server.stop()
        raise
    draining = asyncio.ensure_future(server.stop())
    hurry = asyncio.ensure_future(asked_again.wait())
    await asyncio.wait({draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
    for task in (loading, hurry):
        task.cancel()
    if draining.done():
        draining.result()
    return draining.done() and not server.busy


def _joined(host, port):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_free(host, port, option):
    """gRPC's own complaint about a port names no reason; this one does."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"--host and {option} must be an address that is free. Received: {_joined(host, port)} "
                         f"({getattr(error, 'strerror', None) or error}).") from None
