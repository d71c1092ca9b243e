"""Addresses and TLS files in, gRPC channels and their calls out."""

import dataclasses
import os
import re
from typing import Optional

import grpc

from hund_tf.client import serving_api_pb2 as api

MOST_BYTES = 1 << 30  # of a message; gRPC's own limit of 4 MB holds three people, and no photo as pixels
_HOST_PORT = re.compile(r"(?:[^\s:/,\[\]]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})")
_SCHEME = re.compile(r"(?:dns|ipv4|ipv6|unix|unix-abstract|xds):\S+")
_METHODS = {
    "Predict": ("PredictionService", api.PredictRequest, api.PredictResponse),
    "GetModelStatus": ("ModelService", api.GetModelStatusRequest, api.GetModelStatusResponse),
}


@dataclasses.dataclass(frozen=True)
class TlsOptions:
    """How to talk to a server that speaks TLS: every path is of a PEM file.

    Args:
        authority: path, certificates that the server's is checked against; those of gRPC if None.
        key: path, the client's own key, for a server that asks clients for a certificate (mTLS).
        certificate: path, the client's certificate chain; goes with `key`.
        server_name: str, the name that the server's certificate must have, if it is not that of the address.

    Raises:
        ValueError: if one of `key` and `certificate` comes without the other.
        FileNotFoundError: if a file is missing.
    """

    authority: Optional[str] = None
    key: Optional[str] = None
    certificate: Optional[str] = None
    server_name: Optional[str] = None

    def __post_init__(self):
        if (self.key is None) != (self.certificate is None):
            raise ValueError(f"`key` and `certificate` must come together. Received: {self.key!r} and {self.certificate!r}.")
        for path in (self.authority, self.key, self.certificate):
            if path is not None and not os.path.isfile(path):
                raise FileNotFoundError(f"A TLS file must exist. Received: {os.fspath(path)!r}.")

    def credentials(self):
        """`grpc.ChannelCredentials` of these files."""
        return grpc.ssl_channel_credentials(*(None if path is None else _read(path)
                                              for path in (self.authority, self.key, self.certificate)))


def checked_addresses(addresses):
    """`"host:port,host:port"` or a list of `"host:port"` -> list of str.

    A gRPC name such as `"dns:///hund.example:8500"` is one address, too; all hosts that it stands for are used in turn.

    Raises:
        ValueError: if there is none, or one is no HOST:PORT.
    """
    parts = addresses.split(",") if isinstance(addresses, str) else list(addresses)
    parts = [part.strip() if isinstance(part, str) else part for part in parts]
    for part in parts:
        plain = isinstance(part, str) and _HOST_PORT.fullmatch(part)
        if not (plain and 0 < int(plain.group(1)) < 65536) and not (isinstance(part, str) and _SCHEME.fullmatch(part)):
            raise ValueError(f"An address must be HOST:PORT. Received: {part!r}.")
    if not parts:
        raise ValueError(f"There must be at least one address, HOST:PORT. Received: {addresses!r}.")
    return parts


def open_channel(library, address, tls, most_bytes, options):
    """A channel to one address.

    Args:
        library: `grpc` or `grpc.aio`.
        address: str.
        tls: `TlsOptions`, or None for plain text.
        most_bytes: int, limit of a message, either way.
        options: pairs of gRPC channel options, which win over those chosen here.
    """
    chosen = {
        "grpc.max_receive_message_length": most_bytes,
        "grpc.max_send_message_length": most_bytes,
        "grpc.service_config": '{"loadBalancingConfig": [{"round_robin": {}}]}',  # of the hosts behind one name
        # A host that does not even refuse is given up after 2 s, not 20, and one that came back is found soon.
        "grpc.min_reconnect_backoff_ms": 2000, "grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 5000,
        "grpc.use_local_subchannel_pool": 1,  # another client's failed tries do not hold this one back
    }
    if tls is None:
        return library.insecure_channel(address, options=list({**chosen, **dict(options)}.items()))
    if tls.server_name is not None:
        chosen["grpc.ssl_target_name_override"] = tls.server_name
    return library.secure_channel(address, tls.credentials(), options=list({**chosen, **dict(options)}.items()))


def calls_of(channel):
    """The calls of a channel by name: "Predict", "GetModelStatus"."""
    return {name: channel.unary_unary(f"/tensorflow.serving.{service}/{name}", request_serializer=request.SerializeToString,
                                      response_deserializer=response.FromString)
            for name, (service, request, response) in _METHODS.items()}


def _read(path):
    with open(path, "rb") as file:
        return file.read()
