"""`hund train average`: weights of runs of one network in, their mean out. By HDF5 alone, without TensorFlow."""

import os
import shutil

import numpy as np

from hund_tf import cli_train_options, cli_values
from hund_tf.files import write_atomically


def add_average(kinds):
    """Adds `average` to what `hund train` does."""
    parser = kinds.add_parser("average", help="the mean of the weights of several runs that began from the same ones")
    parser.add_argument("--weights", required=True, nargs="+", metavar="FILE", help="weights of the same network, two or more")
    parser.add_argument("--out", required=True, metavar="FILE", help="their mean")
    parser.set_defaults(run=cli_values.guarded(_average))


def _average(options):
    if len(options.weights) < 2:
        raise cli_values.BadInput(f"--weights must be two files or more. Received: {options.weights[0]!r} alone.")
    cli_train_options.check_there("--weights", *options.weights)
    average(options.weights, options.out)
    return 0


def average(paths, out):
    """Writes the mean of weights.

    Args:
        paths: list of str, HDF5 files of equal names and shapes, as `model.save_weights` writes them.
        out: str, HDF5 file; in all but its numbers the first of them.

    Raises:
        ValueError: if a file is not HDF5, holds other names or shapes than the first, or a number that is not finite.
    """
    first, totals = read(paths[0]), {}
    for path in paths:
        values = read(path)
        if {name: value.shape for name, value in values.items()} != {name: value.shape for name, value in first.items()}:
            raise ValueError(f"Weights must have equal names and shapes to be averaged. Received: {path}, which differs from "
                             f"{paths[0]} in {_difference(first, values)}.")
        for name, value in values.items():
            totals[name] = totals.get(name, 0.0) + value.astype(np.float64)
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)

    def write(temporary):
        import h5py

        shutil.copyfile(paths[0], temporary)
        with h5py.File(temporary, "r+") as file:
            for name, total in totals.items():
                file[name][...] = total / len(paths)

    write_atomically(out, write)


def read(path):
    """Arrays of a file of weights by their names, dict."""
    import h5py

    values = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            values[name] = item[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except OSError as error:
        raise ValueError(f"Weights must be HDF5 files (.h5). Received: {path}, which cannot be read ({error}).") from None
    for name, value in values.items():
        if not np.issubdtype(value.dtype, np.floating) or not np.all(np.isfinite(value)):
            raise ValueError(f"Weights must be finite numbers. Received: {name} of {path}, which are not.")
    if not values:
        raise ValueError(f"A file of weights must hold some. Received: {path} with none.")
    return values


def _difference(first, other):
    """The first name that two dicts of arrays do not share, or whose shapes differ, as text."""
    name = next(name for name in sorted({*first, *other})
                if name not in first or name not in other or first[name].shape != other[name].shape)
    shapes = [tuple(values[name].shape) if name in values else "missing" for values in (first, other)]
    return f"{name}: {shapes[1]} in place of {shapes[0]}"
