"""`hund train hand` and `hund train face`: scenes of that part in, weights of its network out."""

from hund_tf import cli_train_options, cli_values
from hund_tf.config import BodyConfig, PartConfig


def add_hand(kinds):
    """Adds `hand` to `hund train`."""
    _add(kinds, "hand", "the network of hands, on rendered scenes of left hands; right ones are seen in a mirror")


def add_face(kinds):
    """Adds `face` to `hund train`."""
    _add(kinds, "face", "the network of faces, on rendered scenes")


def _add(kinds, kind, words):
    parser = kinds.add_parser(kind, help=words)
    parser.add_argument("--scenes", required=True, metavar="PATTERN", help="training files of tools/make_part_scenes.py")
    parser.add_argument("--validation", required=True, metavar="PATTERN", help="held-out files of it")
    cli_train_options.add_run(parser, f"a {kind}'s network", epochs=20, steps=1000, rate=1e-3)
    cli_train_options.add_body(parser)
    parser.set_defaults(run=cli_values.guarded(_train), kind=kind)


def _train(options):
    cli_train_options.check_files(options, "scenes", "validation", "start_from")
    from hund_tf.training import part_learning

    part_learning.train_part(options.scenes, options.validation, options.folder,
                             config=PartConfig(options.kind, body=BodyConfig(asset=options.body)),
                             **cli_train_options.settings(options))
    return 0
