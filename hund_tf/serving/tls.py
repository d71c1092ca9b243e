"""PEM files in; what gRPC and the REST server need to speak TLS out."""

import ssl

import grpc


def credentials(settings):
    """TLS of both ports.

    Args:
        settings: `ServerSettings`.

    Returns:
        `(grpc.ServerCredentials, ssl.SSLContext)`, or `(None, None)` without a certificate.

    Raises:
        ValueError: if a file cannot be read or holds something else, or the key is not the certificate's.
    """
    if not settings.tls_cert:
        return None, None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ValueError("--tls-cert and --tls-key must be PEM files of a certificate and its key, without password. Received: "
                         f"{settings.tls_cert} and {settings.tls_key} ({error}).") from None
    authority = None
    if settings.tls_client_ca:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except (OSError, ValueError) as error:
            raise ValueError(f"--tls-client-ca must be a PEM file of certificates. Received: {settings.tls_client_ca} "
                             f"({error}).") from None
        context.verify_mode = ssl.CERT_REQUIRED
        authority = _read(settings.tls_client_ca)
    pair = _read(settings.tls_key), _read(settings.tls_cert)
    return grpc.ssl_server_credentials([pair], authority, authority is not None), context


def _no_password():
    raise ValueError("the key has a password")


def _read(path):
    with open(path, "rb") as file:
        return file.read()
