"""Makes training records (TFRecord) of a public data set's own files, or of a folder of photos.

    python tools/convert_dataset.py coco --root data/coco --split train --out records/coco-train --shards 64
    python tools/convert_dataset.py human36m --root data/h36m --split train --every 10 --out records/h36m --shards 32
    python tools/convert_dataset.py photos --root my_photos --out records/mine

docs/training.md says which files of each set are read. A wrong file or layout ends with code 2 and what was expected.
"""

import argparse
import importlib
import itertools
import sys

from tqdm import tqdm

from hund_tf.cli_values import count

_MODULES = {"human36m": "human36m", "3dpw": "three_dpw", "coco": "coco", "openimages": "open_images",
            "photos": "photo_folder"}
_LABELLED = ("human36m", "3dpw", "coco")


def _parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="set", required=True)
    for name, module in _MODULES.items():
        command = commands.add_parser(name)
        splits = tuple(importlib.import_module(f"hund_tf.datasets.{module}").SPLITS)
        command.add_argument("--root", required=True, help="folder of the downloaded files")
        command.add_argument("--split", required=len(splits) > 1, choices=splits, default=splits[0])
        command.add_argument("--out", required=True, help="files are named OUT-00000-of-0000N.tfrecord and so on")
        command.add_argument("--every", type=count(1), default=1, help="takes each n-th photo or frame")
        command.add_argument("--limit", type=count(1), help="at most so many people")
        command.add_argument("--shards", type=count(1, 99999), default=1)
        command.add_argument("--seed", type=int, default=0,
                             help="order of photos or clips, and which shard each goes to")
        command.add_argument("--evidence", action=argparse.BooleanOptionalAction, default=True,
                             help="run the landmark networks on each crop")
        if name in _LABELLED:
            command.add_argument("--labels", action=argparse.BooleanOptionalAction, default=True)
        if name == "coco":
            command.add_argument("--whole-body", action="store_true", help="read COCO-WholeBody's annotations")
    return parser


def main(arguments=None):
    parser = _parser()
    args = parser.parse_args(arguments)
    from hund_tf.datasets.convert import convert  # builds on TensorFlow, as the next; --help need not wait for it
    from hund_tf.training import record_files

    source = importlib.import_module(f"hund_tf.datasets.{_MODULES[args.set]}")
    options = {name: getattr(args, name) for name in ("labels", "whole_body") if hasattr(args, name)}
    try:
        photos = _begun(source.photos(args.root, args.split, every=args.every, seed=args.seed, **options))
        with record_files.ShardWriter(args.out, args.shards, args.seed) as writer:
            landmarks, detector = _networks(args)
            written = convert(photos, writer, landmarks, detector, args.limit,
                              lambda items: tqdm(items, unit="photo", file=sys.stderr, disable=None))
    except (ValueError, OSError, ImportError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    print(f"{written} people in {args.shards} file{'s' if args.shards > 1 else ''}, {writer.paths[0]} and so on.")


def _begun(photos):
    """The same photos, the first of which is there: a wrong layout is told before the networks are loaded."""
    first = next(photos, None)
    if first is None:
        raise ValueError("The files must hold a person to learn from. Received: none.")
    return itertools.chain([first], photos)


def _networks(args):
    from hund_tf.sensing.detector import PersonDetector
    from hund_tf.sensing.landmarks import LandmarkNetworks

    return LandmarkNetworks() if args.evidence else None, PersonDetector() if args.set == "photos" else None


if __name__ == "__main__":
    main()
