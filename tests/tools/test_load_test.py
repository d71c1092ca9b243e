"""The load test: what it counts on a made-up server, its modes, and the addresses and options it refuses."""

import collections
import csv
import json
import os
import sys
import threading

import grpc
import numpy as np
import pytest

from hund_tf.client import HundServerError
from tests.serving.fake_server import FakeServer, Failure, outputs_of

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tools"))
import load_clients  # noqa: E402
import load_memory  # noqa: E402
import load_test  # noqa: E402

EXHAUSTED, INVALID = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT
FEW = ["--outputs", "theta"]  # so that answers are small


@pytest.fixture
def server():
    with FakeServer(delay=0.005) as running:
        yield running


@pytest.mark.parametrize("signature, batch, unit", [
    ("reconstruct_crops", "1,2", "people"), ("serving_default", "1,2", "photos"), ("reconstruct", "1", "photos")])
def test_every_combination_is_a_line(server, tmp_path, capsys, signature, batch, unit):
    path = tmp_path / "load.json"
    assert load_test.main(["--server", server.address, "--signature", signature, "--clients", "1,2", "--batch", batch,
                           "--seconds", "0.15", "--json", str(path), *FEW]) == 0
    report = json.loads(path.read_text())
    assert [(line["batch"], line["clients"]) for line in report["lines"]] == [
        (rows, clients) for rows in range(1, len(batch.split(",")) + 1) for clients in (1, 2)]
    for line in report["lines"]:
        assert line["requests"] >= line["clients"] and line["errors"] == {}
        assert 5 < line["p50_ms"] <= line["p95_ms"] <= line["p99_ms"]
    assert report["unit"] == unit and f"{unit}/s | p50, ms" in capsys.readouterr().out
    assert {request.model_spec.signature_name for request in server.requests} == {signature}
    assert {tuple(request.output_filter)[0] for request in server.requests} == {"theta"}


def test_errors_are_counted_by_status_and_not_tried_again(capsys):
    failures = [None, *[Failure(EXHAUSTED, "full")] * 2]
    with FakeServer(failures, delay=0.005) as server:
        load_test.main(["--server", server.address, "--clients", "1", "--batch", "1", "--seconds", "0.3", *FEW])
    assert "| 2 RESOURCE_EXHAUSTED |" in capsys.readouterr().out


def test_rows_that_are_refused_are_said_and_not_measured(capsys):
    with FakeServer([Failure(INVALID, "at most 32 rows")]) as server:
        assert load_test.main(["--server", server.address, "--clients", "1", "--batch", "2,1", "--seconds", "0.1", *FEW]) == 0
    printed = capsys.readouterr().out
    assert "batch 2 is refused" in printed and "at most 32 rows" in printed
    assert "| 1 | 1 |" in printed and "| 1 | 2 |" not in printed


@pytest.mark.parametrize("failures, code", [
    ([INVALID], 1),  # nothing was measured
    ([None, *[EXHAUSTED] * 99], 1), ([None, EXHAUSTED, None, *[EXHAUSTED] * 99], 0)])
def test_exit_code_says_whether_every_combination_had_an_answer(failures, code):
    failures = [Failure(status, "no") if status else None for status in failures]
    with FakeServer(failures, delay=0.005) as server:
        assert load_test.main(["--server", server.address, "--clients", "1", "--batch", "1", "--seconds", "0.3", *FEW]) == code


def test_no_server(capsys):
    with FakeServer() as server:
        address = server.address
    with pytest.raises(SystemExit) as end:
        load_test.main(["--server", address, "--seconds", "0.1"])
    assert end.value.code == 1 and "The server must answer" in capsys.readouterr().err


def test_soak_watches_memory(server, tmp_path, capsys):
    path = tmp_path / "soak.csv"
    assert load_test.main(["--server", server.address, "--soak", "0.02", "--pid", str(os.getpid()), "--csv", str(path),
                           "--clients", "2", *FEW]) == 0
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 and float(rows[0]["rss_mib"]) > 10 and int(rows[1]["answers"]) > 0 and rows[1]["errors"] == "0"
    assert "slope after the first quarter unknown MiB/hour; 0 errors" in capsys.readouterr().out


def test_soak_ends_with_the_server(tmp_path):
    progress = load_clients.Progress()
    sampler = load_memory.Sampler(2**22 + 1, 60, tmp_path / "a.csv")  # above the largest process number of Linux
    sampler(progress)
    assert sampler.ended and progress.stop.is_set() and sampler.samples == []


def test_slope_is_that_after_the_first_quarter():
    seconds = np.arange(101.0)
    memory = 500 + np.where(seconds < 25, 10 * seconds, 250 + 0.01 * (seconds - 25))
    assert load_memory.slope(list(zip(seconds, memory))) == pytest.approx(36)
    assert load_memory.slope([(0.0, 1.0)] * 2) is None and load_memory.slope([]) is None


