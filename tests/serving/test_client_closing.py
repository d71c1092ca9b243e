"""The end of a client, or of one of its calls, while calls are under way: what their callers are told."""

import asyncio
import time
from concurrent import futures

import grpc
import pytest

from hund_tf.client import AsyncHundClient, HundClient, HundServerError, RetryPolicy
from hund_tf.client import retries
from tests.serving.fake_server import FOUND, PHOTO, UNAVAILABLE, FakeServer
from tests.serving.waiting import until, wait_until

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
