"""`hund serve` as a process: the ready line, the end by SIGTERM, and arguments that cannot be used."""

import argparse
import collections
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import grpc
import numpy as np
import pytest

from hund_tf import cli_serve
from tests.serving import small_model
from tests.serving.calls import Caller, http

FOR_EVER = np.int32(1_000_000)  # steps: minutes
ROOT = pathlib.Path(__file__).parents[2]
RUN = "import sys; from tests.serving import test_server_command as t; sys.exit(t.main(sys.argv[1:]))"


def main(arguments):
    """The command alone, as `hund` calls it."""
    parser = argparse.ArgumentParser()
    cli_serve.add_serve(parser.add_subparsers())
    options = parser.parse_args(["serve", *arguments])
    return options.run(options)


@pytest.fixture
def process(base):
    """Function of arguments: `hund serve` in a process of its own, with its ready line."""
    started = []

    def start(*arguments, ready=True):
        command = [sys.executable, "-c", RUN, "--model", str(base), "--port", "0", "--rest-port", "0", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        started.append(process)
        return process, process.stdout.readline() if ready else None

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_serves_and_drains_at_sigterm(process):
    running, line = process()
    found = re.fullmatch(r"hund: serving hund version 1 on (127\.0\.0\.1:\d+) \(gRPC\), (127\.0\.0\.1:\d+) \(REST\)\n", line)
    assert found, line
    caller = Caller(found[1])
    assert caller.version() == 1 and http(f"http://{found[2]}/v1/models/hund")[0] == 200
    call = caller.start("slow", steps=np.int32(5000))
    with pytest.raises(grpc.FutureTimeoutError):
        call.result(timeout=0.2)
    running.send_signal(signal.SIGTERM)
    assert call.code() == grpc.StatusCode.OK
    out, error = running.communicate(timeout=20)
    assert running.returncode == 0 and not out
    assert "stopping: requests under way have 30 seconds" in error and "Traceback" not in error, error
    caller.channel.close()


def test_grace_ends_and_so_does_the_process(process):
    running, line = process("--grace", "0.2")
    caller = Caller(re.search(r" on (\S+) ", line)[1])
    call = caller.start("slow", steps=FOR_EVER)
    with pytest.raises(grpc.FutureTimeoutError):
        call.result(timeout=0.3)
    running.send_signal(signal.SIGINT)
    assert running.wait(10) == 0
    assert call.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    caller.channel.close()


def test_a_second_signal_ends_at_once(process):
    running, line = process()
    caller = Caller(re.search(r" on (\S+) ", line)[1])
    call = caller.start("slow", steps=FOR_EVER)
    with pytest.raises(grpc.FutureTimeoutError):
        call.result(timeout=0.3)
    running.send_signal(signal.SIGTERM)
    assert "stopping" in next(text for text in running.stderr if "stopping" in text)
    running.send_signal(signal.SIGTERM)
    assert running.wait(10) == 0  # of the 30 seconds of grace
    caller.channel.close()


@pytest.mark.slow
@pytest.mark.parametrize("swap", [False, True], ids=["first load", "swap"])
def test_a_load_under_way_is_not_waited_for(process, base, saved_versions, swap):
    version = shutil.copytree(saved_versions / "2", base.parent / "incoming")
    small_model.write_warmup(version, "slow", steps=FOR_EVER)
    if not swap:
        shutil.rmtree(base / "1")
        os.replace(version, base / "2")
    running, _ = process("--grace", "1", "--poll", "0.1", ready=swap)
    if swap:
        os.replace(version, base / "2")
    assert next(text for text in running.stderr if "version 2: loading" in text)
    running.send_signal(signal.SIGTERM)
    assert running.wait(10) == 0


@pytest.mark.slow
def test_a_flood_of_large_requests_is_refused_and_takes_little_memory(process):
    running, line = process("--max-in-flight-mb", "64", "--max-message-mb", "24", "--max-rest-mb", "8", "--threads", "1")
    callers = [Caller(re.search(r" on (\S+) ", line)[1], options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(5)]
    busy = callers[4].start("slow", steps=np.int32(4000))
    before = peak_mib(running.pid)
    image = np.zeros([2000, 2600, 3], np.uint8)  # 15 MiB
    flood = [callers[i % 4].start("image", timeout=300, image=image) for i in range(60)]
    while not all(call.done() for call in flood):
        callers[4].states()  # the server is there for others
        time.sleep(0.05)
    codes = collections.Counter(call.code().name for call in flood)
    assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"} and busy.result()
    assert peak_mib(running.pid) - before < 400, codes  # a gibibyte came, and with every copy that is made of it three
    for caller in callers:
        caller.channel.close()


def peak_mib(pid):
    """The most memory that a process has had."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def test_port_in_use(base, capsys):
    for option, other in (("--port", "--rest-port"), ("--rest-port", "--port")):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            assert main(["--model", str(base), option, port, other, "0"]) == 2
        error = capsys.readouterr().err
        assert f"hund: --host and {option} must be an address that is free. Received: 127.0.0.1:{port}" in error, error


@pytest.mark.parametrize("arguments, words", [
    (["--model", "nowhere"], "--model must be a folder. Received: 'nowhere'"),
    (["--model", "EMPTY"], "--model must hold a SavedModel that can be loaded"),
    (["--model", "EMPTY", "--batching", "nowhere.txt"], "A batching file must be text"),
    (["--model", "EMPTY", "--tls-cert", "nowhere.pem"], "TLS needs a certificate and its key"),
    (["--model", "EMPTY", "--tls-cert", "nowhere.pem", "--tls-key", "nowhere.key"], "must be PEM files"),
    (["--model", "EMPTY", "--host", "no.such.host.invalid"], "must be an address that is free"),
    (["--model", "EMPTY", "--name", "a/b"], "A model's name must be text")])
def test_bad_arguments(tmp_path, capsys, arguments, words):
    arguments = [str(tmp_path) if argument == "EMPTY" else argument for argument in arguments]
    assert main([*arguments, "--port", "0", "--rest-port", "0"]) == 2
    out, error = capsys.readouterr()
    assert not out and words in error and error.splitlines()[-1].startswith("hund: ")


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--threads", "0"], ["--poll", "-1"], ["--grace", "soon"], []])
def test_arguments_that_argparse_refuses(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main([*(["--model", "m"] if arguments else []), *arguments])
    assert end.value.code == 2 and "usage" in capsys.readouterr().err


def test_help_waits_for_no_tensorflow():
    code = ("import sys, argparse; from hund_tf import cli_serve\n"
            "cli_serve.add_serve(argparse.ArgumentParser().add_subparsers())\n"
            "assert not {'tensorflow', 'grpc', 'aiohttp'} & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