def test_overload_shows_refusals_and_recovery(capsys):
    slots = threading.Semaphore(2)

    class Full(FakeServer):
        def _predict(self, request, context):
            if not slots.acquire(blocking=False):
                context.abort(EXHAUSTED, "The queue is full.")
            try:
                return super()._predict(request, context)
            finally:
                slots.release()

    with Full(delay=0.02) as server:
        assert load_test.main(["--server", server.address, "--overload", "--clients", "8", "--seconds", "1.2", *FEW]) == 0
    printed = capsys.readouterr().out
    assert "RESOURCE_EXHAUSTED" in printed and "Recovered; other errors than RESOURCE_EXHAUSTED: none" in printed
    assert printed.count("| 100% |") == 2  # before and after


def test_overload_without_recovery(capsys):
    def broken(request):
        if len(server.requests) > 3:
            raise RuntimeError("broken by too much")
        return outputs_of(request)

    with FakeServer(outputs=broken) as server:
        assert load_test.main(["--server", server.address, "--overload", "--clients", "2", "--seconds", "0.8", *FEW]) == 1
    assert "Not recovered; other errors than RESOURCE_EXHAUSTED: ['UNKNOWN']" in capsys.readouterr().out


def test_kill_loses_nothing(server, capsys):
    def last_words(request):
        ending.append(threading.Thread(target=other.stop))
        ending[-1].start()
        return outputs_of(request)

    ending = []
    other = FakeServer(outputs=last_words)
    assert load_test.main(["--server", f"{server.address},{other.address}", "--kill", "--seconds", "0.6", *FEW]) == 0
    for thread in ending:
        thread.join()
    assert ending and "\n0 of " in capsys.readouterr().out


@pytest.mark.parametrize("address", ["localhost:8500", "127.0.0.1:1", "127.9.9.9:8500", "[::1]:8500"])
def test_this_machine(address):
    assert load_test.checked_loopback(f"{address},{address}") == [address] * 2


@pytest.mark.parametrize("address", ["example.org:8500", "10.0.0.1:8500", "0.0.0.0:8500", "[2001:db8::1]:8500", "8500", "",
                                     "dns:///localhost:8500", "localhost.evil.example:8500", "localhost:8500,192.0.2.1:8500"])
def test_other_machines_are_refused(address):
    with pytest.raises(SystemExit):
        load_test.main(["--server", address])
    with pytest.raises(ValueError, match="Received"):
        load_test.checked_loopback(address)


@pytest.mark.parametrize("arguments, words", [
    (["--signature", "reconstruct", "--batch", "2"], "--batch must be 1"), (["--clients", "0"], "of at least 1|from 1"),
    (["--clients", "a"], "whole number"), (["--seconds", "0"], "above 0"), (["--image", "nowhere.jpg"], "no such file"),
    (["--soak", "1"], "--soak needs --pid"), (["--soak", "1", "--pid", str(2**22 + 1)], "--soak needs --pid"),
    (["--kill"], "--kill needs two servers"), (["--kill", "--overload"], "Only one of"),
    (["--overload", "--clients", "1,2"], "takes one number")])
def test_options_are_checked(capsys, arguments, words):
    with pytest.raises(SystemExit) as end:
        load_test.main(["--server", "localhost:1", *arguments])
    error = " ".join(capsys.readouterr().err.split())
    assert end.value.code == 2 and any(word in error for word in words.split("|"))


def test_numbers_of_an_outcome():
    outcome = load_clients.Outcome(np.array([1.0, 2.0, 5.0]), np.array([0.1, 0.2, 0.3]), collections.Counter(UNKNOWN=1), 8.0)
    report = outcome.report(rows=4)
    assert report["rows_per_second"] == 1.5 and report["requests"] == 4 and report["p50_ms"] == pytest.approx(200)
    assert outcome.longest_pause() == 3.0
    twice = load_clients.merged([outcome, outcome])
    assert twice.seconds == 16 and twice.ends.tolist() == [1, 2, 5, 9, 10, 13] and twice.errors == {"UNKNOWN": 2}
    nothing = load_clients.Outcome(np.zeros(0), np.zeros(0), collections.Counter(), 2.0)
    assert nothing.report(1)["p99_ms"] is None and nothing.longest_pause() == 2.0


def test_clients_stop_on_a_fault_of_the_tool():
    def ask():
        raise KeyError("not the server's")

    with pytest.raises(KeyError):
        load_clients.drive(ask, 2, 30)


def test_failed_clients_wait_a_little():
    def ask():
        raise HundServerError(EXHAUSTED, "full", "here")

    outcome = load_clients.drive(ask, 1, 0.2)
    assert 1 <= outcome.errors["RESOURCE_EXHAUSTED"] <= 5 and len(outcome.times) == 0
