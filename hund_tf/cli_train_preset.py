"""`hund train preset` and `hund train person`: trained weights in, presets out."""

import csv
import dataclasses
import filecmp
import json
import os
import shlex
import sys

from hund_tf import cli_train_options, cli_train_sensing, cli_values
from hund_tf.config import HundConfig, PartConfig

_PRESET_HELP = """\
Puts trained weights together as a preset. The body network reads the features F of the part CNN that it was trained with:
another --parts is refused, and so is a --sensing that learned the F of another or none. Runs of earlier versions do not say
which part CNN they had, nor do weights without the config.json of their run; a warning then says that this was not checked."""
_PERSON_HELP = """\
A person's preset names those it is put together from and holds no weights of its own. It works as long as these are found
under the same names and hold the same weights."""


def add_preset(kinds):
    """Adds `preset` to `hund train`."""
    parser = kinds.add_parser("preset", help="puts trained weights together as a preset", description=_PRESET_HELP)
    parser.add_argument("--parts", metavar="FILE",
                        help="weights of the part CNN, which goes with the landmark networks; a body needs this or --sensing")
    parser.add_argument("--sensing", metavar="FILE",
                        help="weights of a MultitaskCNN, in the folder of its run; in place of part CNN and landmark networks")
    parser.add_argument("--run", required=True, dest="folder", metavar="DIR",
                        help="folder of the run of a body, a hand or a face")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the preset")
    parser.add_argument("--part-map-size", type=cli_values.count(0),
                        help="side of the maps on which L_b is computed between stages; 0: no L_b (default: that of the run)")
    _add_said(parser)
    parser.set_defaults(run=cli_values.guarded(_make_preset))


def add_person(kinds):
    """Adds `person` to `hund train`."""
    parser = kinds.add_parser("person", help="puts the presets of a body, a hand and a face together as that of a person",
                              description=_PERSON_HELP)
    for kind in ("body", "hand", "face"):
        parser.add_argument(f"--{kind}", required=True, metavar="NAME", help=f"preset of a {kind}, name or folder")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the preset")
    _add_said(parser)
    parser.set_defaults(run=cli_values.guarded(_make_person))


def _add_said(parser):
    parser.add_argument("--uncertainty", metavar="FILE", help="calibration of tools/calibrate_uncertainty.py (default: none)")
    parser.add_argument("--data", default="not stated", metavar="TEXT", help="what it was trained on, for its metadata")
    parser.add_argument("--licence", default="not stated", metavar="NAME", help="of the weights, for the metadata")


def _make_preset(options):
    weights, settings = (os.path.join(options.folder, name) for name in ("weights.h5", "config.json"))
    cli_train_options.check_files(options, "parts", "sensing", "uncertainty")
    cli_train_options.check_there("--run", weights, settings)
    with open(settings, encoding="utf-8") as file:
        settings = json.load(file)
    if "kind" in settings["network"]:
        return _make_part_preset(options, settings, weights)
    network = cli_train_sensing.network_of(options.parts, options.sensing)
    _check_uncertainty(options)
    from hund_tf import presets
    from hund_tf.hund import HundBody
    cli_train_sensing.check_parts(options.folder, settings, options.sensing, network)
    config = HundConfig.from_dict(settings["network"])
    if options.part_map_size is not None:
        config = dataclasses.replace(
            config, objective=dataclasses.replace(config.objective, part_map_size=options.part_map_size))
    model = HundBody(config)
    model.build_weights()
    model.load_weights(weights)
    presets.save(options.out, model, network, _said(options, model), options.uncertainty)
    return 0


def _make_part_preset(options, settings, weights):
    for name in ("parts", "sensing", "part_map_size", "uncertainty"):
        if getattr(options, name) is not None:
            raise cli_values.BadInput(f"--{name.replace('_', '-')} must go with the run of a body. Received: with that of a "
                                      f"{settings['network']['kind']}, {options.folder}.")
    from hund_tf import presets
    from hund_tf.whole_body.hund_part import HundPart

    model = HundPart(PartConfig.from_dict(settings["network"]))
    model.build_weights()
    model.load_weights(weights)
    presets.save_part(options.out, model, _said(options, model))
    return 0


def _make_person(options):
    cli_train_options.check_files(options, "uncertainty")
    _check_uncertainty(options)
    from hund_tf import presets

    presets.save_person(options.out, {kind: getattr(options, kind) for kind in presets.MEMBERS}, _said(options),
                        options.uncertainty)
    return 0


def _check_uncertainty(options):
    if options.uncertainty is not None:
        from hund_tf.uncertainty import Uncertainty

        Uncertainty.load(options.uncertainty)


def _said(options, model=None):
    """Metadata of a preset; with a model, also its size and the validation figures of its run."""
    said = {"name": os.path.basename(os.path.abspath(options.out)), "licence": options.licence, "data": options.data,
            "command": "hund " + shlex.join(sys.argv[1:])}
    if model is not None:
        from hund_tf.training import train

        said.update(trainable_parameters=train.trainable_count(model), validation=_validation(options.folder))
    return said


def _validation(run):
    """Validation figures of a run's weights, from its `curve.csv`: dict; none where there is no such file.

    They are of the last epoch, but where the run ended early its weights are a copy of the best.
    """
    paths = [os.path.join(run, name) for name in ("curve.csv", "weights.h5", "best.h5")]
    if not os.path.exists(paths[0]):
        return {}
    with open(paths[0], newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    early = os.path.exists(paths[2]) and filecmp.cmp(*paths[1:], shallow=False)
    row = min(rows, key=lambda row: float(row["val_loss"])) if early else rows[-1]
    return {name[4:]: round(float(value), 3) for name, value in row.items()
            if name.startswith("val_") and value != "NA"}
