"""Options that several kinds of `hund train` share, and the check that files are there before TensorFlow is loaded."""

import glob
import os

from hund_tf import cli_values
from hund_tf.config import BodyConfig

_SETTINGS = ("epochs", "steps_per_epoch", "batch_size", "seed", "learning_rate", "start_from", "ema", "patience")


def add_run(parser, network, epochs, steps, rate, devices=False):
    """Adds folder and schedule of a run.

    Args:
        parser: `argparse.ArgumentParser`.
        network: str, what is trained, for the help.
        epochs, steps, rate: defaults of this kind for epochs, steps an epoch and learning rate.
        devices: bool, whether the run may have several.
    """
    parser.add_argument("--run", required=True, dest="folder", metavar="DIR", help="folder of the run")
    parser.add_argument("--epochs", type=cli_values.count(1), default=epochs, help="default: %(default)s")
    parser.add_argument("--steps-per-epoch", type=cli_values.count(1), default=steps, help="default: %(default)s")
    parser.add_argument("--batch-size", type=cli_values.count(1), default=32,
                        help=("of all devices together (" if devices else "examples a step (") + "default: %(default)s)")
    parser.add_argument("--seed", type=cli_values.count(0), default=0, help="default: %(default)s")
    parser.add_argument("--learning-rate", type=cli_values.between(0, 1), default=rate,
                        help="the highest (default: %(default)s)")
    parser.add_argument("--start-from", metavar="FILE", help=f"weights of {network} to start from")
    parser.add_argument("--ema", type=cli_values.between(0, 1), metavar="MOMENTUM",
                        help="average the weights, such as 0.999; these are validated and saved (default: do not)")
    parser.add_argument("--patience", type=cli_values.count(1), metavar="EPOCHS",
                        help="stop after so many epochs without a better validation loss, with the weights of the best "
                             "(default: do not)")


def settings(options):
    """What `add_run` read, but for the folder, as settings of a training function."""
    return {name: getattr(options, name) for name in _SETTINGS}


def add_body(parser):
    """Adds `--body`."""
    parser.add_argument("--body", default=BodyConfig.asset, help="name or path of the body (default: %(default)s)")


def check_files(options, *names):
    """Refuses options that name no file; see `check_there`."""
    for name in names:
        if getattr(options, name) is not None:
            check_there(f"--{name.replace('_', '-')}", getattr(options, name))


def check_there(option, *patterns):
    """Refuses a path or pattern that names no file.

    Raises:
        BadInput: which option, and what it was given.
    """
    for pattern in patterns:
        if not glob.glob(pattern) and not os.path.exists(pattern):
            raise cli_values.BadInput(f"{option} must name files that are there. Received: {pattern!r}.")
