"""The command: arguments in, exit code out. 0: all done; 2: some records went to the dead letters, or an argument is
wrong; 1: the machine or the pipeline failed (the shards finished so far stay; the same command goes on with the rest)."""

import contextlib
import logging
import os
import sys
import threading

import psutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is loaded, as it is by the next

from serving.batch import options, pipeline  # noqa: E402

EXIT_OK, EXIT_FAILED, EXIT_BAD_INPUT = 0, 1, 2


def main(arguments=None):
    """Runs the pipeline and tells what it did; returns the exit code."""
    logging.basicConfig(level=logging.WARNING)
    settings, beam_arguments = options.parse(arguments)
    before = threading.excepthook
    threading.excepthook = lambda error: _end_if_a_worker_was_killed(error, before)
    try:
        try:
            work = pipeline.prepare(settings, beam_arguments)
        except (ValueError, FileNotFoundError) as error:
            print(f"serving.batch: {error}", file=sys.stderr)
            return EXIT_BAD_INPUT
        summary = pipeline.run(work)
    except Exception:  # whatever a runner raises; the exit code is for whoever starts it again
        logging.exception("The pipeline failed. The shards it finished are kept: the same command does the others.")
        return EXIT_FAILED
    finally:
        threading.excepthook = before
    print(f"{summary.inputs} records, {summary.people} people, {summary.dead_letters} dead letters in {summary.shards} shards "
          f"({summary.found_done} of them done before): {settings.output}")
    return EXIT_BAD_INPUT if summary.dead_letters else EXIT_OK


def _end_if_a_worker_was_killed(error, tell):
    """Beam's runner of local processes would wait for ever for one that was killed; the thread that minds it tells."""
    tell(error)
    if isinstance(error.exc_value, RuntimeError) and str(error.exc_value).startswith("Worker subprocess exited"):
        threading.excepthook = lambda _: None  # the ends of the others, which follow, need no word
        print("serving.batch: a worker process was killed. The shards finished so far are kept: the same command does the "
              "others.", file=sys.stderr, flush=True)
        workers = psutil.Process().children(recursive=True)  # Beam starts each by a shell
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
        psutil.wait_procs(workers, timeout=10)
        os._exit(EXIT_FAILED)


if __name__ == "__main__":
    sys.exit(main())
