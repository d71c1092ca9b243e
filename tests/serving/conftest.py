"""A small model, and servers of it: ours in this process, TensorFlow Serving where it is at hand."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import threading
from typing import NamedTuple

import pytest

TEST_GRACE_S = 5.0
REAL = ["tensorflow_model_server"] if os.environ.get("HUND_SERVING_ADDRESS") or shutil.which("tensorflow_model_server") else []


class Address(NamedTuple):
    """Where a server is: gRPC as host:port, REST as a URL (or None), whether it is ours."""

    grpc: str
    rest: str
    ours: bool


class Running:
    """One of our servers in this process; `server` must be touched by `call` alone."""

    def __init__(self, loop, server):
        self.loop, self.server = loop, server
        scheme = "https" if server.settings.tls_cert else "http"
        self.address = f"localhost:{server.port}"
        self.rest = f"{scheme}://localhost:{server.rest_port}"

    def call(self, coroutine, timeout=30):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)


@pytest.fixture(scope="session")
def saved_versions(tmp_path_factory):
    """Folder with the versions 1 and 2 of the small model, to copy from."""
    from tests.serving import small_model

    base = tmp_path_factory.mktemp("saved")
    for version in (1, 2):
        small_model.save(base, version)
    return base


@pytest.fixture(scope="session")
def server_loop():
    """An event loop on a thread of its own, for all servers of the tests."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop

    async def last_runs():
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=10)

    asyncio.run_coroutine_threadsafe(last_runs(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def base(tmp_path, saved_versions):
    """A model's folder with version 1 alone."""
    shutil.copytree(saved_versions / "1", tmp_path / "model" / "1")
    return tmp_path / "model"


@pytest.fixture
def serve(server_loop, saved_versions):
    """Function of settings that starts one of our servers; ended with the test."""
    with contextlib.ExitStack() as stack:
        def start(model=saved_versions / "1", input_checks=(), load=True, **changes):
            return _start(stack, server_loop, model, input_checks, load, **changes)

        yield start


@pytest.fixture(scope="session", params=["ours", *REAL])
def address(request, server_loop, saved_versions, tmp_path_factory):
    """A server of the small model, version 1: ours, and TensorFlow Serving where it can be had."""
    if request.param == "ours":
        with contextlib.ExitStack() as stack:
            running = _start(stack, server_loop, saved_versions / "1", (), True)
            yield Address(running.address, running.rest, True)
    elif os.environ.get("HUND_SERVING_ADDRESS"):  # host:port of gRPC, then perhaps a comma and REST's
        grpc_address, _, rest = os.environ["HUND_SERVING_ADDRESS"].partition(",")
        yield Address(grpc_address, f"http://{rest}" if rest else None, False)
    else:
        model = tmp_path_factory.mktemp("real") / "hund"
        shutil.copytree(saved_versions / "1", model / "1")
        ports = _free_ports(2)
        process = subprocess.Popen(["tensorflow_model_server", f"--port={ports[0]}", f"--rest_api_port={ports[1]}",
                                    "--model_name=hund", f"--model_base_path={model}"])
        try:
            _wait_for_real(f"localhost:{ports[0]}")
            yield Address(f"localhost:{ports[0]}", f"http://localhost:{ports[1]}", False)
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="session")
def caller(address):
    from tests.serving.calls import Caller

    asking = Caller(address.grpc)
    yield asking
    asking.channel.close()


@pytest.fixture(scope="session")
def rest_url(address):
    if address.rest is None:
        pytest.skip("the server's REST address is not known")
    return address.rest


@pytest.fixture
def ours_only(address):
    """For what TensorFlow Serving does otherwise."""
    if not address.ours:
        pytest.skip("TensorFlow Serving does this otherwise: docs/serving.md, where it differs")


@pytest.fixture(params=["sync", "async"])
def make_client(request):
    """Makes a client whose methods wait, of either kind, and closes it."""
    from hund_tf.client import AsyncHundClient, HundClient, RetryPolicy

    made, loop = [], asyncio.new_event_loop()

    class Waiting:
        """An `AsyncHundClient` seen as a `HundClient`."""

        def __init__(self, *arguments, **settings):
            self.client = AsyncHundClient(*arguments, **settings)

        def __getattr__(self, name):
            async def call(*arguments, **settings):
                return await getattr(self.client, name)(*arguments, **settings)

            return lambda *arguments, **settings: loop.run_until_complete(call(*arguments, **settings))

    def make(*arguments, **settings):
        kind = HundClient if request.param == "sync" else Waiting
        made.append(kind(*arguments, **{"timeout": 20, "retries": RetryPolicy(first_wait=0.01), **settings}))
        return made[-1]

    yield make
    for client in made:
        client.close()
    loop.close()


@pytest.fixture
def fake_server():
    from tests.serving.fake_server import FakeServer

    with FakeServer() as server:
        yield server


@pytest.fixture(scope="session")
def server_certificates(tmp_path_factory):
    """Self-signed pairs `server.pem`, `server.key`, `client.pem`, `client.key` in a folder."""
    folder = tmp_path_factory.mktemp("server_tls")
    for name in ("server", "client"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost", "-keyout",
                        folder / f"{name}.key", "-out", folder / f"{name}.pem"], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def batch_export(tmp_path_factory):
    """Folder of a version of the export that stands in for ours in serving/batch."""
    from tests.serving import batch_stand_in

    return batch_stand_in.save(tmp_path_factory.mktemp("batch_export") / "hund" / "1")


def _start(stack, loop, model, input_checks, load, **changes):
    from hund_tf.serving.server import Server
    from hund_tf.serving.settings import ServerSettings

    settings = ServerSettings(model=str(model), **{"host": "localhost", "port": 0, "rest_port": 0, "poll": 0,
                                                   "grace": TEST_GRACE_S, **changes})

    async def start():
        server = Server(settings, input_checks)
        await server.start()
        if load:
            await server.load()
        return server

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
    running = Running(loop, server)
    stack.callback(lambda: running.call(server.stop(), TEST_GRACE_S + 10))
    return running


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_for_real(grpc_address):
    import grpc

    from tests.serving.calls import Caller, wait_until

    asking = Caller(grpc_address)

    def available():
        try:
            return asking.states()[1][0] == "AVAILABLE"
        except grpc.RpcError:
            return False

    wait_until(available, "TensorFlow Serving is up", 60)
    asking.channel.close()
