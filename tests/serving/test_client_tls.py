"""TLS: the server's certificate is checked, a client's is shown, plain text and strangers are turned away."""

import asyncio
import pathlib
import subprocess

import grpc
import numpy as np
import pytest
from PIL import Image

from hund_tf import cli
from hund_tf.client import AsyncHundClient, HundClient, HundServerError, TlsOptions
from tests.serving.fake_server import FOUND, PHOTO, FakeServer

NO_RETRIES = {"timeout": 10, "retries": 0}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Self-signed pairs `server.pem`, `server.key`, `client.pem`, `client.key` in a folder, by the openssl program."""
    folder = tmp_path_factory.mktemp("tls")
    for name, host in (("server", "DNS:hund.example,DNS:localhost"), ("client", "DNS:client.example")):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2",
                        "-subj", f"/CN={name}", "-addext", f"subjectAltName={host}", "-keyout", folder / f"{name}.key",
                        "-out", folder / f"{name}.pem"], check=True, capture_output=True)
    return folder


@pytest.fixture
def tls_server(certificates, request):
    both = getattr(request, "param", False)
    pair = ((certificates / "server.key").read_bytes(), (certificates / "server.pem").read_bytes())
    client = (certificates / "client.pem").read_bytes() if both else None
    with FakeServer(credentials=grpc.ssl_server_credentials([pair], client, both)) as server:
        yield server


def options(folder, **changes):
    return TlsOptions(**{"authority": folder / "server.pem", "server_name": "hund.example", **changes})


def test_encrypted(tls_server, certificates):
    with HundClient(tls_server.address, tls=options(certificates), **NO_RETRIES) as client:
        assert client.reconstruct(PHOTO).num_people == FOUND

    async def run():
        async with AsyncHundClient(tls_server.address, tls=options(certificates), **NO_RETRIES) as client:
            return await client.reconstruct(PHOTO)

    assert asyncio.run(run()).num_people == FOUND


@pytest.mark.parametrize("tls", [
    lambda folder: None, lambda folder: True, lambda folder: options(folder, authority=folder / "client.pem"),
    lambda folder: options(folder, server_name="other.example")])
def test_wrong_credentials_get_no_answer(tls_server, certificates, tls):
    with HundClient(tls_server.address, tls=tls(certificates), **NO_RETRIES) as client, pytest.raises(HundServerError):
        client.reconstruct(PHOTO)
    assert not tls_server.requests


@pytest.mark.parametrize("tls_server", [True], indirect=True)
def test_client_certificate(tls_server, certificates):
    own = options(certificates, key=certificates / "client.key", certificate=certificates / "client.pem")
    with HundClient(tls_server.address, tls=own, **NO_RETRIES) as client:
        assert client.reconstruct(PHOTO).num_people == FOUND
    with HundClient(tls_server.address, tls=options(certificates), **NO_RETRIES) as client, pytest.raises(HundServerError):
        client.reconstruct(PHOTO)


@pytest.mark.parametrize("tls_server", [True], indirect=True)
def test_command(tls_server, certificates, tmp_path, capsys):
    photo, address = str(tmp_path / "a.png"), f"localhost:{tls_server.address.rpartition(':')[2]}"
    Image.fromarray(np.zeros([48, 64, 3], np.uint8)).save(photo)
    line = ["reconstruct", photo, "-o", str(tmp_path / "out"), "--format", "json", "--server", address, "--server-timeout", "5"]
    own = ["--server-cert", str(certificates / "client.pem"), "--server-key", str(certificates / "client.key")]
    assert cli.main([*line, "--server-ca", str(certificates / "server.pem"), *own]) == 0 and (tmp_path / "out/a.json").exists()
    by_address = [*line[:-3], tls_server.address, *line[-2:], "--server-name", "hund.example", *own]
    assert cli.main([*by_address, "--server-ca", str(certificates / "server.pem")]) == 0
    for wrong in ([], ["--server-tls"], ["--server-ca", str(certificates / "server.pem")]):
        assert cli.main([*line, *wrong, "--server-timeout", "0.5"]) == 1
        assert "--server must be a server of a hund export that can be reached" in capsys.readouterr().err


def test_incomplete_options_are_refused(certificates):
    with pytest.raises(ValueError, match="`key` and `certificate` must come together"):
        TlsOptions(key=certificates / "client.key")
    with pytest.raises(FileNotFoundError, match="A TLS file must exist. Received: 'nowhere.pem'"):
        TlsOptions(authority=pathlib.Path("nowhere.pem"))
