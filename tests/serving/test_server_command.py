"""`hund serve` as a process: the ready line, the end by SIGTERM, and arguments that cannot be used."""

import argparse
import pathlib
import re
import signal
import socket
import subprocess
import sys

import grpc
import numpy as np
import pytest

from hund_tf import cli_serve
from tests.serving.calls import Caller, http

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

    def start(*arguments):
        command = [sys.executable, "-c", RUN, "--model", str(base), "--port", "0", "--rest-port", "0", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        started.append(process)
        return process, process.stdout.readline()

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
    call = caller.start("slow", steps=np.int32(1_000_000))
    with pytest.raises(grpc.FutureTimeoutError):
        call.result(timeout=0.3)
    running.send_signal(signal.SIGINT)
    assert running.wait(10) == 0
    assert call.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    caller.channel.close()


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
