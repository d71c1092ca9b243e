"""The client against a server in this process: what is sent, what comes back, what is refused, what is tried again."""

import asyncio
import os
import signal
import threading
import time
from concurrent import futures

import grpc
import numpy as np
import pytest

from hund_tf.client import (AsyncHundClient, HundClient, HundInputError, HundServerError, HundTimeoutError,
                            HundUnavailableError, RetryPolicy)
from hund_tf.client import results, retries, tensors
from tests.serving.calls import wait_until
from tests.serving.fake_server import FOUND, PHOTO, ROWS, VERSION, Failure, FakeServer, outputs_of, people, server_process

UNAVAILABLE = Failure(grpc.StatusCode.UNAVAILABLE, "loading")
FULL = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full")
QUICK = RetryPolicy(first_wait=0.01)
NOWHERE = "127.0.0.1:1"  # where nothing listens


@pytest.fixture(params=["sync", "async"])
def make_client(request):
    """Makes a client whose methods wait, of either kind, and closes it."""
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
        made.append(kind(*arguments, **{"timeout": 20, "retries": QUICK, **settings}))
        return made[-1]

    yield make
    for client in made:
        client.close()
    loop.close()


@pytest.fixture
def fake_server():
    with FakeServer() as server:
        yield server


def test_people_of_a_photo(fake_server, make_client):
    result = make_client(fake_server.address).reconstruct(PHOTO)
    assert (result.num_people, result.rows, result.image_size, result.model_version) == (FOUND, ROWS, (48, 64), VERSION)
    assert result.intrinsics.tolist() == [64, 64, 32, 24] and result.intrinsics.dtype == np.float64
    for name, expected in people(FOUND, ROWS).items():
        np.testing.assert_array_equal(getattr(result, name), expected[:FOUND])  # without the padding
        assert getattr(result, name).flags.writeable
    assert set(fake_server.requests[0].inputs) == {"image"} and not fake_server.requests[0].output_filter
    assert fake_server.requests[0].model_spec.name == "hund"


def test_arguments_reach_the_server(fake_server, make_client):
    client = make_client(fake_server.address, model="other", version=3)
    assert client.reconstruct(PHOTO, (50, 60, 30, 20), max_people=1, num_stages=0).num_people == 1
    request = fake_server.requests[0]
    sent = {name: tensors.decode(tensor) for name, tensor in request.inputs.items()}
    assert (request.model_spec.name, request.model_spec.version.value) == ("other", 3)
    assert {name: (array.dtype.name, array.shape) for name, array in sent.items()} == {
        "image": ("uint8", (48, 64, 3)), "intrinsics": ("float32", (4,)), "max_people": ("int32", ()),
        "num_stages": ("int32", ())}
    assert sent["intrinsics"].tolist() == [50, 60, 30, 20] and sent["max_people"] == 1 and sent["num_stages"] == 0


def test_boxes_crops_and_files(fake_server, make_client):
    client = make_client(fake_server.address)
    assert client.reconstruct_boxes(PHOTO, [[1, 2, 30, 40]] * 3).box.shape == (3, 4)
    assert client.reconstruct_boxes(PHOTO, []).num_people == 0
    crops = client.reconstruct_crops(np.zeros([2, 480, 480, 3], np.uint8), [[480, 480, 240, 240]] * 2)
    assert (crops.num_people, crops.joints3d.shape) == (2, (2, 63, 3))
    assert crops.box is None and crops.score is None and crops.image_size is None
    photos = client.reconstruct_bytes([b"a", bytearray(b"bb"), b"c"])
    assert [photo.num_people for photo in photos] == [0, 1, 2]
    assert [photo.vertices.shape for photo in photos] == [(0, 4, 3), (1, 4, 3), (2, 4, 3)]
    assert photos[2].image_size == (48, 64) and photos[2].intrinsics.shape == (4,)
    assert [request.model_spec.signature_name for request in fake_server.requests] == [
        "reconstruct_boxes", "reconstruct_boxes", "reconstruct_crops", "serving_default"]


def test_only_the_outputs_asked_for(fake_server, make_client):
    client = make_client(fake_server.address)
    result = client.reconstruct(PHOTO, outputs=("joints3d", "box"))
    assert result.joints3d.shape == (FOUND, 63, 3) and result.box.shape == (FOUND, 4)
    assert {name for name, value in result._asdict().items() if value is None} == set(results.OUTPUTS) - {
        "joints3d", "box", "num_people"}
    assert list(fake_server.requests[0].output_filter) == ["joints3d", "box", "num_people"]
    assert client.reconstruct(PHOTO, outputs="num_people").num_people == FOUND
    assert client.reconstruct_boxes(PHOTO, [[1, 2, 30, 40]], outputs=["score"]).score.shape == (1,)
    assert client.reconstruct_bytes([b"a", b"b"], outputs=["score"])[1].score.shape == (1,)


