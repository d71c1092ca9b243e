"""TLS of our server on both ports: encrypted, with clients' certificates where asked for, and never plain beside it."""

import pathlib
import ssl
import urllib.error

import grpc
import pytest

from hund_tf.serving.settings import ServerSettings
from tests.serving.calls import Caller, http


def files(folder, client_ca=False):
    found = {"tls_cert": str(folder / "server.pem"), "tls_key": str(folder / "server.key")}
    return {**found, "tls_client_ca": str(folder / "client.pem")} if client_ca else found


def secrets(folder, with_client=False):
    pair = ((folder / "client.key").read_bytes(), (folder / "client.pem").read_bytes()) if with_client else (None, None)
    context = ssl.create_default_context(cafile=folder / "server.pem")
    if with_client:
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
    return grpc.ssl_channel_credentials((folder / "server.pem").read_bytes(), *pair), context


@pytest.mark.parametrize("mutual", [False, True])
def test_encrypted(serve, server_certificates, mutual):
    running = serve(**files(server_certificates, mutual))
    credentials, context = secrets(server_certificates, mutual)
    caller = Caller(running.address, credentials)
    assert caller.version() == 1
    assert http(f"{running.rest}/v1/models/hund", context=context)[0] == 200
    caller.channel.close()


@pytest.mark.parametrize("mutual", [False, True])
def test_strangers_are_turned_away(serve, server_certificates, mutual):
    running = serve(**files(server_certificates, mutual))
    credentials, context = secrets(server_certificates) if mutual else (None, None)  # no client certificate; not even TLS
    caller = Caller(running.address, credentials)
    with pytest.raises(grpc.RpcError) as failure:
        caller.predict("constants", timeout=5)
    assert failure.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    url = running.rest if mutual else running.rest.replace("https", "http")
    with pytest.raises((urllib.error.URLError, OSError)):
        http(f"{url}/v1/models/hund", context=context)
    caller.channel.close()


@pytest.mark.parametrize("changes, words", [({"tls_cert": "missing.pem"}, "--tls-cert and --tls-key must be PEM files"),
                                            ({"tls_key": "client.key"}, "--tls-cert and --tls-key must be PEM files"),
                                            ({"tls_cert": "server.key"}, "--tls-cert and --tls-key must be PEM files"),
                                            ({"tls_client_ca": "server.key"}, "--tls-client-ca must be a PEM file of cert")])
def test_files_that_do_not_fit(serve, server_certificates, changes, words):
    changes = {name: str(pathlib.Path(server_certificates) / value) for name, value in changes.items()}
    with pytest.raises(ValueError, match=words):
        serve(**{**files(server_certificates), **changes})


def test_halves_are_refused():
    for half in ({"tls_cert": "a"}, {"tls_key": "a"}, {"tls_client_ca": "a"}):
        with pytest.raises(ValueError, match="TLS needs a certificate and its key"):
            ServerSettings(model="m", **half)
