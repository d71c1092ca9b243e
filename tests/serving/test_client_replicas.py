"""The client and several servers, of which one is dead, silent, frozen or ended under load: no request is lost."""

import asyncio
import os
import signal
import threading
import time

import pytest

from hund_tf.client import AsyncHundClient, HundClient, RetryPolicy
from hund_tf.client import retries
from tests.serving.fake_server import FOUND, NOWHERE, PHOTO, ROWS, FakeServer, server_process
from tests.serving.waiting import until


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
