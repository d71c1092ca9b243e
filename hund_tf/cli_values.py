"""Values on the command line: text in, checked numbers out, for `argparse`; what cannot be used ends with exit code 2."""

import argparse
import os
import re
import sys

from hund_tf import distortion as lens
from hund_tf import outputs

MAX_REFINE = 1000  # iterations; the loss hardly falls after a few hundred


def join_negative(arguments):
    """Joins `--box -9,0,50,80` to `--box=-9,0,50,80`: argparse takes a list that begins with a minus for an option."""
    joined = []
    for argument in arguments:
        if joined and joined[-1] in ("--intrinsics", "--distortion", "--box") and re.match(r"-[\d.]", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def formats(text):
    """Comma-separated kinds of files -> tuple."""
    kinds = tuple(dict.fromkeys(kind.strip().lower() for kind in text.split(",") if kind.strip()))
    if not kinds or not set(kinds) <= set(outputs.FORMATS):
        raise argparse.ArgumentTypeError(f"must be a comma-separated list of {', '.join(outputs.FORMATS)}. Received: {text!r}.")
    return kinds


def intrinsics(text):
    """`fx,fy,cx,cy` -> four floats, pixels."""
    values = _numbers(text, "fx,fy,cx,cy")
    if values[0] <= 0 or values[1] <= 0:
        raise argparse.ArgumentTypeError(f"fx and fy must be positive. Received: {text!r}.")
    return values


def distortion(text):
    """OpenCV's lens coefficients -> tuple of floats."""
    try:
        return tuple(lens.checked_coefficients([float(part) for part in text.split(",")]).tolist())
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be 4, 5, 8, 12 or 14 finite numbers {lens.ORDER}. Received: {text!r}.") from None


def box(text):
    """`x,y,w,h` -> four floats, pixels."""
    values = _numbers(text, "x,y,w,h")
    if values[2] <= 0 or values[3] <= 0:
        raise argparse.ArgumentTypeError(f"width and height must be positive. Received: {text!r}.")
    return values


def _numbers(text, form):
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 4 or not all(abs(value) < 1e7 for value in values):
        raise argparse.ArgumentTypeError(f"must be four numbers {form}. Received: {text!r}.")
    return values


def count(least, most=None):
    """A reader of whole numbers from `least` to `most`."""
    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least or (most is not None and value > most):
            limit = f"from {least} to {most}" if most is not None else f"of at least {least}"
            raise argparse.ArgumentTypeError(f"must be a whole number {limit}. Received: {text!r}.")
        return value

    return parse


class BadInput(ValueError):
    """What was given cannot be used; the message is for the user."""


def guarded(action):
    """The action with its complaints about the input as one sentence and exit code 2."""
    def run(options):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            return action(options)
        except (BadInput, ValueError, FileNotFoundError, FileExistsError) as error:
            if os.environ.get("HUND_TRACEBACK"):
                raise
            print(f"hund: {error}", file=sys.stderr)
            return 2
        except FloatingPointError as error:
            print(f"hund: {error}", file=sys.stderr)
            return 1

    return run


def between(low, high):
    """Type of an option: a number between two others, both left out."""

    def parse(text):
        try:
            value = float(text)
        except ValueError:
            value = low
        if not low < value < high:
            raise argparse.ArgumentTypeError(f"must be a number above {low} and below {high}. Received: {text!r}.")
        return value

    return parse
