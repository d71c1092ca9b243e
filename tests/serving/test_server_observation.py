"""What our server tells of itself: health, reflection, metrics, the log; and limits of both protocols."""

import logging
import threading

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.serving.calls import TIMEOUT, Caller, arrays, http, request, wait_until

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ["", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"]


def check(channel, service=""):
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT).status


def test_health_follows_the_load(serve):
    running = serve(load=False)
    with grpc.insecure_channel(running.address) as channel:
        assert [check(channel, service) for service in SERVICES] == [NOT_SERVING] * 3
        running.call(running.server.load())
        assert [check(channel, service) for service in SERVICES] == [SERVING] * 3
        with pytest.raises(grpc.RpcError) as failure:
            check(channel, "nobody")
        assert failure.value.code() == grpc.StatusCode.NOT_FOUND


def test_health_and_requests_while_it_drains(serve):
    running = serve()
    caller = Caller(running.address)
    states = health_pb2_grpc.HealthStub(caller.channel).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
    assert next(states).status == SERVING
    long_one = caller.start("slow", steps=np.int32(300))
    answers = []
    body = {"inputs": 300, "signature_name": "slow"}
    other = threading.Thread(target=lambda: answers.append(http(f"{running.rest}/v1/models/hund:predict", body)))
    other.start()
    while running.server._scheduler._running < 2:
        pass
    stopping = threading.Thread(target=lambda: running.call(running.server.stop()))
    stopping.start()
    assert next(states).status == NOT_SERVING
    assert arrays(long_one.result())["steps"] == 300  # what was under way is finished
    other.join()
    assert answers == [(200, {"outputs": 300})]
    stopping.join()
    with pytest.raises(grpc.RpcError) as failure:
        caller.predict("constants")
    assert failure.value.code() == grpc.StatusCode.UNAVAILABLE
    caller.channel.close()


