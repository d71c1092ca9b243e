"""A gRPC status in, the exception that says what happened out."""

import grpc


class HundServerError(Exception):
    """The server could not do what it was asked.

    Attributes:
        code: `grpc.StatusCode`.
        message: str, the server's own words.
        address: str, which server.
    """

    def __init__(self, code, message, address):
        super().__init__(f"{address}: {code.name}: {message}")
        self.code, self.message, self.address = code, message, address

    def __reduce__(self):  # so that it can leave a worker process
        return type(self), (self.code, self.message, self.address)


class HundInputError(HundServerError, ValueError):
    """The server refused what it was given (INVALID_ARGUMENT); the message has the rule."""


class HundTimeoutError(HundServerError, TimeoutError):
    """No answer within the deadline (DEADLINE_EXCEEDED)."""


class HundUnavailableError(HundServerError, ConnectionError):
    """No server could be reached, also after every retry (UNAVAILABLE)."""


_TYPES = {
    grpc.StatusCode.INVALID_ARGUMENT: HundInputError,
    grpc.StatusCode.DEADLINE_EXCEEDED: HundTimeoutError,
    grpc.StatusCode.UNAVAILABLE: HundUnavailableError,
}


def from_status(code, message, address):
    """The exception of a status; `HundServerError` itself for those without a type of their own."""
    return _TYPES.get(code, HundServerError)(code, message or "no message", address)
