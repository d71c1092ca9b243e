"""Limits of our server: what one request and all of them together may take, and that it is told before it is taken."""

import asyncio
import http.client
import json
import threading

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import tensor_pb2, types_pb2

from hund_tf.serving import json_tensors, tensors
from hund_tf.serving.errors import RequestError
from hund_tf.serving.intake import READERS, SMALL, Intake
from hund_tf.serving.settings import MEBIBYTE, Batching, ServerSettings
from tests.serving.calls import TIMEOUT, Caller, http as ask_http, request, wait_until

FOR_EVER = np.int32(1_000_000)  # steps: minutes
INVALID, EXHAUSTED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED


def listed(count):
    """An image whose numbers are in int_val, as few clients do it."""
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_UINT8, int_val=[7] * count)
    for size in (1, count // 3, 3):
        proto.tensor_shape.dim.add(size=size)
    return proto


def answer_to_headers(running, headers):
    """Status and error of a REST request whose body never comes."""
    connection = http.client.HTTPConnection(running.rest.replace("http://", ""), timeout=TIMEOUT)
    connection.putrequest("POST", "/v1/models/hund:predict")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    with connection.getresponse() as answer:
        found = answer.status, json.loads(answer.read())["error"]
    connection.close()
    return found


def test_values_that_pass_through_the_interpreter_are_few(serve):
    caller = Caller(serve().address)
    assert caller.predict("image", image=listed(3 * 2**18))["size"].tolist() == [1, 2**18]
    with pytest.raises(grpc.RpcError, match="at most 1,048,576 values in int_val; .* belong in tensor_content") as failure:
        caller.predict("image", image=listed(3 * 2**19))
    assert failure.value.code() == INVALID
    assert caller.predict("image", image=np.zeros([1, 2**19, 3], np.uint8))["size"].tolist() == [1, 2**19]
    caller.channel.close()


@pytest.mark.parametrize("body", [b'{"instances": [' + b"1," * 2**20 + b"1]}", b'{"instances": [' + b"[]," * 2**19 + b"[]]}",
                                  b'{"instances": [' + b'{"x":1},' * 2**19 + b"1]}"])
def test_json_of_many_values_is_not_parsed(body, monkeypatch):
    monkeypatch.setattr(json_tensors, "_loads", None)
    with pytest.raises(RequestError, match="at most 1,048,576 values, .*Received: 1,0") as failure:
        json_tensors.parse(body)
    assert failure.value.code == INVALID


def test_text_of_any_size_is_parsed():
    assert json_tensors.parse(b'{"inputs": "' + b"A" * 5_000_000 + b'"}').signature == ""


def test_rest_bodies_are_refused_by_their_headers(serve):
    running = serve(max_rest_bytes=2**16)
    assert answer_to_headers(running, {"Content-Length": str(2**16 + 1)}) == (
        413, "The body of a REST request must have at most 65,536 bytes (--max-rest-mb); gRPC takes larger ones. "
        "Received: 65,537.")
    url = f"{running.rest}/v1/models/hund:predict"
    assert ask_http(url, b" " * 2**17)[0] == 413
    assert ask_http(url, b'{"instances": [[1, 2, 3]]}' + b" " * 2**15)[0] == 200


def test_rest_bodies_without_a_size_are_limited_as_they_come(serve):
    running = serve(max_rest_bytes=2**16)
    connection = http.client.HTTPConnection(running.rest.replace("http://", ""), timeout=TIMEOUT)
    connection.request("POST", "/v1/models/hund:predict", iter([b" " * 2**15] * 4), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})
    answer = connection.getresponse()
    assert answer.status == 413 and json.loads(answer.read())["error"].endswith("Received: more.")
    connection.close()


def test_rest_body_that_is_not_what_its_headers_say(serve, caplog):
    running = serve()
    status, answer = ask_http(f"{running.rest}/v1/models/hund:predict", b"no gzip", headers={"Content-Encoding": "gzip"})
    assert status == 400 and "must be what its headers say" in answer["error"]
    assert not [record for record in caplog.records if record.name.startswith("hund_tf")]


def test_model_is_looked_for_before_the_body_is_read(serve):
    assert answer_to_headers(serve(load=False), {"Content-Length": "1000"})[0] == 503