def test_reflection_lists_the_services(serve):
    with grpc.insecure_channel(serve().address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(stub.ServerReflectionInfo(iter([question]), timeout=TIMEOUT))
        assert {service.name for service in answer.list_services_response.service} == {
            *SERVICES[1:], "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
        for service in SERVICES[1:]:
            question = reflection_pb2.ServerReflectionRequest(file_containing_symbol=service)
            answer = next(stub.ServerReflectionInfo(iter([question]), timeout=TIMEOUT))
            assert answer.file_descriptor_response.file_descriptor_proto


def test_metrics(serve):
    running = serve(max_rest_bytes=2**16)
    caller = Caller(running.address)
    caller.predict(x=np.ones([2, 3], np.float32))
    for signature, value in (("roots", -1), ("secret-of-a-client", 1)):
        with pytest.raises(grpc.RpcError):
            caller.predict(signature, n=np.float32([value]))
    with pytest.raises(grpc.RpcError):
        caller.predict("slow", steps=np.int32(100_000), timeout=1)
    wait_until(lambda: "DEADLINE_EXCEEDED" in http(f"{running.rest}/monitoring/prometheus/metrics")[1], "it is counted")
    for body in ({"instances": [[1, 2, 3]]}, b"no json", b" " * 2**17):  # the last is refused by its size
        http(f"{running.rest}/v1/models/hund:predict", body)
    http(f"{running.rest}/v1/models/nobody:predict", b"{}")
    status, text = http(f"{running.rest}/monitoring/prometheus/metrics")
    assert status == 200
    for line in ('hund_serving_requests_total{api="grpc",model="hund",signature="serving_default",status="OK"} 1.0',
                 'hund_serving_requests_total{api="rest",model="hund",signature="serving_default",status="OK"} 1.0',
                 'hund_serving_requests_total{api="rest",model="hund",signature="",status="INVALID_ARGUMENT"} 1.0',
                 'hund_serving_requests_total{api="rest",model="hund",signature="",status="RESOURCE_EXHAUSTED"} 1.0',
                 'hund_serving_requests_total{api="rest",model="hund",signature="",status="NOT_FOUND"} 1.0',
                 'hund_serving_requests_total{api="grpc",model="hund",signature="roots",status="INVALID_ARGUMENT"} 1.0',
                 'hund_serving_requests_total{api="grpc",model="hund",signature="slow",status="DEADLINE_EXCEEDED"} 1.0',
                 'hund_serving_latency_seconds_count{api="grpc",model="hund",signature="serving_default",status="OK"} 1.0',
                 'hund_serving_batch_size_sum{signature="serving_default"} 3.0', "hund_serving_queue_length 0.0",
                 'hund_serving_version_loaded{model="hund",version="1"} 1.0', "process_resident_memory_bytes"):
        assert line in text, line
    assert "secret" not in text  # what clients make up must not fill the metrics
    caller.channel.close()


def test_size_limits(serve):
    running = serve(max_message_bytes=2**16)
    caller = Caller(running.address)
    with pytest.raises(grpc.RpcError) as failure:
        caller.predict(x=np.ones([6000, 3], np.float32))
    assert failure.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    proto = request(x=np.ones([1, 1], np.float32)).inputs["x"]  # small on the wire, large unpacked
    proto.tensor_shape.dim[0].size = 10**12
    with pytest.raises(grpc.RpcError, match="at most 65,536 bytes unpacked") as failure:
        caller.predict(x=proto)
    assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caller.version() == 1
    caller.channel.close()


def test_bytes_that_are_no_message(serve, caplog):
    running = serve()
    before = len(caplog.records)
    caller = Caller(running.address)
    raw = caller.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    rng = np.random.default_rng(0)
    for length in (1, 10, 100, 1000):
        with pytest.raises(grpc.RpcError) as failure:
            raw(b"\x12" + rng.bytes(length), timeout=TIMEOUT)
        assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caller.version() == 1 and not caplog.records[before:]
    caller.channel.close()


def test_fault_in_one_request_costs_no_other(serve, monkeypatch, caplog):
    def broken(signature, feeds):
        if "text" in feeds:
            raise RuntimeError("a bug")

    running = serve(input_checks=[broken])
    caller = Caller(running.address)
    with pytest.raises(grpc.RpcError) as failure:
        caller.predict("texts", text=np.array([b"a"], object))
    assert failure.value.code() == grpc.StatusCode.INTERNAL and "a bug" not in failure.value.details()
    status, answer = http(f"{running.rest}/v1/models/hund:predict", {"instances": ["a"], "signature_name": "texts"})
    assert status == 500 and "a bug" not in answer["error"]
    assert "a bug" in caplog.text
    servable = running.server.versions.current
    monkeypatch.setattr(servable, "run", lambda *_: 1 / 0)  # a fault on the thread that runs batches
    with pytest.raises(grpc.RpcError) as failure:
        caller.predict("one", x=np.ones(3, np.float32))
    assert failure.value.code() == grpc.StatusCode.INTERNAL
    monkeypatch.undo()
    assert caller.version() == 1
    caller.channel.close()


def test_output_filters_pick_from_one_graph(serve, monkeypatch):
    running = serve()
    session, fetched = running.server.versions.current._session, set()
    run = session.run
    monkeypatch.setattr(session, "run", lambda fetches, *rest, **more: (
        fetched.add(tuple(fetches)) or run(fetches, *rest, **more)))
    caller = Caller(running.address)
    for outputs in (["y"], ["total"], ["y", "total"], []):
        assert set(caller.predict(outputs=outputs, x=np.ones([1, 3], np.float32))) == (set(outputs) or {"y", "total"})
    assert len(fetched) == 1
    caller.channel.close()


def test_log_is_quiet_about_bad_requests(serve, caplog):
    running = serve()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        http(f"{running.rest}/v1/models/hund:predict", b"{")
        http(f"{running.rest}/nowhere")
    assert not [record for record in caplog.records if record.name.startswith("hund_tf")]
