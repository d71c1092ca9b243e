"""Sends photos to a hund server and says who is where: the shortest use of `hund_tf.client`, which needs no TensorFlow.

    python serving/client.py photo.jpg [...] --server localhost:8500[,HOST:PORT]

`hund reconstruct --server` writes meshes, pictures and JSON. In a program of your own:

    from hund_tf.client import HundClient
    with HundClient("localhost:8500") as client:
        [result] = client.reconstruct_bytes([open("photo.jpg", "rb").read()])
"""

import argparse
import pathlib
import sys

from hund_tf.client import HundClient, HundServerError, HundUnavailableError, RetryPolicy

OUTPUTS = ("box", "score", "translation")  # a few hundred bytes in place of a megabyte of vertices


def main(arguments=None):
    """Runs the example; returns its exit code."""
    parser = argparse.ArgumentParser(description="Who is where in photos, by a hund server.")
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="JPEG or PNG file")
    parser.add_argument("--server", default="localhost:8500", metavar="HOST:PORT[,HOST:PORT]")
    options = parser.parse_args(arguments)
    failed = False
    with HundClient(options.server, retries=RetryPolicy(exhausted=True)) as client:  # a full queue is waited for
        for path in options.photos:
            try:
                [result] = client.reconstruct_bytes([pathlib.Path(path).read_bytes()], outputs=OUTPUTS)
            except HundUnavailableError as error:  # after a minute: the other photos would fare no better
                print(f"{path}: {error}", file=sys.stderr)
                return 1
            except (HundServerError, ValueError, OSError) as error:
                print(f"{path}: {error}", file=sys.stderr)
                failed = True
                continue
            for box, score, (x, y, z) in zip(result.box, result.score, result.translation):
                print(f"{path}: box {box.round().tolist()}, score {score:.2f}, pelvis at {x:.2f}, {y:.2f}, {z:.2f} m")
            if not result.num_people:
                print(f"{path}: no people found")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
