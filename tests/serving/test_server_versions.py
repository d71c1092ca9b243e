"""Versions of our server: a new one takes over without a lost request, a broken one does not."""

import asyncio
import gc
import os
import re
import shutil
import threading
import weakref

import grpc
import numpy as np
import pytest

from hund_tf.serving import versions
from tests.serving import small_model
from tests.serving.calls import TIMEOUT, Caller, http, wait_until

POLL_S = 0.05


@pytest.fixture
def running(serve, base):
    return serve(model=base, poll=POLL_S)


@pytest.fixture
def asking(running):
    caller = Caller(running.address)
    yield caller
    caller.channel.close()


def publish(saved_versions, base, version, name=None):
    """Copies a version beside the base, then moves it in, as it should be done."""
    hidden = base.parent / "incoming"
    shutil.copytree(saved_versions / str(version), hidden)
    os.replace(hidden, base / str(name or version))


def test_swap_under_load_loses_no_request(running, asking, saved_versions, base):
    seen, failures, stop = [], [], threading.Event()

    def load():
        while not stop.is_set():
            try:
                factor = asking.predict(x=np.ones([1, 3], np.float32))["y"][0, 0]
                seen.append(factor)
            except grpc.RpcError as error:
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    long_one = asking.start("slow", steps=np.int32(400))  # begun on version 1, ends while version 2 serves
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(seen) > 20, "requests go")
        publish(saved_versions, base, 2)
        wait_until(lambda: seen[-1] == 2, "version 2 serves")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures and set(seen) == {1, 2} and seen[0] == 1
    assert long_one.result().model_spec.version.value == 1
    wait_until(lambda: asking.states()[1][0] == "END", "version 1 is unloaded")
    assert asking.states()[2][0] == "AVAILABLE"


def test_old_version_stays_until_its_last_request_is_answered(running, asking, saved_versions, base, monkeypatch):
    servable, gate = running.server.versions.current, threading.Event()
    run = servable.run
    monkeypatch.setattr(servable, "run", lambda signature, *rest: (
        signature.name != "slow" or gate.wait(TIMEOUT)) and run(signature, *rest))
    long_one = asking.start("slow", steps=np.int32(1))
    wait_until(lambda: running.server.busy, "the run goes")
    publish(saved_versions, base, 2)
    wait_until(lambda: asking.version() == 2, "version 2 serves")
    assert asking.states()[1][0] == "UNLOADING" and not long_one.done()
    gate.set()
    assert long_one.result().model_spec.version.value == 1
    wait_until(lambda: asking.states()[1][0] == "END", "version 1 is unloaded")


def test_broken_version_is_told_and_the_old_one_serves(running, asking, saved_versions, base, caplog):
    (base / "3").mkdir()
    (base / "3" / "saved_model.pb").write_bytes(b"no model")
    wait_until(lambda: asking.states().get(3, ("",))[0] == "END", "version 3 is told as broken")
    status = asking.states()[3][1]
    assert status.error_code != 0 and status.error_message
    assert "version 3 cannot be loaded" in caplog.text
    assert asking.version() == 1 and asking.states()[1][0] == "AVAILABLE"
    answer = http(f"{running.rest}/v1/models/hund")[1]["model_version_status"]
    assert [entry["state"] for entry in answer] == ["END", "AVAILABLE"] and answer[0]["status"]["error_message"]
    shutil.rmtree(base / "3")  # mended, it is tried again
    publish(saved_versions, base, 2, name=3)
    wait_until(lambda: asking.states()[3][0] == "AVAILABLE", "version 3 serves")


def test_version_that_disappears_gives_way_to_the_one_before(serve, saved_versions, base):
    publish(saved_versions, base, 2)
    running = serve(model=base, poll=POLL_S)
    caller = Caller(running.address)
    assert caller.version() == 2
    shutil.rmtree(base / "2")
    wait_until(lambda: caller.version() == 1, "version 1 is back")
    shutil.rmtree(base / "1")
    assert caller.version() == 1  # a folder that is emptied ends nothing
    caller.channel.close()


