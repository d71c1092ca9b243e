"""What a server is told: addresses, limits, waiting times, batching; checked at birth."""

import dataclasses
import os
from typing import Optional, Tuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

MEBIBYTE = 2**20
MAX_REST_MB = 32  # a photo in base64
MAX_IN_FLIGHT_MB = 1024
RUN_TIMEOUT_S = 600.0
MAX_MESSAGE_MB = 300  # raw pixels of a request's photos, image_checks.MAX_PIXELS x 3 bytes, are 286
_WRAPPED = {"max_batch_size": "Int64Value", "batch_timeout_micros": "Int64Value", "max_enqueued_batches": "Int64Value",
            "num_batch_threads": "Int64Value", "thread_pool_name": "StringValue"}


@dataclasses.dataclass(frozen=True)
class Batching:
    """How requests wait and run together; names and meaning are those of TensorFlow Serving's BatchingParameters.

    Only requests to signatures whose inputs and outputs all have an unknown first dimension are merged; the others queue
    alone. TensorFlow Serving's own defaults are 1000, 0, 10 and the number of cores; a batch of 1000 photos fits no memory, nor
    do as many runs as a large machine has cores.

    Attributes:
        max_batch_size: int, rows of one run at most; a larger request is refused.
        batch_timeout_micros: int, how long the first request of a batch waits for others, microseconds.
        max_enqueued_batches: int, batches that may wait for each signature; more are refused at once.
        num_batch_threads: int, runs at one time.
        allowed_batch_sizes: tuple of int, increasing, ending with `max_batch_size`: batches are filled up to one of these
            with copies of their first row. Empty: no filling.
    """

    max_batch_size: int = 32
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 16
    num_batch_threads: int = dataclasses.field(default_factory=lambda: min(4, os.cpu_count() or 1))
    allowed_batch_sizes: Tuple[int, ...] = ()

    def __post_init__(self):
        for name, least in (("max_batch_size", 1), ("batch_timeout_micros", 0), ("max_enqueued_batches", 1),
                            ("num_batch_threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}. Received: {getattr(self, name)}.")
        sizes = self.allowed_batch_sizes
        if sizes and (list(sizes) != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] != self.max_batch_size):
            raise ValueError("allowed_batch_sizes must be positive, increase and end with max_batch_size = "
                             f"{self.max_batch_size}. Received: {list(sizes)}.")


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """Where and how to serve.

    Attributes:
        model: str, folder BASE of BASE/<version>/saved_model.pb, or the folder of one SavedModel.
        name: str, the model's name in requests.
        host: str, address to listen on.
        port: int, of gRPC; 0 takes a free one.
        rest_port: int, of REST and the metrics; 0 takes a free one.
        batching: `Batching`.
        poll: float, seconds between two looks for new versions; 0: never look again.
        grace: float, seconds that requests under way get when the server stops.
        rest_timeout: float, seconds after which a REST request is given up, here or on its way; gRPC requests bring their own.
        run_timeout: float, seconds after which a run is given up, whatever the deadlines of its requests.
        max_message_bytes: int, size of a gRPC request, and of its tensors when unpacked.
        max_rest_bytes: int, size of a REST request's body.
        max_in_flight_bytes: int, of all requests under way on both ports, as they come or (by gRPC) unpacked, whichever is
            more; not of those whose client went while they ran.
        tls_cert: str or None, PEM file of the server's certificate chain; with `tls_key` both ports speak TLS alone.
        tls_key: str or None, PEM file of its key.
        tls_client_ca: str or None, PEM file of the authority that clients' certificates must come from (mutual TLS).
    """

    model: str
    name: str = "hund"
    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int = 8501
    batching: Batching = dataclasses.field(default_factory=Batching)
    poll: float = 2.0
    grace: float = 30.0
    rest_timeout: float = 60.0
    run_timeout: float = RUN_TIMEOUT_S
    max_message_bytes: int = MAX_MESSAGE_MB * MEBIBYTE
    max_rest_bytes: int = MAX_REST_MB * MEBIBYTE
    max_in_flight_bytes: int = MAX_IN_FLIGHT_MB * MEBIBYTE
    tls_cert: Optional[str] = None
    tls_key: Optional[str] = None
    tls_client_ca: Optional[str] = None

    def __post_init__(self):
        if not self.name or set(self.name) & set("/:"):
            raise ValueError(f"A model's name must be text without '/' and ':'. Received: {self.name!r}.")
        if not self.run_timeout > 0:
            raise ValueError(f"run_timeout must be positive. Received: {self.run_timeout}.")
        if self.max_in_flight_bytes < max(self.max_message_bytes, self.max_rest_bytes):
            raise ValueError("--max-in-flight-mb must be at least --max-message-mb and --max-rest-mb: else the largest request "
                             f"has never room. Received: {self.max_in_flight_bytes:,}, {self.max_message_bytes:,} and "
                             f"{self.max_rest_bytes:,} bytes.")
        if bool(self.tls_cert) != bool(self.tls_key) or (self.tls_client_ca and not self.tls_cert):
            raise ValueError("TLS needs a certificate and its key; a client CA needs both. Received: "
                             f"cert {self.tls_cert}, key {self.tls_key}, client CA {self.tls_client_ca}.")


def read_batching(path, **overrides):
    """Reads TensorFlow Serving's batching parameters file.

    Args:
        path: str or None, text protobuf of BatchingParameters; None: all defaults.
        **overrides: fields of `Batching` that win over the file; None means not given.

    Returns:
        `Batching`.

    Raises:
        ValueError: if the file is not such text, or a value cannot be used.
    """
    values = {}
    if path is not None:
        try:
            with open(path, encoding="utf-8") as file:
                parameters = text_format.Parse(file.read(), batching_parameters()())
        except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
            raise ValueError("A batching file must be text of TensorFlow Serving's BatchingParameters, such as "
                             f"`max_batch_size {{ value: 8 }}`. Received: {path} ({error}).") from None
        if parameters.pad_variable_length_inputs:
            raise ValueError(f"pad_variable_length_inputs must be false: this server does not pad. Received: true in {path}.")
        values = {name: getattr(parameters, name).value for name in _WRAPPED
                  if name != "thread_pool_name" and parameters.HasField(name)}
        values["allowed_batch_sizes"] = tuple(parameters.allowed_batch_sizes)
    given = {name: value for name, value in overrides.items() if value is not None}
    if "max_batch_size" in given and values.get("allowed_batch_sizes"):  # the flag is the new end of the list
        values["allowed_batch_sizes"] = tuple(size for size in values["allowed_batch_sizes"]
                                              if size < given["max_batch_size"]) + (given["max_batch_size"],)
    return Batching(**{**values, **given})


def batching_parameters():
    """The message class of BatchingParameters, without large batch splitting, which this server does not do.

    tensorflow-serving-api does not ship it, so its fields are declared here.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="hund_tf/serving/batching_parameters.proto", package="hund_tf.serving",
                                              syntax="proto3", dependency=[wrappers_pb2.DESCRIPTOR.name])
    message = file.message_type.add(name="BatchingParameters")
    for number, (name, kind) in enumerate(_WRAPPED.items(), 1):
        message.field.add(name=name, number=number, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL,
                          type_name=f".google.protobuf.{kind}")
    message.field.add(name="allowed_batch_sizes", number=6, type=field.TYPE_INT64, label=field.LABEL_REPEATED)
    message.field.add(name="pad_variable_length_inputs", number=7, type=field.TYPE_BOOL, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("hund_tf.serving.BatchingParameters"))
