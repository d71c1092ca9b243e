"""Queues of our server: who runs together, who is refused, who is dropped, and that none harms the others."""

import time

import grpc
import numpy as np
import pytest

from hund_tf.serving.settings import Batching, read_batching
from tests.serving.calls import Caller, http, wait_until

INVALID, EXHAUSTED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED
LONG = np.int32(2000)  # steps: half a second on a fast machine, a few on a slow one
FOR_EVER = np.int32(100_000)


@pytest.fixture
def ask(serve):
    """Function of batching settings: a server and who asks it."""
    callers = []

    def start(**batching):
        running = serve(batching=Batching(**{"num_batch_threads": 1, **batching}))
        callers.append(Caller(running.address))
        return running, callers[-1]

    yield start
    for caller in callers:
        caller.channel.close()


def occupy(running, caller, steps=LONG, timeout=30):
    """Takes the server's only thread."""
    call = caller.start("slow", steps=steps, timeout=timeout)
    wait_until(lambda: running.server.busy, "the thread is taken")
    return call


def queued(running, count):
    wait_until(lambda: running.server._scheduler.waiting() == count, f"{count} wait")


def in_batch_of(future):
    return {proto.int_val[0] if proto.int_val else np.frombuffer(proto.tensor_content, np.int32)[0]
            for name, proto in future.result().outputs.items() if name == "rows"}.pop()


def test_requests_that_wait_run_together(ask):
    running, caller = ask(max_batch_size=4)
    busy = occupy(running, caller)
    calls = []
    for rows in (1, 2, 2, 1):
        calls.append(caller.start("slow_rows", steps=np.full([rows], rows, np.int32)))
        queued(running, len(calls))
    assert [in_batch_of(call) for call in calls] == [3, 3, 3, 3]  # 1 + 2, then 2 + 1: nobody overtakes
    for call, rows in zip(calls, (1, 2, 2, 1)):
        assert np.frombuffer(call.result().outputs["steps"].tensor_content, np.int32).tolist() == [rows] * rows
    busy.result()


def test_a_batch_waits_for_others_no_longer_than_told(ask):
    running, caller = ask(max_batch_size=3, batch_timeout_micros=1_000_000)
    start = time.monotonic()
    calls = [caller.start("slow_rows", steps=np.int32([0])) for _ in range(2)]
    assert [in_batch_of(call) for call in calls] == [2, 2]
    assert time.monotonic() - start > 0.9
    start = time.monotonic()
    calls = [caller.start("slow_rows", steps=np.int32([0])) for _ in range(3)]
    assert [in_batch_of(call) for call in calls] == [3, 3, 3] and time.monotonic() - start < 0.9  # full: at once


def test_shapes_and_filters_that_differ_are_not_merged(ask):
    running, caller = ask()
    busy = occupy(running, caller)
    all_outputs = caller.start("serving_default", x=np.ones([1, 3], np.float32))
    queued(running, 1)
    assert set(caller.predict(outputs=["y"], x=np.ones([1, 3], np.float32))) == {"y"}
    assert set(all_outputs.result().outputs) == {"y", "total"}
    busy.result()


def test_one_bad_request_does_not_fail_the_others(ask):
    running, caller = ask()
    busy = occupy(running, caller)
    calls = [caller.start("roots", n=np.float32([value])) for value in (4, -1, 9)]
    queued(running, 3)
    assert [call.code() for call in calls] == [grpc.StatusCode.OK, INVALID, grpc.StatusCode.OK]
    assert np.frombuffer(calls[2].result().outputs["root"].tensor_content, np.float32) == 3
    assert "must not be negative" in calls[1].details()
    busy.result()


def test_a_request_larger_than_a_batch_is_refused(ask):
    _, caller = ask(max_batch_size=2)
    with pytest.raises(grpc.RpcError, match=r"at most 2 rows \(max_batch_size\). Received: 3") as failure:
        caller.predict(x=np.ones([3, 3], np.float32))
    assert failure.value.code() == INVALID
    assert caller.predict(x=np.ones([0, 3], np.float32))["y"].shape == (0, 3)


def test_allowed_sizes_are_filled_up(ask):
    _, caller = ask(max_batch_size=8, allowed_batch_sizes=(4, 8))
    found = caller.predict("slow_rows", steps=np.int32([1, 2, 3]))
    assert found["steps"].tolist() == [1, 2, 3] and found["rows"].tolist() == [4, 4, 4]


@pytest.mark.parametrize("signature, name, value", [("one", "x", np.ones(3, np.float32)),
                                                    ("slow_rows", "steps", np.int32([0, 0]))])
def test_overload_is_told_at_once(ask, signature, name, value):
    running, caller = ask(max_batch_size=2, max_enqueued_batches=2)
    busy = occupy(running, caller, 600)
    waiting = [caller.start(signature, **{name: value}) for _ in range(2)]
    queued(running, 2)
    with pytest.raises(grpc.RpcError, match="at most 2 waiting batches") as failure:
        caller.predict(signature, **{name: value})
    assert failure.value.code() == EXHAUSTED and not busy.done()
    body = {"inputs": {name: value.tolist()}, "signature_name": signature}
    assert http(f"{running.rest}/v1/models/hund:predict", body)[0] == 429
    for call in waiting:
        call.result()
    busy.result()


