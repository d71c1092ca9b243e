"""`hund reconstruct --server`: the same files as by local networks, its sentences and exit codes; and the example program."""

import functools
import importlib.util
import json
import os
import sys

import grpc
import numpy as np
import pytest
from PIL import Image

from hund_tf import cli, cli_remote, outputs
from hund_tf.client import tensors
from tests.serving.fake_server import FOUND, ROOT, Failure, FakeServer, outputs_of, people

NOWHERE = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def in_folder_with_photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outputs, "draw", lambda reconstruction, pixels: pixels)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full([48, 64, 3], 120, np.uint8)).save(name)


@pytest.fixture
def fake_server():
    with FakeServer() as server:
        yield server


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def inputs(request):
    return {name: tensors.decode(tensor).tolist() for name, tensor in request.inputs.items() if name != "image"}


@pytest.mark.parametrize("extra", ["", "--intrinsics 100,110,32.123456,24"])
def test_files_are_those_of_local_networks(fake_server, stub_model, extra):
    assert cli.main(f"reconstruct a.png -o local {extra}".split()) == 0
    assert cli.main(f"reconstruct a.png -o remote --server {fake_server.address} {extra}".split()) == 0
    assert sorted(os.listdir("remote")) == sorted(os.listdir("local")) == ["a.glb", "a.json", "a.png"]
    local, remote = read("local/a.json"), read("remote/a.json")
    assert local["tensorflow"] and local["server"] is None
    assert remote["tensorflow"] is None and remote["preset"] == "person" and list(remote["timings"]) == ["server"]
    assert remote["server"] == {"addresses": [fake_server.address], "hund_tf": "0.9"}
    for content in (local, remote):
        del content["tensorflow"], content["server"], content["timings"]
    assert remote == local
    with open("local/a.glb", "rb") as first, open("remote/a.glb", "rb") as second:
        assert first.read() == second.read()


def test_options_reach_the_server(fake_server):
    line = f"reconstruct a.png --format json --server {fake_server.address} --stages 3 --intrinsics 50,60,32,24"
    assert cli.main([*line.split(), "--max-people", "1", "--server-model", "hand"]) == 0
    assert cli.main([*line.split(), "--box", "1,2,30,40", "--box", "10,2,30,40", "--max-people", "1"]) == 0
    first, second = [request for request in fake_server.requests if request.model_spec.signature_name != "describe"]
    assert (first.model_spec.name, second.model_spec.name) == ("hand", "hund")
    assert first.model_spec.signature_name == "reconstruct" and second.model_spec.signature_name == "reconstruct_boxes"
    assert inputs(first) == {"num_stages": 3, "intrinsics": [50, 60, 32, 24], "max_people": 1}
    assert inputs(second) == {"num_stages": 3, "intrinsics": [50, 60, 32, 24], "boxes": [[1, 2, 30, 40]]}
    assert len(read("hund_out/a.json")["people"]) == 1


def test_all_people_of_a_crowded_photo_are_asked_for():
    def crowd(request):
        outputs = outputs_of(request)
        if request.model_spec.signature_name == "reconstruct":
            rows = inputs(request).get("max_people", 3)
            outputs.update({**people(min(rows, 5), rows), "num_people": np.array(min(rows, 5), np.int32)})
        return outputs

    with FakeServer(outputs=crowd) as server:
        assert cli.main(f"reconstruct a.png --format json --server {server.address}".split()) == 0
        assert len(read("hund_out/a.json")["people"]) == 5 and len(server.requests) == 3
        assert cli.main(f"reconstruct a.png --format json --max-people 3 --server {server.address}".split()) == 0
        assert len(read("hund_out/a.json")["people"]) == 3 and len(server.requests) == 5


@pytest.mark.parametrize("arguments, words", [
    (f"--server {NOWHERE} --preset body", "--preset must not go with --server: the server has its own networks."),
    (f"--server {NOWHERE} --refine 3", "--refine must not go with --server"),
    (f"--server {NOWHERE} --distortion 0,0,0,0 --intrinsics 64,64,32,24", "--distortion must not go with --server"),
    ("--server localhost", "--server: An address must be HOST:PORT. Received: 'localhost'."), ("--server=", "Received: ''"),
    ("--server-timeout 5", "--server-timeout must go with --server. Received: --server-timeout alone."),
    ("--server-tls", "--server-tls must go with --server"),
    (f"--server {NOWHERE} --server-key a.png", "--server-cert and --server-key must come together. Received: None and a.png."),
    (f"--server {NOWHERE} --server-model=", "--server-model must be a name. Received: ''."),
    (f"--server {NOWHERE} --server-ca b", "--server-ca must be a PEM file that can be read. Received: b ("),
    (f"--server {NOWHERE} --server-ca a.png",
     "--server-ca must be a PEM file that can be read. Received: a.png (it holds no PEM)")])
