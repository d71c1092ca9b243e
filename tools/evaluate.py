"""Measures a preset on a data set: prints Markdown tables, writes every record as JSON.

    python tools/evaluate.py pose2sim PATH/TO/cases.json
    python tools/evaluate.py photos PATH/TO/FOLDER
    python tools/evaluate.py held-out 'scenes/validation-*.npz' --noise 0
"""

import argparse
import os
import shlex
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tqdm import tqdm

import hund_tf
from hund_tf.evaluation import baselines, held_out, protocols, reports


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=("pose2sim", "photos", "held-out"))
    parser.add_argument("path", help="cases.json or its folder (pose2sim), folder of photos (photos), "
                        "pattern of scene files (held-out)")
    parser.add_argument("--preset", default="person", help="name or folder; 'landmarks': the landmark networks' own 3D "
                        "points, as a baseline (default: %(default)s)")
    parser.add_argument("--boxes", choices=("detector", "truth"), default="detector", help="pose2sim only")
    parser.add_argument("--noise", type=float, default=1.0,
                        help="held-out only: scale of the evidence's errors, 0 is clean (default: %(default)s)")
    parser.add_argument("--stages", type=int, help="refinement stages (default: the preset's)")
    parser.add_argument("--json", metavar="FILE", help="where to write the records (default: evaluation_PROTOCOL.json)")
    options = parser.parse_args(arguments)
    command = "python tools/evaluate.py " + shlex.join(sys.argv[1:] if arguments is None else arguments)
    if options.protocol == "held-out" and (options.preset == "landmarks" or held_out.needs_photos(options.preset)):
        parser.error(f"held-out scenes have evidence and no photos, so --preset must not need them. Received: --preset {options.preset}.")
    model = baselines.LandmarkBaseline() if options.preset == "landmarks" else hund_tf.load_preset(options.preset)
    if options.protocol == "pose2sim":
        records = protocols.pose_cases(model, options.path, options.boxes, options.stages, progress=tqdm)
        tables = [reports.pose_table(records), reports.joint_table(records)]
    elif options.protocol == "held-out":
        records = held_out.held_out(model, options.path, options.noise, num_stages=options.stages, progress=tqdm)
        tables = [reports.held_out_table(records)]
    else:
        records = protocols.photos(model, options.path, options.stages, progress=tqdm)
        tables = [reports.photo_table(records), *(record["problem"] for record in records if "problem" in record)]
    print(f"`{command}`\n\n" + "\n\n".join(tables))
    target = options.json or f"evaluation_{options.protocol}.json"
    reports.save(target, records, command=command, preset=options.preset, version=hund_tf.__version__)
    print(f"\nRecords: {target}")


if __name__ == "__main__":
    main()