def test_deadline_in_the_queue_is_dropped_and_not_run(ask):
    running, caller = ask(max_enqueued_batches=1)
    busy = occupy(running, caller, np.int32(5 * LONG))  # beyond the deadline of the next
    late = caller.start("slow", steps=FOR_EVER, timeout=1.0)  # long enough to be seen waiting
    queued(running, 1)
    assert late.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    queued(running, 0)  # its place is free before its turn comes
    caller.predict("one", x=np.ones(3, np.float32))
    busy.result()
    assert not running.server.busy


def test_cancelled_in_the_queue_is_not_run(ask):
    running, caller = ask()
    busy = occupy(running, caller)
    calls = [caller.start("slow_rows", steps=np.array([steps])) for steps in (FOR_EVER, np.int32(0))]
    queued(running, 2)
    calls[0].cancel()
    queued(running, 1)
    assert in_batch_of(calls[1]) == 1
    busy.result()


def test_a_run_ends_at_its_deadline(ask):
    running, caller = ask()
    with pytest.raises(grpc.RpcError) as failure:
        caller.predict("slow", steps=FOR_EVER, timeout=0.2)
    assert failure.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until(lambda: not running.server.busy, "the thread is free again", 2)
    np.testing.assert_allclose(caller.predict("one", x=np.ones(3, np.float32))["y"], 2)


@pytest.mark.parametrize("signature, steps", [("slow", FOR_EVER), ("slow_rows", np.array([FOR_EVER]))])
def test_a_run_that_nobody_waits_for_ends_in_time(serve, monkeypatch, signature, steps):
    """No session can be told to stop a run; only its time is limited. What was merged is not tried again one by one."""
    running = serve(batching=Batching(num_batch_threads=1, batch_timeout_micros=1_000_000), run_timeout=1)
    servable, runs = running.server.versions.current, []
    run = servable.run
    monkeypatch.setattr(servable, "run", lambda signature, *rest: runs.append(signature.name) or run(signature, *rest))
    caller = Caller(running.address)
    calls = [caller.start(signature, timeout=None, steps=steps) for _ in range(2)]
    wait_until(lambda: running.server.busy, "the run goes")
    calls[0].cancel()
    caller.predict("one", x=np.ones(3, np.float32), timeout=10)
    if signature == "slow_rows":
        assert calls[1].code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert calls[1].details() == "A run must take at most 1 s (--run-timeout). Received: a longer one."
        assert runs == ["slow_rows", "one"]
    calls[1].cancel()
    caller.channel.close()


def test_rest_requests_are_given_up(serve):
    running = serve(rest_timeout=0.2)
    status, answer = http(f"{running.rest}/v1/models/hund:predict", {"inputs": int(FOR_EVER), "signature_name": "slow"})
    assert status == 504 and "deadline" in answer["error"].lower()


def test_inputs_must_agree_in_rows():
    from hund_tf.serving import batches
    from hund_tf.serving.errors import RequestError
    from hund_tf.serving.signatures import Signature

    signature = Signature("s", {}, {}, {"k": np.zeros([1, 4])}, True)
    assert batches.rows_of(signature, {"a": np.zeros([2]), "b": np.zeros([2])}, 8) is None  # the default has one row
    assert batches.rows_of(signature, {"a": np.zeros([1]), "b": np.zeros([1])}, 8) == 1
    with pytest.raises(RequestError, match=r"equal first dimensions. Received: \{'a': 2, 'b': 3\}"):
        batches.rows_of(signature, {"a": np.zeros([2]), "b": np.zeros([3])}, 8)


def test_parameters_file(tmp_path):
    path = tmp_path / "batching.txt"
    path.write_text("max_batch_size { value: 8 } batch_timeout_micros { value: 5000 } # microseconds\n"
                    "max_enqueued_batches { value: 7 } num_batch_threads { value: 3 }\n"
                    "allowed_batch_sizes: 2\nallowed_batch_sizes: 8\n"
                    'thread_pool_name { value: "hund" }')
    assert read_batching(str(path)) == Batching(8, 5000, 7, 3, (2, 8))
    assert read_batching(str(path), max_batch_size=4, num_batch_threads=None) == Batching(4, 5000, 7, 3, (2, 4))
    assert read_batching(None) == Batching()


@pytest.mark.parametrize("text, words", [
    ("max_batch_size: 8", "text of TensorFlow Serving's BatchingParameters"), ("nonsense { }", "nonsense"),
    ("max_batch_size { value: 0 }", "max_batch_size must be at least 1. Received: 0"),
    ("pad_variable_length_inputs: true", "must be false"),
    ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "end with max_batch_size = 8")])
def test_bad_parameters_files(tmp_path, text, words):
    path = tmp_path / "batching.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_batching(str(path))