def test_what_does_not_go_with_a_server_exits_with_2(capsys, arguments, words):
    assert cli.main(["reconstruct", "a.png", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and not os.path.exists("hund_out")


def test_missing_grpc_names_the_remedy(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "hund_tf.client.channels", None)
    assert cli.main(f"reconstruct a.png --server {NOWHERE}".split()) == 2
    assert "pip install 'hund-tf[client]'" in capsys.readouterr().err


def test_server_that_cannot_be_reached_exits_with_1(capsys):
    assert cli.main(f"reconstruct a.png --server {NOWHERE} --server-timeout 0.5".split()) == 1
    error = capsys.readouterr().err
    assert "hund: --server must be a server of a hund export that can be reached. Received: 127.0.0.1:1: UNAVAILABLE" in error
    assert error.count("\n") == 1 and not os.listdir("hund_out")


def test_server_that_is_not_there_yet_is_waited_for(fake_server, capsys, monkeypatch):
    monkeypatch.setattr(cli_remote, "FIRST_ANSWER_S", 0.5)
    fake_server.failures = [Failure(grpc.StatusCode.UNAVAILABLE, "loading")] * 5
    assert cli.main(f"reconstruct a.png --format json --server {fake_server.address}".split()) == 0
    assert "hund: --server is waited for, up to 60 s more. Received: 127.0.0.1" in capsys.readouterr().err
    fake_server.failures = [Failure(grpc.StatusCode.NOT_FOUND, "no such model")]
    assert cli.main(f"reconstruct a.png --format json --server {fake_server.address}".split()) == 1
    assert "waited" not in capsys.readouterr().err  # that does not pass


def test_busy_server_is_waited_for(fake_server):
    def fill(request):
        if request.model_spec.signature_name == "describe":
            fake_server.failures = [Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full")] * 2
        return outputs_of(request)

    fake_server.outputs = fill
    fake_server.failures = [Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full")]
    assert cli.main(f"reconstruct a.png b.png --format json --server {fake_server.address}".split()) == 0
    assert sorted(os.listdir("hund_out")) == ["a.json", "b.json"] and len(fake_server.requests) == 6


def test_photo_that_the_server_refuses_is_bad_input(fake_server, capsys):
    fake_server.outputs = lambda request: refuse_later(fake_server, request)
    assert cli.main(f"reconstruct a.png b.png --format json --server {fake_server.address}".split()) == 2
    assert "a.png: 127.0.0.1" in capsys.readouterr().err and os.listdir("hund_out") == ["b.json"]


def refuse_later(server, request):
    if request.model_spec.signature_name == "describe":
        server.failures = [Failure(grpc.StatusCode.INVALID_ARGUMENT, "`image` must be nicer.")]
    return outputs_of(request)


def test_server_that_goes_away_ends_the_work(capsys, monkeypatch):
    from hund_tf.client import HundClient

    given = {}
    with FakeServer() as server:
        def leave(request):
            if request.model_spec.signature_name == "describe":
                server.failures = [Failure(grpc.StatusCode.UNAVAILABLE, "bye")] * 99
            return outputs_of(request)

        server.outputs = leave
        monkeypatch.setattr("hund_tf.client.HundClient",
                            lambda addresses, **settings: given.update(settings) or HundClient(
                                addresses, **{**settings, "retries": 0}))
        line = f"reconstruct a.png b.png --format json --server {server.address} --server-timeout 7"
        assert cli.main(line.split()) == 1 and given["timeout"] == 7
        error = capsys.readouterr().err
        assert "a.png: HundUnavailableError" in error and "the server must answer; the other photos are left out." in error
        assert len(server.requests) == 2


@pytest.fixture
def program():
    spec = importlib.util.spec_from_file_location("serving_client", os.path.join(ROOT, "serving", "client.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_example_program_waits_for_a_busy_server_and_not_for_one_that_is_gone(fake_server, program, capsys, monkeypatch):
    fake_server.failures = [Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full")]
    assert program.main(["a.png", "--server", fake_server.address]) == 0
    monkeypatch.setattr(program, "HundClient", functools.partial(program.HundClient, timeout=0.5))
    assert program.main(["a.png", "b.png", "--server", NOWHERE]) == 1
    error = capsys.readouterr().err
    assert "a.png: 127.0.0.1:1: UNAVAILABLE" in error and "b.png" not in error


def test_example_program(fake_server, program, capsys):
    def answer(request):
        """One person in every photo."""
        request.inputs["image_bytes"].string_val.extend([b"another"])
        request.inputs["image_bytes"].tensor_shape.dim[0].size = 2
        return {name: values[1:] for name, values in outputs_of(request).items()}

    fake_server.outputs = answer
    assert program.main(["a.png", "b.png", "--server", fake_server.address]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("b.png: box [20.0, 5.0, 24.0, 40.0], score 0.90, pelvis at 0.00,")
    assert program.main(["missing.png", "a.png", "--server", fake_server.address]) == 1
    told = capsys.readouterr()
    assert "missing.png" in told.err and told.out.startswith("a.png: box")  # the others are done
