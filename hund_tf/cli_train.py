"""`hund train`: what to learn from in, weights and presets out. TensorFlow is loaded only when training begins."""

import argparse

from hund_tf import cli_train_average, cli_train_options, cli_train_part, cli_train_preset, cli_train_sensing, cli_values
from hund_tf.config import META_LOSSES, REGIMES, BodyConfig, HundConfig, ObjectiveConfig, TrainingConfig

_HELP = """\
Trains the networks. A run that was cut off goes on when its command is given again, with the very batches that it
would have had, and must be given the settings it began with; a finished one is refused and stays as it is."""
_EXAMPLES = """\
examples, in the order of a training from nothing (docs/training.md has the whole recipe):
  hund train parts --scenes 'scenes/train-*.npz' --validation 'scenes/validation-*.npz' --run runs/parts
  hund train body --scenes 'scenes/train-*.npz' --validation 'scenes/validation-*.npz' --parts runs/parts/parts.h5 \\
      --run runs/body
  hund train body --regime ss --records 'photos-*.tfrecord' --validation 'held-out-*.tfrecord' \\
      --parts runs/parts/parts.h5 --start-from runs/body/weights.h5 --run runs/photos
  hund train preset --parts runs/parts/parts.h5 --run runs/body --out my_body
  hund train preset --run runs/hand --out my_hand
  hund train person --body my_body --hand my_hand --face face --out my_person"""
_STRATEGIES = ("auto", "none", "mirrored", "multi_worker")
_PRECISIONS = {"off": "float32", "float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}


def add_train(commands):
    """Adds `hund train` to the subcommands of `hund`."""
    parser = commands.add_parser("train", help="train the networks", description=_HELP, epilog=_EXAMPLES,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(run=lambda options: parser.print_help() or 2)
    kinds = parser.add_subparsers(title="what to train", metavar="WHAT")
    for add in KINDS:
        add(kinds)


def _add_parts(kinds):
    parser = kinds.add_parser("parts", help="the part CNN, on rendered scenes")
    parser.add_argument("--scenes", required=True, metavar="PATTERN", help="training scene files")
    parser.add_argument("--validation", required=True, metavar="PATTERN", help="held-out scene files")
    cli_train_options.add_run(parser, "a part CNN", epochs=8, steps=400, rate=1.5e-3)
    _add_body_options(parser)
    parser.set_defaults(run=cli_values.guarded(_train_parts))


def _add_body(kinds):
    parser = kinds.add_parser("body", help="the body network, on rendered scenes, records or both")
    parser.add_argument("--scenes", metavar="PATTERN", help="training scene files; they have no labels for --regime ws")
    parser.add_argument("--records", metavar="PATTERN", help="training records; with --scenes, batches of both take turns")
    parser.add_argument("--validation", required=True, metavar="PATTERN", help="held-out scene files or records")
    parser.add_argument("--parts", required=True, metavar="FILE",
                        help="weights of the part CNN, whose features F and parts the network learns to read")
    # Defaults differ from the paper's 50 epochs at 1e-4, see `train.train_body`.
    cli_train_options.add_run(parser, "a body network", epochs=20, steps=1000, rate=6e-4, devices=True)
    parser.add_argument("--part-map-size", type=cli_values.count(0), default=ObjectiveConfig.part_map_size,
                        help="side of the maps on which L_b is computed between stages; 0: no L_b (default: %(default)s)")
    parser.add_argument("--regime", choices=REGIMES, default=TrainingConfig.regime,
                        help="what teaches: ss the evidence alone, ws 2D labels, fs 3D labels, fs+ss 3D labels and where "
                             "there are none the evidence (default: %(default)s)")
    parser.add_argument("--meta-loss", choices=META_LOSSES, default=TrainingConfig.meta_loss,
                        help="how the losses of the stages count together (default: %(default)s)")
    parser.add_argument("--stage-weights", type=_weights, metavar="W1,W2,...",
                        help="how much the loss of each stage counts (default: 1 each)")
    parser.add_argument("--mixed-precision", choices=tuple(_PRECISIONS), default="off",
                        help="of the layers; geometry and losses stay float32 (default: %(default)s)")
    parser.add_argument("--strategy", choices=_STRATEGIES, default="auto",
                        help="devices: none is one, mirrored all GPUs of this machine, multi_worker the processes in TF_CONFIG "
                             "(default: %(default)s, the widest at hand)")
    _add_body_options(parser)
    parser.set_defaults(run=cli_values.guarded(_train_body))


# Another kind of training is another function here: it adds its parser and sets `run`.
KINDS = (_add_parts, _add_body, cli_train_part.add_hand, cli_train_part.add_face, cli_train_sensing.add_sensing,
         cli_train_average.add_average, cli_train_preset.add_preset, cli_train_preset.add_person)


def _add_body_options(parser):
    """Of what scenes were made of; other scenes are refused."""
    cli_train_options.add_body(parser)
    parser.add_argument("--pose-prior", choices=("flow", "gaussian"), default=BodyConfig.pose_prior,
                        help="whose codes say the pose, as in the scenes (default: %(default)s)")
    parser.add_argument("--codes", choices=("vae", "linear"), default=BodyConfig.codes,
                        help="what says shape and expression, as in the scenes (default: %(default)s)")


def _train_parts(options):
    cli_train_options.check_files(options, "scenes", "validation", "start_from")
    from hund_tf.training import train

    train.train_parts(options.scenes, options.validation, options.folder, body=_body(options),
                      **cli_train_options.settings(options))
    return 0


def _train_body(options):
    if options.scenes is None and options.records is None:
        raise cli_values.BadInput("hund train body needs --scenes or --records. Received: neither.")
    cli_train_options.check_files(options, "scenes", "records", "validation", "parts", "start_from")
    config = _config(options)
    training = TrainingConfig(regime=options.regime, meta_loss=options.meta_loss, stage_weights=options.stage_weights,
                              precision=_PRECISIONS[options.mixed_precision])
    if options.stage_weights is not None and len(options.stage_weights) != config.num_stages:
        raise cli_values.BadInput(f"--stage-weights must be {config.num_stages} numbers, one for each stage. "
                       f"Received: {options.stage_weights}.")
    from hund_tf.training import train

    train.train_body(options.scenes, options.validation, options.parts, options.folder, config=config, training=training,
                     records=options.records, strategy=options.strategy, **cli_train_options.settings(options))
    return 0


def _body(options):
    return BodyConfig(asset=options.body, pose_prior=options.pose_prior, codes=options.codes)


def _config(options):
    return HundConfig(body=_body(options), objective=ObjectiveConfig(part_map_size=options.part_map_size))


def _weights(text):
    try:
        values = tuple(float(part) for part in text.split(","))
        if not all(0 <= value < float("inf") for value in values):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be comma-separated numbers of at least 0. Received: {text!r}.") from None
    return values
