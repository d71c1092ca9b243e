"""The end of our server: who is answered, though the request is not yet here whole, and who is not waited for."""

import http.client
import json
import socket
import threading

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.serving.calls import TIMEOUT, Caller, arrays, wait_until

BEFORE_GATE = 2**20  # bytes
LONG_GRACE_S = 60.0


class GatedProxy:
    """Passes bytes on to a server: a mebibyte, then more only when `gate` is set."""

    def __init__(self, address):
        self.gate = threading.Event()
        self._sockets = [socket.create_server(("localhost", 0))]
        self.address = f"localhost:{self._sockets[0].getsockname()[1]}"
        host, port = address.rsplit(":", 1)
        self._target = host, int(port)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.gate.set()
        for one in self._sockets:
            one.close()

    def _accept(self):
        try:
            while True:
                near, far = self._sockets[0].accept()[0], socket.create_connection(self._target)
                self._sockets += [near, far]
                threading.Thread(target=self._pass_on, args=(near, far, BEFORE_GATE), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(far, near, None), daemon=True).start()
        except OSError:  # closed
            pass

    def _pass_on(self, source, target, left):
        try:
            while data := source.recv(2**16):
                target.sendall(data)
                if left is not None:
                    left -= len(data)
                    if left < 0:
                        self.gate.wait()
        except OSError:
            pass


@pytest.fixture
def running(serve):
    return serve(grace=LONG_GRACE_S)


@pytest.fixture
def stopping(running):
    """Function that starts the server's end, and gives its thread when the drain has begun."""
    def stop():
        thread = threading.Thread(target=lambda: running.call(running.server.stop(), LONG_GRACE_S))
        thread.start()
        wait_until(lambda: running.server._predictor._draining, "the drain has begun")
        return thread

    return stop


def under_way(running, count):
    wait_until(lambda: running.server._predictor._under_way.count == count, f"{count} are under way")


def test_grpc_request_whose_upload_is_under_way_is_answered(running, stopping):
    proxy = GatedProxy(running.address)
    caller = Caller(proxy.address)
    call = caller.start("image", image=np.zeros([1000, 2000, 3], np.uint8))  # 6 MB
    under_way(running, 1)
    thread = stopping()
    with pytest.raises(grpc.FutureTimeoutError):
        call.result(timeout=1)  # more than an answer would take
    proxy.gate.set()
    assert arrays(call.result())["size"].tolist() == [1000, 2000]
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    caller.channel.close()
    proxy.close()


def test_rest_request_whose_upload_is_under_way_is_answered(running, stopping):
    host = running.rest.replace("http://", "")
    idle, upload, after = (http.client.HTTPConnection(host, timeout=TIMEOUT) for _ in range(3))
    for kept_alive in (idle, after):
        kept_alive.request("GET", "/v1/models/hund")
        kept_alive.getresponse().read()
    body = b'{"instances": [[1, 2, 3]]' + b" " * 1000 + b"}"
    upload.putrequest("POST", "/v1/models/hund:predict")
    upload.putheader("Content-Length", str(len(body)))
    upload.endheaders(body[:500])
    under_way(running, 1)
    thread = stopping()
    after.request("POST", "/v1/models/hund:predict", body)
    assert after.getresponse().status == 503  # no further one begins
    upload.send(body[500:])
    answer = upload.getresponse()
    assert answer.status == 200 and json.loads(answer.read())["predictions"][0]["total"] == 6
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    for connection in (idle, upload, after):
        connection.close()


@pytest.mark.parametrize("grace", [0.0, 0.3])
def test_upload_that_never_ends_is_cut_off_after_the_grace(serve, grace):
    running = serve(grace=grace)
    upload = http.client.HTTPConnection(running.rest.replace("http://", ""), timeout=TIMEOUT)
    upload.putrequest("POST", "/v1/models/hund:predict")
    upload.putheader("Content-Length", "1000")
    upload.endheaders(b"{")
    under_way(running, 1)
    running.call(running.server.stop(), 10)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        upload.getresponse()
    upload.close()


def test_streams_that_stay_open_do_not_hold_up_the_end(running, stopping):
    caller = Caller(running.address)
    watches = [health_pb2_grpc.HealthStub(caller.channel).Watch(health_pb2.HealthCheckRequest(), timeout=2 * LONG_GRACE_S)
               for _ in range(2)]
    assert [next(watch).status for watch in watches] == [health_pb2.HealthCheckResponse.SERVING] * 2
    done = threading.Event()

    def questions():
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        done.wait()

    reflected = reflection_pb2_grpc.ServerReflectionStub(caller.channel).ServerReflectionInfo(
        questions(), timeout=2 * LONG_GRACE_S)
    assert next(reflected).list_services_response.service
    thread = stopping()
    assert [next(watch).status for watch in watches] == [health_pb2.HealthCheckResponse.NOT_SERVING] * 2
    for stream in (*watches, reflected):
        with pytest.raises(grpc.RpcError) as end:
            next(stream)
        assert end.value.code() == grpc.StatusCode.UNAVAILABLE and end.value.details() == "The server stops."
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    done.set()
    caller.channel.close()


def test_client_that_gives_up_its_upload_leaves_nothing_behind(running, caplog):
    proxy = GatedProxy(running.address)
    caller = Caller(proxy.address)
    call = caller.start("image", image=np.zeros([1000, 2000, 3], np.uint8))
    under_way(running, 1)
    call.cancel()
    proxy.gate.set()
    under_way(running, 0)
    assert caller.version() == 1
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]
    caller.channel.close()
    proxy.close()
