"""`hund export`: a preset in, a SavedModel for TensorFlow Serving out."""

import argparse
import os
import sys

from hund_tf import arguments, cli_values

_HELP = """\
Writes a preset as a SavedModel that TensorFlow Serving, `hund serve` or plain TensorFlow runs without hund_tf: detection
to mesh in one graph, for CPU and GPU, with warm-up requests, preset settings and licences beside it.

  OUT/NAME/VERSION/    the SavedModel; signatures serving_default, reconstruct, reconstruct_boxes, reconstruct_crops, describe
  OUT/models.config    for tensorflow_model_server --model_config_file"""
_EXAMPLES = """\
examples:
  hund export --out served && hund serve --model served/hund
  hund export --preset my_preset --out served --version 7 --max-people 20"""


def add_export(commands):
    """Adds `export` to the commands."""
    parser = commands.add_parser("export", help="a preset in, a SavedModel to serve out", description=_HELP, epilog=_EXAMPLES,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to; made if missing")
    parser.add_argument("--preset", default="person", metavar="NAME",
                        help="a name from `hund presets` or a folder (default: %(default)s)")
    parser.add_argument("--version", type=cli_values.count(1), metavar="N", help="default: one more than the highest there")
    parser.add_argument("--name", default="hund", help="name of the model (default: %(default)s)")
    parser.add_argument("--max-people", type=cli_values.count(1, arguments.MOST_PEOPLE), default=8, metavar="N",
                        help="people a photo in the answers of serving_default (default: %(default)s)")
    parser.set_defaults(run=cli_values.guarded(_export))


def _export(options):
    from hund_tf import presets

    presets.find(options.preset)  # what is missing is told now, not after half a minute
    try:
        os.makedirs(options.out, exist_ok=True)
    except OSError as error:
        raise cli_values.BadInput(f"--out must be a folder that can be made. Received: {options.out!r} ({error}).") from None
    from hund_tf.export import saved_model

    try:
        folder = saved_model.export(options.preset, options.out, options.version, options.name, options.max_people)
    except ImportError as error:
        raise cli_values.BadInput(str(error)) from None
    size = sum(os.path.getsize(os.path.join(root, name)) for root, _, names in os.walk(folder) for name in names)
    print(f"{folder}: {size / 1e6:.0f} MB", file=sys.stdout)
    return 0
