"""`hund train sensing`: photos without labels and renders of our body in, weights of a `MultitaskCNN` out."""

import argparse
import os
import sys

from hund_tf import cli_train_options, cli_values

_HELP = """\
Trains the first CNN, `MultitaskCNN`, to say of a crop what the landmark networks and the part CNN say of it, and on
renders of our own body, of which all is known; records are learned from as photos are, and parts by labels where they
have them. A run that was cut off goes on when its command is given again."""
_EXAMPLES = """\
examples:
  hund train sensing --images photos --renders 20000 --run runs/sensing
  hund train sensing --renders 64 --batch-size 8 --steps-per-epoch 40 --run runs/try
  hund train sensing --records 'records/coco-*.tfrecord' --validation 'records/held-*.tfrecord' --run runs/sensing"""
_HELD_OUT = 20  # one photo in so many is held out for validation


def add_sensing(kinds):
    """Adds `sensing` to what `hund train` trains."""
    parser = kinds.add_parser(
        "sensing", help="the first CNN, on photos without labels, renders or records", description=_HELP, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", metavar="DIR",
                        help="folder of photos; people are found and labelled by our networks")
    parser.add_argument("--renders", type=cli_values.count(0), default=0, metavar="N",
                        help="draw so many pictures of our body to learn from (default: %(default)s)")
    parser.add_argument("--records", metavar="PATTERN", help="training records that hold images and evidence")
    parser.add_argument("--validation", metavar="PATTERN",
                        help=f"held-out records (default: each {_HELD_OUT}th photo that shows people, else other renders)")
    parser.add_argument("--parts", metavar="FILE",
                        help="weights of the part CNN that says the parts where no labels do, and whose features F are "
                             "learned; it must be that of the body network (default: preset body's)")
    parser.add_argument("--trunk", metavar="FILE",
                        help="weights of keras.applications' ResNet50 without top to start from (default: random)")
    parser.add_argument("--frozen-statistics", action="store_true",
                        help="batch normalization by those of the first crops, for batches of less than about 8")
    parser.add_argument("--frozen-stages", type=int, choices=range(6), default=0, metavar="N",
                        help="the trunk's first N of 5 stages keep what --trunk or --start-from gave (default: %(default)s)")
    # Epochs and batch size are the paper's.
    cli_train_options.add_run(parser, "a whole MultitaskCNN", epochs=50, steps=1000, rate=1e-3)
    cli_train_options.add_body(parser)
    parser.set_defaults(run=cli_values.guarded(_train))


def _train(options):
    if not (options.images or options.renders or options.records):
        raise cli_values.BadInput("hund train sensing needs --images, --renders or --records. Received: none of them.")
    if options.records and not (options.validation or options.images or options.renders):
        raise cli_values.BadInput("--records alone needs --validation. Received: --records alone.")
    if options.frozen_stages and not (options.trunk or options.start_from):
        raise cli_values.BadInput("--frozen-stages needs the weights of --trunk or --start-from. Received: neither.")
    if options.images and not os.path.isdir(options.images):
        raise cli_values.BadInput(f"--images must be a folder. Received: {options.images}.")
    cli_train_options.check_files(options, "records", "validation", "parts", "trunk", "start_from")
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
        frozen_stages=options.frozen_stages, **cli_train_options.settings(options))
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


def check_parts(folder, settings, sensing, network):
    """Refuses to put a body network beside features F of another part CNN than its own.

    Where one of both does not say whose F it knows, as runs of earlier versions do not, a line on stderr says so.

    Args:
        folder: str, of the body run.
        settings: dict, of that run.
        sensing: str, weights of a `MultitaskCNN`, or None.
        network: what `network_of` made of them, or the part CNN.

    Raises:
        ValueError: if the body run's part CNN is not the one whose F `network` says.
    """
    from hund_tf.sensing import part_segmentation
    from hund_tf.training import runs
    from hund_tf.training.sensing import FEATURES_OF

    beside = {} if sensing is None else runs.read_settings(os.path.dirname(os.path.abspath(sensing))) or {}
    says = {folder: "parts_sha256" in settings, sensing: sensing is None or FEATURES_OF in beside}
    silent = [name for name, known in says.items() if not known]
    if silent:
        print("hund: warning: The body network must have been trained with the part CNN whose features F it will read; this was "
              f"not checked, for no settings say which it was for {' and '.join(silent)}.", file=sys.stderr)
        return
    own, read = settings["parts_sha256"], beside[FEATURES_OF] if sensing else part_segmentation.weights_sha256(network)
    if own != read:
        raise ValueError("The body network must have been trained with the part CNN whose features F it will read. Received: "
                         f"{folder}, trained with that of sha256 {own}, and "
                         + (f"{sensing}, which learned no features." if read is None else
                            f"{sensing or '--parts'}, which gives those of {read}."))


def record_paths(pattern):
    """Record files of a pattern, complete sets."""
    from hund_tf.training import record_files

    return record_files.find(pattern)
