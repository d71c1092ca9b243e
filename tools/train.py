"""Trains the networks on scene files made by tools/make_scenes.py. A run that was cut off goes on when its command is
given again; a finished one is left as it is.

    python tools/train.py parts --scenes 'scenes/train-*.npz' --validation 'scenes/validation-*.npz' --run runs/parts
    python tools/train.py body --scenes 'scenes/train-*.npz' --validation 'scenes/validation-*.npz' \\
        --parts runs/parts/parts.h5 --run runs/body
    python tools/train.py preset --parts runs/parts/parts.h5 --run runs/body --out my_preset
"""

import argparse
import csv
import os
import shlex
import sys

from hund_tf import presets
from hund_tf.config import BodyConfig, HundConfig, ObjectiveConfig
from hund_tf.hund import HundBody
from hund_tf.training import train


def _body(args):
    return BodyConfig(asset=args.body, pose_prior=args.pose_prior, codes=args.codes)


def _config(args):
    return HundConfig(body=_body(args), objective=ObjectiveConfig(part_map_size=args.part_map_size))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("parts", "body"):
        command = commands.add_parser(name)
        command.add_argument("--scenes", required=True, help="pattern of training scene files")
        command.add_argument("--validation", required=True, help="pattern of held-out scene files")
        command.add_argument("--run", required=True, help="folder of the run")
        command.add_argument("--epochs", type=int, default=8 if name == "parts" else 20)
        command.add_argument("--steps-per-epoch", type=int, default=400 if name == "parts" else 1000)
        command.add_argument("--batch-size", type=int, default=32)
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--learning-rate", type=float, default=1.5e-3 if name == "parts" else 6e-4)
        command.add_argument("--start-from", help="weights to start from")
        if name == "body":
            command.add_argument("--parts", required=True, help="weights of the part CNN")
            command.add_argument("--part-map-size", type=int, default=30,
                                 help="side of the maps on which L_b is computed between stages; 0: no L_b")
    preset = commands.add_parser("preset")
    preset.add_argument("--parts", required=True, help="weights of the part CNN")
    preset.add_argument("--run", required=True, help="folder of the body run")
    preset.add_argument("--out", required=True, help="folder of the preset")
    preset.add_argument("--part-map-size", type=int, default=30)
    for command in commands.choices.values():
        command.add_argument("--body", default=BodyConfig.asset, help="name or path of the body (default: %(default)s)")
        command.add_argument("--pose-prior", choices=("flow", "gaussian"), default=BodyConfig.pose_prior)
        command.add_argument("--codes", choices=("vae", "linear"), default=BodyConfig.codes)
    args = parser.parse_args()
    common = ("epochs", "steps_per_epoch", "batch_size", "seed", "learning_rate", "start_from")
    if args.command == "parts":
        train.train_parts(args.scenes, args.validation, args.run, body=_body(args), **{k: getattr(args, k) for k in common})
    elif args.command == "body":
        train.train_body(args.scenes, args.validation, args.parts, args.run, config=_config(args),
                         **{k: getattr(args, k) for k in common})
    else:
        model = HundBody(_config(args))
        model.build_weights()
        model.load_weights(os.path.join(args.run, "weights.h5"))
        presets.save(args.out, model, train.new_segmentation(args.parts), {
            "name": "body", "licence": "Apache-2.0",
            "data": "rendered scenes of the packaged body, posed by motion capture; README.md, Training, has the commands",
            "command": "python tools/train.py " + shlex.join(sys.argv[1:]),
            "trainable_parameters": train.trainable_count(model), "validation": _last_row(args.run)})


def _last_row(run):
    """Validation figures of a run's last epoch, from its `curve.csv`: dict."""
    with open(os.path.join(run, "curve.csv"), newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    return {name[4:]: round(float(value), 3) for name, value in last.items() if name.startswith("val_")}


if __name__ == "__main__":
    main()