def test_description_is_asked_for_once(fake_server, make_client):
    client = make_client(fake_server.address)
    about = client.describe()
    assert about.faces.shape == (4, 3) and (about.keypoint_names[136], about.joint_names[0]) == ("keypoint136", "joint0")
    assert (about.preset, about.version) == ("person", "0.9")
    assert client.describe() is about and len(fake_server.requests) == 1
    assert client.describe(refresh=True).preset == "person" and len(fake_server.requests) == 2


def test_status(fake_server, make_client):
    assert make_client(fake_server.address).status() == ((7, "AVAILABLE", 0, ""), (6, "END", 1, "replaced"))
    with pytest.raises(HundServerError, match="NOT_FOUND: Could not find any versions of model x"):
        make_client(fake_server.address, model="x").status()


@pytest.mark.parametrize("call, words", [
    (lambda c: c.reconstruct(PHOTO, (np.nan, 64, 32, 24)), "`intrinsics` must be"),
    (lambda c: c.reconstruct(PHOTO, (64, 64, 32)), "`intrinsics` must be"),
    (lambda c: c.reconstruct(PHOTO / 255), "`image` must be uint8 \\[H, W, 3\\], RGB. Received: float64"),
    (lambda c: c.reconstruct(PHOTO[None]), "Received: uint8 \\(1, 48, 64, 3\\)"),
    (lambda c: c.reconstruct(PHOTO, max_people=0), "`max_people` must be"),
    (lambda c: c.reconstruct(PHOTO, max_people=1 << 40), "int32"),
    (lambda c: c.reconstruct(PHOTO, num_stages=-1), "`num_stages`"),
    (lambda c: c.reconstruct(PHOTO, outputs=["box", "mesh"]), "`outputs` must be some of .*Received: \\['box', 'mesh'\\]"),
    (lambda c: c.reconstruct(PHOTO, outputs=[]), "`outputs` must be some of"),
    (lambda c: c.reconstruct(PHOTO, timeout=0), "`timeout` must be a positive number"),
    (lambda c: c.reconstruct_boxes(PHOTO, [[900, 2, 30, 40]]), "must overlap the photo"),
    (lambda c: c.reconstruct_boxes(PHOTO, [[1, 2, np.nan, 40]]), "`boxes` must be"),
    (lambda c: c.reconstruct_bytes(b"photo"), "a list of bytes, .* Received: one bytes"),
    (lambda c: c.reconstruct_bytes([]), "Received: \\[\\]"), (lambda c: c.reconstruct_bytes(["a.jpg"]), "str 'a.jpg'"),
    (lambda c: c.reconstruct_bytes([b"a", b""]), "none empty. Received: .*bytes b''"),
    (lambda c: c.reconstruct_crops(np.zeros([1, 48, 48, 3], np.uint8), [[1, 1, 1, 1]]), "must be uint8 \\[B, 480, 480, 3\\]"),
    (lambda c: c.reconstruct_crops(np.zeros([2, 480, 480, 3], np.uint8), [[1, 1, 1, 1]]), "must be \\[2, 4\\]"),
    (lambda c: c.reconstruct_crops(np.zeros([1, 480, 480, 3], np.uint8), [[1, np.nan, 1, 1]]), "`intrinsics` must be")])
