"""The `hund` command: arguments in, exit code out. TensorFlow is loaded only when a photo waits.

Exit codes: 0 all done; 1 something failed that is no fault of the input; 2 a photo or an argument is bad.
"""

import argparse
import errno
import gc
import os
import sys
import tempfile
import time
import traceback

import hund_tf
from hund_tf import arguments, cli_export, cli_remote, cli_serve, cli_train, cli_values, distortion, images, outputs, presets

_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # the next photo would fail too
EXIT_OK, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130
SAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "assets", "samples", "street.jpg")
_PRESET = presets.PERSON

_RECONSTRUCT_HELP = """\
Finds the people in photos and gives each a posed 3D body.

For each photo NAME it writes to the output folder:
  NAME.png    the bodies drawn over the photo, and seen from two other sides
  NAME.glb    all bodies in one 3D scene, in metres (opens in Blender, Windows 3D Viewer, ...)
  NAME.json   per person: 2D and 3D keypoints, pose, shape, position, and the camera that was used

Without PATH it takes the sample photo that comes with the package."""
_RECONSTRUCT_EXAMPLES = """\
examples:
  hund reconstruct                           the sample photo
  hund reconstruct me.jpg -o results
  hund reconstruct holiday/ 'trip/*.jpg' --max-people 4 --format json,png
  hund reconstruct me.jpg --intrinsics 1400,1400,960,540
  hund reconstruct wide.jpg --intrinsics 900,900,960,540 --distortion -0.28,0.07,0,0
  hund reconstruct holiday/ --server gpu1:8500,gpu2:8500

exit code: 0 if every photo was read (a photo without people is fine), 2 if one could not be read or an
argument is wrong, 1 if something else failed. A bad photo does not stop the others. Files of an earlier
run with the same name are replaced; files that hund did not write never are."""


