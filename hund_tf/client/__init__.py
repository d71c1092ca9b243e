"""A client of hund servers (TF Serving, or `hund serve`); needs numpy, grpcio and protobuf, and never loads TensorFlow."""

from hund_tf.client.channels import TlsOptions
from hund_tf.client.client import AsyncHundClient, HundClient
from hund_tf.client.errors import HundInputError, HundServerError, HundTimeoutError, HundUnavailableError
from hund_tf.client.results import Description, HundResult, VersionStatus
from hund_tf.client.retries import RetryPolicy

__all__ = ["AsyncHundClient", "Description", "HundClient", "HundInputError", "HundResult", "HundServerError",
           "HundTimeoutError", "HundUnavailableError", "RetryPolicy", "TlsOptions", "VersionStatus"]