def test_wrong_arguments_are_refused_before_anything_is_sent(fake_server, make_client, call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call(make_client(fake_server.address))
    assert not isinstance(caught.value, HundServerError) and not fake_server.requests


@pytest.mark.parametrize("code, kind", [
    (grpc.StatusCode.INVALID_ARGUMENT, HundInputError), (grpc.StatusCode.NOT_FOUND, HundServerError),
    (grpc.StatusCode.INTERNAL, HundServerError), (grpc.StatusCode.RESOURCE_EXHAUSTED, HundServerError)])
def test_errors_of_the_server(fake_server, make_client, code, kind):
    fake_server.failures = [Failure(code, "the rule")]
    with pytest.raises(kind) as caught:
        make_client(fake_server.address).reconstruct(PHOTO)
    assert (caught.value.code, caught.value.message, caught.value.address) == (code, "the rule", fake_server.address)
    assert len(fake_server.requests) == 1  # not tried again


@pytest.mark.parametrize("failures, policy", [([UNAVAILABLE] * 2, QUICK), ([FULL, UNAVAILABLE],
                                                                           RetryPolicy(first_wait=0.01, exhausted=True))])
def test_what_passes_is_tried_again(fake_server, make_client, failures, policy):
    fake_server.failures = list(failures)
    assert make_client(fake_server.address, retries=policy).reconstruct(PHOTO).num_people == FOUND
    assert len(fake_server.requests) == 3


def test_retries_are_limited(fake_server, make_client):
    fake_server.failures = [UNAVAILABLE] * 9
    with pytest.raises(HundUnavailableError, match="UNAVAILABLE: loading"):
        make_client(fake_server.address, retries=1).reconstruct(PHOTO)
    assert len(fake_server.requests) == 2


def test_deadline(fake_server, make_client):
    fake_server.delay = 0.5
    client, start = make_client(fake_server.address), time.monotonic()
    with pytest.raises(HundTimeoutError):
        client.reconstruct(PHOTO, timeout=0.1)
    assert time.monotonic() - start < 0.4
    assert client.reconstruct(PHOTO).num_people == FOUND  # that of the client is longer


def test_deadline_holds_over_retries(make_client):
    client, start = make_client(NOWHERE, retries=RetryPolicy(rounds=1000, first_wait=0.05, longest_wait=0.05)), time.monotonic()
    with pytest.raises(HundUnavailableError, match=NOWHERE):
        client.describe(timeout=0.5)
    assert time.monotonic() - start < 1.5


def test_large_messages_go_both_ways(make_client):
    vertices = np.ones([ROWS, 60_000, 3], np.float32)  # 5.8 MB
    with FakeServer(outputs=lambda request: {**outputs_of(request), "vertices": vertices}) as server:
        photo = np.zeros([1500, 2000, 3], np.uint8)  # 9 MB
        assert make_client(server.address).reconstruct(photo, outputs=["vertices"]).vertices.shape == (FOUND, 60_000, 3)
        small = make_client(server.address, most_bytes=4 << 20, retries=RetryPolicy(exhausted=True))
        with pytest.raises(HundServerError, match="larger than max"):
            small.reconstruct(PHOTO)
        assert len(server.requests) == 2


@pytest.mark.parametrize("outputs, words", [
    ({"num_people": None}, "'num_people' must be of shape \\(\\)"), ({"num_people": np.array(9, np.int32)}, "at least 9"),
    ({"box": np.zeros([3, 4], np.float32)}, "the same number of rows"), ({"score": np.array(1, np.float32)}, "number of rows"),
    ({"num_people": np.array(-1, np.int32)}, "not negative")])
def test_answers_that_contradict_themselves(make_client, outputs, words):
    def answer(request):
        return {name: array for name, array in {**outputs_of(request), **outputs}.items() if array is not None}

    with FakeServer(outputs=answer) as server, pytest.raises(HundServerError, match=words) as caught:
        make_client(server.address).reconstruct(PHOTO)
    assert caught.value.code == grpc.StatusCode.DATA_LOSS and caught.value.address == server.address


def test_server_of_another_model(make_client):
    with FakeServer(outputs=lambda request: {"y": np.zeros(1, np.float32)}) as server:
        with pytest.raises(HundServerError, match="`describe` must give faces"):
            make_client(server.address).describe()


def test_async_calls_run_beside_each_other():
    async def run(address):
        async with AsyncHundClient(address, timeout=20) as client:
            return await asyncio.gather(*(client.reconstruct(PHOTO, max_people=1 + i % 2) for i in range(12)))

    with FakeServer(delay=0.1) as server:
        found = asyncio.run(run(server.address))
        assert [result.num_people for result in found] == [1, 2] * 6 and server.most_running > 6


async def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


CLOSED = "CANCELLED: the client was closed before there was an answer"


@pytest.fixture(params=["under way", "in a wait"])
def stuck(request):
    """A server whose calls get no further: itself, the policy to call it with, and a function, whether so many are stuck."""
    waits = []

    class LongWait(RetryPolicy):
        def wait(self, finished_rounds, noise):
            waits.append(finished_rounds)
            return 15.0

    with FakeServer() as server:
        if request.param == "under way":
            server.awake.clear()
            yield server, LongWait(rounds=0), lambda calls: len(server.requests) == calls
        else:
            server.failures = [UNAVAILABLE] * 9
            yield server, LongWait(), lambda calls: len(waits) == calls


def test_call_after_close_is_refused(fake_server, make_client):
    client = make_client(fake_server.address)
    client.describe(), client.close(), client.close()
    with pytest.raises(RuntimeError, match="A client must be open"):
        client.reconstruct(PHOTO)


def test_close_ends_calls(stuck):
    server, policy, are_stuck = stuck
    start, client = time.monotonic(), HundClient(server.address, timeout=20, retries=policy)
    with futures.ThreadPoolExecutor() as pool:
        calls = [pool.submit(client.reconstruct, PHOTO) for _ in range(3)]
        wait_until(lambda: are_stuck(3), "three calls are under way")
        client.close()
        for call in calls:
            with pytest.raises(HundServerError, match=CLOSED) as caught:
                call.result()
            assert caught.value.code == grpc.StatusCode.CANCELLED
    assert time.monotonic() - start < 10


def test_close_right_before_a_try(fake_server, monkeypatch):
    client = HundClient(fake_server.address, timeout=20)
    monkeypatch.setattr(retries.Tries, "begin", lambda tries: client.close())
    with pytest.raises(HundServerError, match=CLOSED):
        client.reconstruct(PHOTO)


def test_close_ends_calls_of_asyncio(stuck):
    async def run():
        client = AsyncHundClient(server.address, timeout=20, retries=policy)
        calls = [asyncio.create_task(client.reconstruct(PHOTO)) for _ in range(3)]
        await until(lambda: are_stuck(3))
        await client.close()
        return await asyncio.gather(*calls, return_exceptions=True)

    (server, policy, are_stuck), start = stuck, time.monotonic()
    for error in asyncio.run(run()):
        assert isinstance(error, HundServerError) and error.code == grpc.StatusCode.CANCELLED and CLOSED in str(error)
    assert time.monotonic() - start < 10


def test_cancelled_task_of_a_closed_client_is_cancelled(stuck):
    async def run():
        client = AsyncHundClient(server.address, timeout=20, retries=policy)
        call = asyncio.create_task(client.reconstruct(PHOTO))
        await until(lambda: are_stuck(1))
        call.cancel()
        await client.close()
        with pytest.raises(asyncio.CancelledError):
            await call

    server, policy, are_stuck = stuck
    asyncio.run(run())


def test_call_that_is_given_up_leaves_the_client_usable(stuck):
    async def run():
        async with AsyncHundClient(server.address, timeout=20, retries=policy) as client:
            call = asyncio.create_task(client.reconstruct(PHOTO))
            await until(lambda: are_stuck(1))
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(call, 0.05)
            assert call.cancelled()
            server.failures = []
            server.awake.set()
            assert (await client.reconstruct(PHOTO)).num_people == FOUND

    server, policy, are_stuck = stuck
    asyncio.run(run())


def test_wrong_timeout_is_an_error_at_the_call_of_asyncio():
    client = AsyncHundClient(NOWHERE)
    for call in (client.describe, client.status, lambda timeout: client.reconstruct(PHOTO, timeout=timeout)):
        with pytest.raises(ValueError, match="`timeout` must be a positive number of seconds. Received: 0"):
            call(timeout=0)


def test_silent_address_is_passed_over_and_found_again(make_client, monkeypatch):
    with FakeServer() as one, FakeServer() as two:
        client = make_client([one.address, two.address])
        one.awake.clear()
        assert [client.reconstruct(PHOTO, timeout=4).num_people for _ in range(6)] == [FOUND] * 6
        assert len(one.requests) == 1 and len(two.requests) == 6
        one.awake.set()
        monkeypatch.setattr(retries, "SUSPECT_S", 0.0)  # as if that time were over
        assert [client.reconstruct(PHOTO).num_people for _ in range(2)] == [FOUND] * 2
        assert len(one.requests) == 2 and len(two.requests) == 7


def test_slow_address_alone_has_the_whole_timeout(make_client):
    with FakeServer(delay=0.6) as server:
        assert make_client([NOWHERE, server.address]).reconstruct(PHOTO, timeout=1.1).num_people == FOUND
        assert make_client(server.address, retries=RetryPolicy(try_timeout=0.1)).reconstruct(PHOTO, timeout=1.1).rows == ROWS
        assert len(server.requests) == 2


def test_frozen_replica_costs_no_request():
    with server_process(0.0) as (first, process), FakeServer() as second:
        with HundClient([first, second.address], timeout=20, retries=RetryPolicy(try_timeout=0.3)) as client:
            client.reconstruct(PHOTO), client.reconstruct(PHOTO)
            os.kill(process.pid, signal.SIGSTOP)
            assert [client.reconstruct(PHOTO).num_people for _ in range(6)] == [FOUND] * 6


def test_requests_take_turns(make_client):
    with FakeServer() as one, FakeServer() as two:
        client = make_client(f"{one.address}, {two.address}")
        for _ in range(6):
            client.reconstruct(PHOTO)
        assert len(one.requests) == len(two.requests) == 3


def test_dead_address_is_passed_over_and_found_again(make_client):
    with FakeServer() as one, FakeServer() as two:
        client = make_client([one.address, two.address], retries=0)
        client.reconstruct(PHOTO), client.reconstruct(PHOTO)
        one.stop()
        assert [client.reconstruct(PHOTO).num_people for _ in range(6)] == [FOUND] * 6 and len(two.requests) == 7
        with FakeServer(port=one.port) as again:
            end = time.monotonic() + 10
            while not again.requests and time.monotonic() < end:
                client.reconstruct(PHOTO)
                time.sleep(0.02)
            assert again.requests


def load(client, count, workers=8):
    """That many requests by many threads: list of results or exceptions; `progress[0]` counts them."""
    answers, progress, numbers = [None] * count, [0], iter(range(count))
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                i = next(numbers, None)
            if i is None:
                return
            try:
                answers[i] = client.reconstruct(PHOTO, outputs=["box"])
            except Exception as error:
                answers[i] = error
            progress[0] += 1

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    return answers, progress, threads


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_no_request_is_lost_when_a_replica_dies_under_load(how):
    with server_process(0.03) as (first, process), FakeServer(delay=0.03) as second:
        with HundClient([first, second.address], timeout=30, retries=1) as client:
            answers, progress, threads = load(client, 120)
            while progress[0] < 30:
                time.sleep(0.005)
            before = len(second.requests)
            getattr(process, how)()
            for thread in threads:
                thread.join()
    assert [type(answer).__name__ for answer in answers if not hasattr(answer, "box")] == []
    assert before < 60 and len(second.requests) > 90  # both worked before, and one did the rest


def test_no_request_of_asyncio_is_lost_when_a_replica_dies_under_load():
    async def run(addresses, process):
        async def work():
            return [await client.reconstruct(PHOTO, outputs=["box"]) for _ in range(15)]

        async with AsyncHundClient(addresses, timeout=30, retries=1) as client:
            workers = [asyncio.create_task(work()) for _ in range(8)]
            await until(lambda: len(second.requests) > 15)
            process.kill()
            return sum(await asyncio.gather(*workers), [])

    with server_process(0.03) as (first, process), FakeServer(delay=0.03) as second:
        assert len(asyncio.run(run([first, second.address], process))) == 120 and len(second.requests) > 75


def test_no_request_is_lost_when_a_replica_is_stopped_under_load():
    with FakeServer(delay=0.03) as first, FakeServer(delay=0.03) as second:
        with HundClient([first.address, second.address], timeout=30, retries=1) as client:
            answers, progress, threads = load(client, 120)
            while progress[0] < 30:
                time.sleep(0.005)
            first.stop()
            for thread in threads:
                thread.join()
    assert [repr(answer) for answer in answers if not hasattr(answer, "box")] == [] and len(second.requests) > 60


@pytest.mark.parametrize("settings, words", [
    ({"addresses": "localhost"}, "An address must be HOST:PORT. Received: 'localhost'"),
    ({"addresses": "a:0"}, "Received: 'a:0'"), ({"addresses": "a:99999"}, "HOST:PORT"), ({"addresses": "a:1,"}, "Received: ''"),
    ({"addresses": []}, "at least one address"), ({"addresses": [5]}, "Received: 5"),
    ({"addresses": "http://a:1"}, "HOST:PORT"), ({"timeout": -1}, "`timeout`"),
    ({"timeout": "5"}, "`timeout`"), ({"retries": -1}, "`rounds`"), ({"model": ""}, "`model`"), ({"version": -1}, "`version`")])
def test_wrong_settings_are_refused(settings, words):
    for kind in (HundClient, AsyncHundClient):
        with pytest.raises(ValueError, match=words):
            kind(**{"addresses": "localhost:1", **settings})


@pytest.mark.parametrize("addresses, expected", [
    ("a.b:80, [::1]:81", ["a.b:80", "[::1]:81"]), (("c:1",), ["c:1"]), ("dns:///hund:8500", ["dns:///hund:8500"]),
    ("unix:/tmp/x", ["unix:/tmp/x"])])
def test_addresses(addresses, expected):
    with HundClient(addresses) as client:
        assert client.addresses == expected
