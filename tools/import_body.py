"""Turns your own SMPL-X, SMPL-H or SMPL model file into a body that hund_tf can load.

    python tools/import_body.py SMPLX_NEUTRAL.npz -o body.npz

Then `hund_tf.GenerativeBody.from_asset("body.npz")`. docs/bodies.md says what carries over and what does not. The low
mesh needs the package `fast-simplification`. Exit code: 0, or 2 if the file is no such model; a message says the rule.
"""

import argparse
import sys

from hund_tf.body import smpl_import


def main(arguments=None):
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the model's .npz as its owners offer it")
    parser.add_argument("-o", "--output", default="body.npz", help="the body to write (default: %(default)s)")
    parser.add_argument("--shape-directions", type=int, metavar="N",
                        help="how many of the file's directions are shape, the rest being expression (default: 300 of "
                        "400 and 10 of 20 in SMPL-X files, all in others)")
    options = parser.parse_args(arguments)
    try:
        print(smpl_import.import_body(options.model, options.output, options.shape_directions))
    except (ValueError, OSError, ImportError) as error:
        print(f"import_body: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
