"""A running server in the place of local networks, for `hund reconstruct --server`; TensorFlow is not loaded."""

import sys
import time
from typing import NamedTuple

import numpy as np

from hund_tf import arguments, cli_values
from hund_tf.results import Person, Reconstruction

MISSING = "--server needs grpcio and protobuf. `pip install 'hund-tf[client]'` brings them."
FIRST_ANSWER_S = 2.0  # after so long without an answer the user is told why nothing happens
_OPTIONAL = ("model_version", "part_weights", "keypoint_uncertainty", "joint_uncertainty")  # not every preset tells them
_LOCAL_ONLY = (("preset", "the server has its own networks"), ("refine", "an export has no L-BFGS in it"),
               ("distortion", "an export takes photos of lenses that do not bend"))
_TLS_FILES = ("server_ca", "server_key", "server_cert")  # in the order of `TlsOptions`
_REMOTE_ONLY = ("server_model", "server_timeout", "server_tls", "server_name", *_TLS_FILES)


class NoServer(Exception):
    """There is no server to work with; the message is the sentence to show."""


class RemoteState(NamedTuple):
    """As `ModelState`, of one person: vectors."""

    theta: np.ndarray
    shape: np.ndarray
    expression: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray


class RemoteModel:
    """Answers as a `Reconstructor` does.

    Args:
        client: `HundClient`.

    Attributes:
        names: names of the 137 keypoints and of the 63 joints: pair of tuples.
        preset: str, that of the server.
        server: dict for the JSON: addresses, hund_tf (the version that made the export).

    Raises:
        HundServerError: if the server cannot say what it serves.
    """

    def __init__(self, client):
        self._client, about = client, client.describe()
        self.names, self.preset, self._faces = (about.keypoint_names, about.joint_names), about.preset, about.faces
        self.server = {"addresses": list(client.addresses), "hund_tf": about.version}

    def reconstruct(self, image, intrinsics=None, boxes=None, num_stages=None, max_people=None, distortion=None, refine=0):
        """As `Reconstructor.reconstruct`, without `distortion` and `refine`."""
        if distortion is not None or refine:
            raise ValueError(f"A server takes neither `distortion` nor `refine`. Received: {distortion}, {refine}.")
        start = time.perf_counter()
        if boxes is not None:
            found = self._client.reconstruct_boxes(image, boxes[:max_people], intrinsics, num_stages)
        else:
            most = None if max_people is None else min(max_people, arguments.MOST_PEOPLE)
            found = self._client.reconstruct(image, intrinsics, most, num_stages)
            full = found.num_people == found.rows < arguments.MOST_PEOPLE
            if max_people is None and full:  # no room for more: are there any?
                found = self._client.reconstruct(image, intrinsics, arguments.MOST_PEOPLE, num_stages)
        missing = [name for name, value in found._asdict().items() if value is None and name not in _OPTIONAL]
        if missing:
            raise RuntimeError(f"The server must be one of a hund export. Received: an answer without {', '.join(missing)}.")
        return Reconstruction(
            found.image_size, found.intrinsics if intrinsics is None else np.asarray(intrinsics, np.float64),
            "default (fx = fy = max(H, W))" if intrinsics is None else "given",
            [self._person(found, i) for i in range(found.num_people)], {"server": time.perf_counter() - start})

    def _person(self, found, i):
        row = {name: getattr(found, name)[i] for name in Person._fields if getattr(found, name, None) is not None}
        state = RemoteState(*(getattr(found, name)[i] for name in RemoteState._fields))
        return Person(**{**row, "score": float(row["score"]), "state": state, "faces": self._faces})


def add_options(parser):
    """Adds --server, and what belongs to it, to the options of a command."""
    add = parser.add_argument_group("a server in place of networks on this machine").add_argument
    add("--server", metavar="HOST:PORT[,HOST:PORT]",
        help="of a hund export (TF Serving, `hund serve`); several take turns, and stand in for one that fails. Without "
             "--preset, --refine, --distortion")
    add("--server-model", metavar="NAME", help="the model's name there (default: hund)")
    add("--server-timeout", type=cli_values.between(0, 1e6), metavar="SECONDS",
        help="for a photo, with all tries, and for the first answer (default: 60)")
    add("--server-tls", action="store_true", default=None, help="speak TLS; each of the four below says so too")
    add("--server-name", metavar="NAME", help="that the server's certificate must have, if not that of the address")
    add("--server-ca", metavar="FILE", help="PEM certificates to check the server's against (default: those of gRPC)")
    add("--server-cert", metavar="FILE", help="PEM certificate of this client, for mutual TLS; with --server-key")
    add("--server-key", metavar="FILE", help="PEM key of it")


def complaint(options):
    """A sentence if the options do not go with `--server`, or not without, else None."""
    if options.server is None:
        alone = [f"--{name.replace('_', '-')}" for name in _REMOTE_ONLY if getattr(options, name) is not None]
        return f"{alone[0]} must go with --server. Received: {alone[0]} alone." if alone else None
    for name, reason in _LOCAL_ONLY:
        if getattr(options, name):
            return f"--{name} must not go with --server: {reason}. Received: both."
    if options.boxes and len(options.boxes) > arguments.MOST_PEOPLE:
        return f"--server takes at most {arguments.MOST_PEOPLE} boxes. Received: {len(options.boxes)}."
    try:
        from hund_tf.client.channels import checked_addresses
    except ImportError:
        return MISSING
    try:
        checked_addresses(options.server)
    except ValueError as error:
        return f"--server: {error}"
    if (options.server_key is None) != (options.server_cert is None):
        return f"--server-cert and --server-key must come together. Received: {options.server_cert} and {options.server_key}."
    if options.server_model == "":
        return "--server-model must be a name. Received: ''."
    for name in _TLS_FILES:
        if getattr(options, name) is not None:
            try:
                with open(getattr(options, name), "rb") as file:
                    if b"-----BEGIN" not in file.read():
                        raise ValueError("it holds no PEM")
            except (OSError, ValueError) as error:
                option = f"--{name.replace('_', '-')}"
                return f"{option} must be a PEM file that can be read. Received: {getattr(options, name)} ({error})."
    return None


def connect(options):
    """`RemoteModel` of the servers that the options name. Servers that are busy or not there yet are waited for.

    Raises:
        NoServer: if none can be reached in time, or what it serves is no hund export.
    """
    from hund_tf.client import HundClient, HundServerError, RetryPolicy, TlsOptions
    from hund_tf.client.client import TIMEOUT_S

    files = [getattr(options, name) for name in (*_TLS_FILES, "server_name")]
    tls = TlsOptions(*files) if options.server_tls or any(files) else None
    timeout, policy = options.server_timeout or TIMEOUT_S, RetryPolicy(exhausted=True)
    client = HundClient(options.server, timeout=timeout, retries=policy, tls=tls, model=options.server_model or "hund")
    try:
        if timeout > FIRST_ANSWER_S:
            try:
                client.describe(timeout=FIRST_ANSWER_S)
            except HundServerError as error:
                if not (isinstance(error, TimeoutError) or policy.covers(error.code, error.message)):
                    raise
                print(f"hund: --server is waited for, up to {timeout:g} s more. Received: {error}", file=sys.stderr)
        return RemoteModel(client)
    except (HundServerError, ValueError) as error:
        client.close()
        raise NoServer(f"--server must be a server of a hund export that can be reached. Received: {error}") from None