def test_bytes_in_flight_are_bounded_over_both_ports(serve):
    running = serve(max_message_bytes=3 * MEBIBYTE, max_rest_bytes=3 * MEBIBYTE, max_in_flight_bytes=4 * MEBIBYTE,
                    batching=Batching(num_batch_threads=1), run_timeout=8)
    intake = running.server._intake
    caller = Caller(running.address)
    busy = caller.start("slow", steps=FOR_EVER)
    wait_until(lambda: running.server.busy, "the thread is taken")
    image = np.zeros([1000, 900, 3], np.uint8)  # 2.6 MiB
    waiting = caller.start("image", image=image)
    wait_until(lambda: intake.bytes > image.nbytes, "it waits")
    with pytest.raises(grpc.RpcError, match=r"at most 4,194,304 bytes together \(--max-in-flight-mb\)") as failure:
        caller.predict("image", image=image)
    assert failure.value.code() == EXHAUSTED
    status, said = answer_to_headers(running, {"Content-Length": str(2 * MEBIBYTE)})  # before its body is here
    assert status == 429 and "--max-in-flight-mb" in said
    constants = caller.start("constants")  # what is small has room, though no thread
    wait_until(lambda: running.server._predictor._under_way.count == 3, "it waits, too")
    busy.cancel()
    assert waiting.result() and constants.result()
    wait_until(lambda: intake.bytes == 0, "all is answered")
    assert caller.predict("image", image=image)["size"].tolist() == [1000, 900]
    caller.channel.close()


def test_bytes_in_flight_are_those_of_unpacked_tensors(serve):
    running = serve(max_in_flight_bytes=300 * MEBIBYTE)
    caller = Caller(running.address)
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_UINT8, int_val=[7])  # a few bytes: 7 is repeated 30 million times
    for size in (1, 10_000_000, 3):
        proto.tensor_shape.dim.add(size=size)
    assert caller.predict("image", image=proto)["size"].tolist() == [1, 10_000_000]
    with pytest.raises(grpc.RpcError, match="--max-in-flight-mb") as failure:
        with_less_room(running, lambda: caller.predict("image", image=proto))
    assert failure.value.code() == EXHAUSTED
    caller.channel.close()


def with_less_room(running, ask):
    """Asks while others have 290 MiB under way."""
    async def with_others():
        with running.server._intake.room(290 * MEBIBYTE):
            return await asyncio.get_running_loop().run_in_executor(None, ask)

    return running.call(with_others())


def test_one_large_body_is_parsed_at_a_time_and_others_do_not_wait():
    large, gate, free, together = bytes(SMALL + 1), threading.Event(), threading.Lock(), []

    def parse(body):
        together.append(free.acquire(blocking=False))
        gate.wait(TIMEOUT)
        free.release()
        return len(body)

    async def parsed():
        intake = Intake(10)
        many = asyncio.gather(*(intake.parsed("rest", parse, large) for _ in range(3)))
        others = await intake.parsed("rest", len, b"small"), await intake.parsed("grpc", len, large)
        gate.set()
        return others, await many

    assert asyncio.run(parsed()) == ((5, SMALL + 1), [SMALL + 1] * 3) and together == [True] * 3


def test_few_messages_are_read_at_a_time_and_slow_ones_hold_up_nobody(monkeypatch):
    monkeypatch.setattr("hund_tf.serving.intake.TURN_S", 0.2)

    class Context:
        started = 0

        async def read(self):
            Context.started += 1
            await asyncio.Event().wait()

    class Ready:
        async def read(self):
            return b"here"

    async def crowd():
        intake = Intake(10)
        slow = [asyncio.ensure_future(intake.message(Context())) for _ in range(2 * READERS)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first = Context.started
        found = await asyncio.wait_for(intake.message(Ready()), TIMEOUT)
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)
        again = await asyncio.wait_for(asyncio.gather(*(intake.message(Ready()) for _ in range(3 * READERS))), TIMEOUT)
        return first, found, again

    assert asyncio.run(crowd()) == (READERS, b"here", [b"here"] * 3 * READERS)


def test_the_largest_request_has_room():
    with pytest.raises(ValueError, match="--max-in-flight-mb must be at least --max-message-mb and --max-rest-mb"):
        ServerSettings(model="m", max_in_flight_bytes=MEBIBYTE)


def test_declared_bytes():
    assert tensors.declared_bytes(listed(30)) == 30
    for harm in (dict(dtype=types_pb2.DT_VARIANT), dict(dtype=9999)):
        assert tensors.declared_bytes(tensor_pb2.TensorProto(**harm)) == 0
    proto = request(x=np.ones([2, 3], np.float32)).inputs["x"]
    assert tensors.declared_bytes(proto) == 24
    proto.tensor_shape.dim[0].size = -1
    assert tensors.declared_bytes(proto) == 0
    proto.tensor_shape.dim[0].size = 2**62
    for _ in range(100_000):  # a product of so many would take minutes
        proto.tensor_shape.dim.add(size=2**62)
    assert tensors.declared_bytes(proto) == 0


def test_rest_upload_that_stands_still_gives_its_room_back(serve):
    running = serve(rest_timeout=0.5)
    connection = http.client.HTTPConnection(running.rest.replace("http://", ""), timeout=TIMEOUT)
    connection.putrequest("POST", "/v1/models/hund:predict")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"{")
    wait_until(lambda: running.server._intake.bytes == 1000, "it has its room")
    answer = connection.getresponse()
    assert answer.status == 504 and "within 0.5 s (--rest-timeout)" in json.loads(answer.read())["error"]
    assert running.server._intake.bytes == 0
    connection.close()
