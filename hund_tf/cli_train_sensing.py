"""`hund train sensing`: photos without labels and renders of our body in, weights of a `MultitaskCNN` out."""

import argparse
import glob
import os

from hund_tf import cli_values
from hund_tf.config import BodyConfig

_HELP = """\
Trains the first CNN, `MultitaskCNN`, to say of a crop what the landmark networks and the part CNN say of it, and on
renders of our own body, of which all is known. A run that was cut off goes on when its command is given again."""
_EXAMPLES = """\
examples:
  hund train sensing --images photos --renders 20000 --run runs/sensing
  hund train sensing --renders 64 --batch-size 8 --steps-per-epoch 40 --run runs/try
  hund train sensing --records 'records/coco-*.tfrecord' --validation 'records/held-*.tfrecord' --run runs/sensing"""
_HELD_OUT = 20  # one photo in so many is held out for validation


def add_sensing(kinds):
    """Adds `sensing` to what `hund train` trains."""
    parser = kinds.add_parser(
        "sensing", help="the first CNN, on photos without labels, renders or both", description=_HELP, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", metavar="DIR",
                        help="folder of photos; people are found and labelled by our networks")
    parser.add_argument("--renders", type=cli_values.count(0), default=0, metavar="N",
                        help="draw so many pictures of our body (default: %(default)s)")
    parser.add_argument("--records", metavar="PATTERN", help="training records that hold images and evidence")
    parser.add_argument("--validation", metavar="PATTERN",
                        help=f"held-out records (default: each {_HELD_OUT}th photo, else other renders)")
    parser.add_argument("--run", required=True, dest="folder", metavar="DIR",
                        help="folder of the run; records lie there too")
    parser.add_argument("--parts", metavar="FILE",
                        help="weights of the part CNN that labels photos (default: preset body's)")
    parser.add_argument("--trunk", metavar="FILE",
                        help="weights of keras.applications' ResNet50 without top to start from (default: random)")
    parser.add_argument("--start-from", metavar="FILE", help="weights of a whole MultitaskCNN to start from")
    parser.add_argument("--frozen-statistics", action="store_true",
                        help="batch normalization by fixed statistics, for batches of less than about 8")
    parser.add_argument("--epochs", type=cli_values.count(1), default=50, help="default: %(default)s, the paper's")
    parser.add_argument("--steps-per-epoch", type=cli_values.count(1), default=1000, help="default: %(default)s")
    parser.add_argument("--batch-size", type=cli_values.count(1), default=32, help="default: %(default)s, the paper's")
    parser.add_argument("--seed", type=cli_values.count(0), default=0, help="default: %(default)s")
    parser.add_argument("--learning-rate", type=cli_values.between(0, 1), default=1e-3, help="the highest (default: %(default)s)")
    parser.add_argument("--ema", type=cli_values.between(0, 1), metavar="MOMENTUM", help="average the weights (default: do not)")
    parser.add_argument("--patience", type=cli_values.count(1), metavar="EPOCHS",
                        help="stop after so many epochs without a better validation loss (default: do not)")
    parser.add_argument("--body", default=BodyConfig.asset, help="name or path of the body (default: %(default)s)")
    parser.set_defaults(run=cli_values.guarded(_train))


def _train(options):
    if not (options.images or options.renders or options.records):
        raise cli_values.BadInput("hund train sensing needs --images, --renders or --records. Received: none of them.")
    if options.records and not (options.validation or options.images or options.renders):
        raise cli_values.BadInput("--records alone needs --validation. Received: --records alone.")
    if options.images and not os.path.isdir(options.images):
        raise cli_values.BadInput(f"--images must be a folder. Received: {options.images}.")
    for name in ("records", "validation", "parts", "trunk", "start_from"):
        pattern = getattr(options, name)
        if pattern and not glob.glob(pattern) and not os.path.exists(pattern):
            raise cli_values.BadInput(f"--{name.replace('_', '-')} must name files that are there. Received: {pattern!r}.")
    from hund_tf import presets
    from hund_tf.body.generative_body import GenerativeBody
    from hund_tf.training import sensing, sensing_records, train

    body = GenerativeBody.from_asset(options.body)
    parts = options.parts or os.path.join(presets.find("body"), presets.SENSING_WEIGHTS["landmarks"])
    made = sensing_records.make(options.folder, body, options.images, options.renders, options.seed, _HELD_OUT,
                                hold_renders=not options.validation)
    paths = made.training + (record_paths(options.records) if options.records else [])
    held_out = record_paths(options.validation) if options.validation else made.validation
    sensing.train_sensing(
        paths, held_out, options.folder, body.coding, segmentation=train.new_segmentation(parts),
        trunk_weights=options.trunk, batch_statistics=not options.frozen_statistics,
        **{name: getattr(options, name) for name in (
            "epochs", "steps_per_epoch", "batch_size", "seed", "learning_rate", "start_from", "ema", "patience")})
    return 0


def network_of(parts, sensing):
    """What looks at the crops of a new preset: the part CNN of one file of weights, or the `MultitaskCNN` of another.

    Raises:
        BadInput: unless exactly one is given.
    """
    if (parts is None) == (sensing is None):
        raise cli_values.BadInput("A preset needs --parts or --sensing. Received: " + ("neither." if parts is None else "both."))
    if parts is not None:
        from hund_tf.training import train

        return train.new_segmentation(parts)
    from hund_tf.sensing import multitask_cnn

    return multitask_cnn.new(sensing)


def record_paths(pattern):
    """Record files of a pattern, complete sets."""
    from hund_tf.training import record_files

    return record_files.find(pattern)
