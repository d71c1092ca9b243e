"""What goes wrong with a request: a gRPC status code and one sentence; the codes of TensorFlow and HTTP beside it."""

import re

import grpc

MAX_MESSAGE = 1000  # characters; gRPC sends the message in a header, and headers are limited to 8 KiB
_HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400, grpc.StatusCode.FAILED_PRECONDITION: 400, grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.NOT_FOUND: 404, grpc.StatusCode.RESOURCE_EXHAUSTED: 429, grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503, grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class RequestError(Exception):
    """A request that gets no result.

    Args:
        code: `grpc.StatusCode`.
        message: str, the sentence for whoever asked.
        http_status: int or None, in place of the one that belongs to the code.
    """

    def __init__(self, code, message, http_status=None):
        super().__init__(message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE - 3] + "...")
        self.code, self.http_status = code, http_status or _HTTP_STATUS.get(code, 500)


def invalid(message):
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message):
    return RequestError(grpc.StatusCode.NOT_FOUND, message)


def exhausted(message):
    return RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


def too_large(message):
    return RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message, 413)


def unavailable(message):
    return RequestError(grpc.StatusCode.UNAVAILABLE, message)


def deadline_exceeded(message):
    return RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, message)


def internal(message):
    return RequestError(grpc.StatusCode.INTERNAL, message)


def from_tensorflow(error):
    """`tf.errors.OpError` -> `RequestError` of the same code, its message without the graph's node names."""
    message = re.sub(r"^Graph execution error:\s*", "", error.message)
    first_root = re.search(r"\(0\) [A-Z_]+: (.*)", message, re.DOTALL)  # "2 root error(s) found.\n  (0) ..."
    if "root error(s) found" in message and first_root:
        message = first_root.group(1)
    message = message.split("\n\t [[")[0].split("\n  (1) ")[0].strip()
    return RequestError(_BY_NUMBER.get(error.error_code, grpc.StatusCode.UNKNOWN), message or type(error).__name__)