def test_warm_up_runs_before_a_version_serves(serve, base, caplog):
    small_model.write_warmup(base / "1", x=np.ones([2, 3], np.float32))
    with caplog.at_level("INFO", "hund_tf.serving"):
        serve(model=base)
    assert re.search(r"version 1: loaded in \d+\.\d s, 1 warm-up requests in \d+\.\d s", caplog.text)


@pytest.mark.parametrize("x, signature, words", [(np.ones([2, 4]), "serving_default", "warm-up: Input 'x'"),
                                                 (np.ones([2, 3]), "nothing", "warm-up: A signature must be of")])
def test_version_whose_warm_up_fails_does_not_serve(running, asking, saved_versions, base, x, signature, words):
    small_model.write_warmup(shutil.copytree(saved_versions / "2", base.parent / "incoming"), signature, x=np.float32(x))
    os.replace(base.parent / "incoming", base / "2")
    wait_until(lambda: asking.states().get(2, ("",))[0] == "END", "version 2 is told as broken")
    assert words in asking.states()[2][1].error_message and asking.version() == 1


@pytest.mark.parametrize("content, words", [(b"no records", "TFRecord"), (b"no records" * 9, "TFRecord"), (b"", None)])
def test_warm_up_file_that_is_none(serve, base, content, words):
    (base / "1" / "assets.extra").mkdir()
    (base / "1" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(content)
    if words is None:
        serve(model=base)
        return
    running = serve(model=base, load=False)
    with pytest.raises(ValueError, match=words):
        running.call(running.server.load())


@pytest.fixture
def gate(monkeypatch):
    """An event that every load of a version waits for."""
    event, load = threading.Event(), versions._load_and_warm
    monkeypatch.setattr(versions, "_load_and_warm", lambda *arguments: event.wait(TIMEOUT) and load(*arguments))
    return event


def test_the_end_does_not_wait_for_a_load(serve, saved_versions, base, gate):
    gate.set()
    running = serve(model=base, poll=POLL_S)
    gate.clear()
    publish(saved_versions, base, 2)
    wait_until(lambda: running.server.versions.loading, "version 2 is being loaded")
    running.call(running.server.stop())
    assert running.server.busy
    gate.set()
    wait_until(lambda: not running.server.busy, "the load has ended")


def test_the_end_does_not_wait_for_the_first_load(serve, base, gate):
    running = serve(model=base, load=False)
    loading = asyncio.run_coroutine_threadsafe(running.server.load(), running.loop)
    wait_until(lambda: running.server.versions.loading, "version 1 is being loaded")
    running.call(running.server.stop())
    assert running.server.busy
    loading.cancel()
    assert running.server.busy  # who waited for the load is gone, its thread goes on
    gate.set()
    wait_until(lambda: not running.server.busy, "the load has ended")


def test_collector_passes_over_what_is_loaded_until_it_goes(serve, saved_versions, base):
    running = serve(model=base, poll=POLL_S)
    session = weakref.ref(running.server.versions.current._session.graph)
    assert gc.get_freeze_count() > 100_000  # TensorFlow's own
    publish(saved_versions, base, 2)
    wait_until(lambda: session() is None, "version 1 is freed")


def test_folder_without_a_model(serve, tmp_path):
    (tmp_path / "assets").mkdir()
    running = serve(model=tmp_path, load=False)
    with pytest.raises(ValueError, match="must hold a SavedModel .*no folder whose name is a number"):
        running.call(running.server.load())


def test_before_a_version_is_loaded(serve):
    running = serve(load=False)
    caller = Caller(running.address)
    with pytest.raises(grpc.RpcError) as failure:
        caller.predict("constants")
    assert failure.value.code() == grpc.StatusCode.UNAVAILABLE
    assert http(f"{running.rest}/v1/models/hund:predict", {"inputs": [[1, 2, 3]]})[0] == 503
    caller.channel.close()