def main(arguments=None):
    """Runs the command; returns its exit code (argparse itself exits with 2 on bad arguments)."""
    parser = _parser()
    options = parser.parse_args(cli_values.join_negative(sys.argv[1:] if arguments is None else arguments))
    if options.run is None:
        parser.print_help()
        return EXIT_BAD_INPUT
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("hund: interrupted; the files written so far are whole.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parser():
    parser = argparse.ArgumentParser(
        prog="hund", description="3D pose and body shape of every person in a photo (HUND).",
        epilog="`hund COMMAND --help` explains a command. Start with `hund reconstruct`.")
    parser.add_argument("--version", action="version", version=f"hund_tf {hund_tf.__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for add_command in COMMANDS:
        add_command(commands)
    return parser


def _add_reconstruct(commands):
    parser = commands.add_parser(
        "reconstruct", help="photos in, posed 3D bodies out", description=_RECONSTRUCT_HELP,
        epilog=_RECONSTRUCT_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", metavar="PATH",
                        help="photo, folder of photos, or quoted pattern (default: the sample photo)")
    parser.add_argument("-o", "--output", default="hund_out", metavar="OUT", help="output folder (default: %(default)s)")
    parser.add_argument("--format", dest="formats", type=cli_values.formats, default=("json", "glb", "png"), metavar="LIST",
                        help=f"what to write, of {','.join(outputs.FORMATS)} (default: json,glb,png)")
    parser.add_argument("--intrinsics", type=cli_values.intrinsics, metavar="fx,fy,cx,cy",
                        help="camera in pixels of the upright photo, for all photos (default: from EXIF, else "
                             "fx = fy = longer side, centre in the middle)")
    parser.add_argument("--distortion", type=cli_values.distortion, metavar="k1,k2,p1,p2[,k3...]",
                        help="how the lens bends, OpenCV's 4, 5, 8, 12 or 14 numbers; needs --intrinsics or EXIF. "
                             "What is in pixels, given and written, stays that of the photo as it is (default: it does "
                             "not bend)")
    parser.add_argument("--box", dest="boxes", type=cli_values.box, action="append", metavar="x,y,w,h",
                        help="where a person is, in pixels, in place of the detector; once per person, one photo only")
    parser.add_argument("--max-people", type=cli_values.count(1), metavar="N", help="at most N people a photo, the surest first")
    parser.add_argument("--stages", type=cli_values.count(0, arguments.MOST_STAGES), metavar="N",
                        help="refinement stages (default: the preset's, 5)")
    parser.add_argument("--refine", type=cli_values.count(0, cli_values.MAX_REFINE), default=0, metavar="N",
                        help="L-BFGS iterations on the same loss after the stages; seconds a photo (default: none)")
    parser.add_argument("--preset", metavar="NAME",
                        help=f"networks to use: a name from `hund presets` or a folder (default: {_PRESET})")
    cli_remote.add_options(parser)
    parser.set_defaults(run=_reconstruct)


def _add_presets(commands):
    parser = commands.add_parser("presets", help="list the trained networks at hand")
    parser.set_defaults(run=_list_presets)


# Another subcommand is another function here: it adds its parser and sets `run`.
COMMANDS = (_add_reconstruct, _add_presets, cli_export.add_export, cli_serve.add_serve, cli_train.add_train)


def _list_presets(options):
    del options
    for name in presets.packaged():
        print(name)
    return EXIT_OK


def _reconstruct(options):
    paths, problems = images.find_photos(options.paths or [SAMPLE])
    stems = outputs.output_stems(paths)
    complaint = _complaint(options, paths, stems)
    if complaint:
        return _fail(complaint)
    total = len(paths) + len(problems)
    for _, sentence in problems:
        _say_error(sentence)
    if not paths:
        return EXIT_BAD_INPUT
    if options.distortion:
        try:
            images.opencv()
        except ImportError as error:
            return _fail(str(error))
    first_photo = _first_readable(paths, options)  # a wrong path is told at once, not after loading the networks
    model = None
    if first_photo is not None:
        try:
            if options.server is None:
                options.preset = options.preset or _PRESET
                presets.find(options.preset)  # what is missing is told now, not after half a minute
            if "png" in options.formats:
                images.opencv()
        except (FileNotFoundError, ImportError) as error:
            return _fail(str(error))
        try:
            os.makedirs(options.output, exist_ok=True)
            tempfile.TemporaryFile(dir=options.output).close()
        except OSError as error:
            return _fail(f"--output must be a folder that can be made and written to. Received: {options.output!r} ({error}).")
        try:
            model = cli_remote.connect(options) if options.server else _load(options.preset)
        except cli_remote.NoServer as error:
            return _fail(str(error), EXIT_FAILED)
        except (FileNotFoundError, ValueError, ImportError) as error:
            return _fail(str(error))
    show = _Progress(len(paths))
    failures = []
    for path, stem in zip(paths, stems):
        try:
            photo = _read(path, options)
        except images.ImageError as error:
            problems.append((path, str(error)))
            show.error(str(error))
            continue
        try:
            show.line(_one(options, model, photo, path, stem))
        except images.ImageError as error:
            problems.append((path, str(error)))
            show.error(str(error))
        except Exception as error:  # one photo must not stop the others; it is listed and the exit code is 1
            failures.append((path, f"{path}: {type(error).__name__}: {error}"))
            show.error(failures[-1][1])
            if os.environ.get("HUND_TRACEBACK"):
                traceback.print_exc()
            if options.server and isinstance(error, ConnectionError):
                show.error(f"{options.server}: the server must answer; the other photos are left out.")
                break
            if isinstance(error, OSError) and error.errno in _HOPELESS:
                show.error(f"{options.output}: the results must be writable; the other photos are left out.")
                break
    show.close()
    if total > 1 and (problems or failures):
        _say_error(f"{len(problems) + len(failures)} of {total} could not be done:")
        for _, sentence in problems + failures:
            print(f"  {sentence}", file=sys.stderr)
    return EXIT_FAILED if failures else EXIT_BAD_INPUT if problems else EXIT_OK


def _one(options, model, photo, path, stem):
    """Reconstructs and writes one photo; returns its summary line."""
    start = time.perf_counter()
    intrinsics, source = options.intrinsics, "given"
    if intrinsics is None:
        intrinsics, source = photo.intrinsics, photo.intrinsics_source
    try:
        result = model.reconstruct(photo.pixels, intrinsics=intrinsics, boxes=options.boxes, num_stages=options.stages,
                                   max_people=options.max_people, distortion=options.distortion, refine=options.refine)
    except ValueError as error:
        if options.boxes or options.server:  # what only the model, or the server, can hold against the photo
            raise images.ImageError(f"{path}: {error}") from None
        raise
    if intrinsics is not None:
        result = result._replace(intrinsics_source=source)
    preset, server = (model.preset, model.server) if options.server else (options.preset, None)
    written = outputs.write(result, photo.pixels, options.output, stem, path, model.names, preset, options.formats, server)
    count = len(result.people)
    found = "no people found" if not count else "1 person" if count == 1 else f"{count} people"
    notes = f" ({'; '.join(photo.notes)})" if photo.notes else ""
    kinds = ",".join(os.path.splitext(name)[1][1:] for name in written)
    files = f"{os.path.join(options.output, stem)}.{kinds}" if written else "nothing to write"
    return f"{path}: {found}, {time.perf_counter() - start:.1f} s -> {files}{notes}"


def _complaint(options, paths, stems):
    """A sentence if the options do not fit together, else None."""
    unfit = cli_remote.complaint(options)
    if unfit:
        return unfit
    if options.boxes and len(paths) != 1:
        return f"--box must go with exactly one photo. Received: {len(paths)} photos."
    if os.path.exists(options.output) and not os.path.isdir(options.output):
        return f"--output must be a folder. Received: {options.output}, which is a file."
    photos = {os.path.realpath(path): path for path in paths}
    for stem in stems:
        for kind in options.formats:
            target = os.path.join(options.output, f"{stem}.{kind}")
            if os.path.realpath(target) in photos:
                return (f"No output may replace a photo. Received: {target}, which is one of the photos; "
                        "choose another --output folder.")
            if os.path.exists(target) and not (os.path.isfile(target) and outputs.is_ours(target)):
                return (f"Only files that hund wrote are replaced. Received: {target}, which it did not write; "
                        "choose another --output folder.")
    return None


def _read(path, options):
    """The photo, if it is one that the options fit; else `ImageError`."""
    photo = images.read_photo(path)
    if options.distortion:
        intrinsics = options.intrinsics or photo.intrinsics
        if intrinsics is None:
            raise images.ImageError(
                f"{path}: --distortion needs --intrinsics, or a focal length in EXIF. Received: neither.")
        try:
            distortion.LensDistortion(options.distortion, intrinsics, *photo.pixels.shape[:2])
        except ValueError as error:
            raise images.ImageError(f"{path}: {error}") from None
    return photo


def _first_readable(paths, options):
    for path in paths:
        try:
            _read(path, options)
            return path
        except images.ImageError:
            pass
    return None


def _load(preset):
    """The model of a preset, quietly."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    gc.set_threshold(100_000)  # graphs are many objects that stay: searching them for garbage takes a second or two
    import logging
    import warnings

    warnings.simplefilter("ignore")  # of other packages; ours are errors or printed lines
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    hund_tf.start_quickly()
    return hund_tf.load_preset(preset)


class _Progress:
    """A bar on stderr for more than one photo; lines that do not disturb it."""

    def __init__(self, total):
        self._bar = None
        if total > 1:
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="photo", file=sys.stderr, dynamic_ncols=True)

    def line(self, text):
        self._print(text, sys.stdout)

    def error(self, text):
        self._print(f"hund: {text}", sys.stderr)

    def close(self):
        if self._bar is not None:
            self._bar.close()

    def _print(self, text, file):
        if self._bar is None:
            print(text, file=file, flush=True)
        else:
            self._bar.write(text, file=file)
            self._bar.update()


def _fail(sentence, code=EXIT_BAD_INPUT):
    _say_error(sentence)
    return code


def _say_error(sentence):
    print(f"hund: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
