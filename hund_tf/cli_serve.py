"""`hund serve`: a SavedModel folder in, TensorFlow Serving's API on two ports out, until it is told to stop."""

import argparse
import os
import sys

from hund_tf import cli_values

_DESCRIPTION = """\
Serves a model by TensorFlow Serving's API, for development and single machines: gRPC (Predict, GetModelMetadata,
GetModelStatus, health, reflection), REST (/v1/models/NAME:predict, ...) and /monitoring/prometheus/metrics.

New versions that appear below the folder take over without a lost request. SIGTERM or SIGINT ends it: requests under
way are finished first. The line on standard output says when it is ready, and where."""
_EPILOG = """\
examples:
  hund export --out models && hund serve --model models/hund
  hund serve --model models/hund --batching batching_parameters.txt --host 0.0.0.0
  hund serve --model models/hund --tls-cert server.pem --tls-key server.key --tls-client-ca clients.pem

exit code: 0 when told to stop, 2 if an argument cannot be used, 1 if something else failed."""
MAX_PORT, LARGEST_MB = 65_535, 2_000  # gRPC knows no message of 2 GiB


def add_serve(commands):
    """Adds `serve` to the commands."""
    parser = commands.add_parser("serve", help="serve a model by TensorFlow Serving's gRPC and REST API",
                                 description=_DESCRIPTION, epilog=_EPILOG,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", required=True, metavar="FOLDER", help="BASE of BASE/<version>/saved_model.pb, or one SavedModel")
    add("--name", default="hund", metavar="NAME", help="the model's name in requests (default: %(default)s)")
    add("--host", default="127.0.0.1", metavar="ADDRESS",
        help="where to listen (default: %(default)s, this machine alone; 0.0.0.0: everywhere)")
    add("--port", type=cli_values.count(0, MAX_PORT), default=8500, metavar="N",
        help="gRPC; 0 takes a free one (default: %(default)s)")
    add("--rest-port", type=cli_values.count(0, MAX_PORT), default=8501, metavar="N",
        help="REST and metrics; 0 takes a free one (default: %(default)s)")
    add("--batching", metavar="FILE", help="TensorFlow Serving's batching parameters file; the four options below win over it")
    add("--max-batch-size", type=cli_values.count(1), metavar="N", help="rows that run together at most (default: 32)")
    add("--batch-timeout-micros", type=cli_values.count(0), metavar="N",
        help="how long a request waits for others to run with (default: 0)")
    add("--queue", type=cli_values.count(1), metavar="N",
        help="batches that may wait for each signature, more are refused (default: 16)")
    add("--threads", type=cli_values.count(1), metavar="N", help="runs at one time (default: number of cores, at most 4)")
    add("--poll", type=_seconds, default=2.0, metavar="SECONDS",
        help="how often to look for new versions; 0: never (default: %(default)g)")
    add("--grace", type=_seconds, default=30.0, metavar="SECONDS",
        help="how long requests under way may take when it is told to stop (default: %(default)g)")
    add("--rest-timeout", type=cli_values.between(0, 1e6), default=60.0, metavar="SECONDS",
        help="when a REST request is given up (default: %(default)g)")
    add("--run-timeout", type=cli_values.between(0, 1e6), default=600.0, metavar="SECONDS",
        help="when a run is given up; one whose client went cannot be stopped sooner (default: %(default)g)")
    add("--max-message-mb", type=cli_values.count(1, LARGEST_MB), default=300, metavar="N",
        help="size of a gRPC request at most, MiB (default: %(default)s, the raw pixels of 100 megapixels)")
    add("--max-rest-mb", type=cli_values.count(1, LARGEST_MB), default=32, metavar="N",
        help="size of a REST request at most, MiB (default: %(default)s)")
    add("--max-in-flight-mb", type=cli_values.count(1), default=1024, metavar="N",
        help="size of all requests that wait or run, on both ports, MiB; more are refused (default: %(default)s)")
    add("--tls-cert", metavar="FILE", help="PEM certificate of the server; with --tls-key both ports speak TLS alone")
    add("--tls-key", metavar="FILE", help="PEM key of it")
    add("--tls-client-ca", metavar="FILE", help="PEM authority that clients' certificates must come from (mutual TLS)")
    parser.set_defaults(run=cli_values.guarded(_serve))


def _serve(options):
    if not os.path.isdir(options.model):
        raise cli_values.BadInput(f"--model must be a folder. Received: {options.model!r}, which is none.")
    import asyncio
    import logging

    # TensorFlow's own allocator keeps what the largest photo took; read when TensorFlow is loaded
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        from hund_tf.serving.settings import MEBIBYTE, ServerSettings, read_batching

        batching = read_batching(
            options.batching, max_batch_size=options.max_batch_size, batch_timeout_micros=options.batch_timeout_micros,
            max_enqueued_batches=options.queue, num_batch_threads=options.threads)
        settings = ServerSettings(
            model=options.model, name=options.name, host=options.host, port=options.port, rest_port=options.rest_port,
            batching=batching, poll=options.poll, grace=options.grace, rest_timeout=options.rest_timeout,
            run_timeout=options.run_timeout, max_message_bytes=options.max_message_mb * MEBIBYTE,
            max_rest_bytes=options.max_rest_mb * MEBIBYTE, max_in_flight_bytes=options.max_in_flight_mb * MEBIBYTE,
            tls_cert=options.tls_cert, tls_key=options.tls_key, tls_client_ca=options.tls_client_ca)
        from hund_tf.serving import server
        from hund_tf.serving.image_checks import check_images
    except ImportError as error:
        raise cli_values.BadInput(f"`hund serve` needs the packages of the extra serve. Received: {error}. Remedy: "
                                  '`pip install "hund-tf[serve]"`.') from None
    ended = asyncio.run(server.run(settings, (check_images,), lambda line: print(f"hund: {line}", flush=True)))
    if not ended:  # a run or a load goes on in a thread that nothing can stop
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _seconds(text):
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, not negative. Received: {text!r}.")
    return value
