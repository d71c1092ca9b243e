"""Makes scene files to train on: sampled bodies before sampled cameras, with rendered part labels.

Files that are there already are left as they are: a run that was cut off goes on.

    python tools/make_scenes.py --motion body22_permissive.npz --out scenes/train --count 60000
"""

import argparse
import json
import os
import time

import numpy as np

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.training import proportions
from hund_tf.training.poses import MotionLibrary
from hund_tf.training.scenes import sample_scenes

_DRAW = 512


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motion", required=True, help=".npz of motion capture (docs/training.md)")
    parser.add_argument("--out", required=True, help="files are named OUT-000.npz and so on")
    parser.add_argument("--count", type=int, default=60000)
    parser.add_argument("--per-file", type=int, default=4096)
    parser.add_argument("--split", choices=("train", "validation"), default="train")
    parser.add_argument("--portraits", type=float, default=0.25,
                        help="share of photos that end between chest and knees (default: %(default)s)")
    parser.add_argument("--facing", type=float, default=0.0,
                        help="share of people who turn to the camera (default: %(default)s, they turn any way)")
    parser.add_argument("--upright", type=float, default=0.0,
                        help="share of training poses that stand up straight (default: %(default)s)")
    parser.add_argument("--shapes", choices=("people", "prior"), default="people",
                        help="limbs in proportion as people's are, or as the shape prior allows (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--body", help="name or path of the body")
    parser.add_argument("--pose-prior", choices=("flow", "gaussian"))
    parser.add_argument("--codes", choices=("vae", "linear"))
    args = parser.parse_args()
    os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
    body = GenerativeBody.from_asset(args.body, pose_prior=args.pose_prior, codes=args.codes)
    motion = MotionLibrary(args.motion)
    people = proportions.human(body) if args.shapes == "people" else None
    done, started = 0, time.time()
    for index in range((args.count + args.per_file - 1) // args.per_file):
        path = f"{args.out}-{index:03d}.npz"
        want = min(args.per_file, args.count - done)
        done += want
        made = {"shapes": args.shapes, "portraits": args.portraits, "facing": args.facing, "upright": args.upright,
                "split": args.split, "seed": args.seed, "count": want}
        if os.path.exists(path):
            with np.load(path, allow_pickle=False) as there:
                if "made" not in there or json.loads(str(there["made"])) != made:
                    parser.error(f"--out must not name files that were made otherwise. Received: {path}, and {made} is wanted.")
            continue
        rng = np.random.default_rng([args.seed, index, args.split == "validation"])
        parts, have = [], 0
        while have < want:
            poses = motion.sample(_DRAW, args.split, rng, made_up=args.split == "train", upright=args.upright)
            parts.append(sample_scenes(body, poses, rng, portraits=args.portraits, people=people, facing=args.facing))
            have += len(parts[-1]["theta"])
        scenes = {name: np.concatenate([part[name] for part in parts])[:want] for name in parts[0]}
        np.savez(path + ".tmp.npz", coding=body.coding, made=json.dumps(made), **scenes)
        os.replace(path + ".tmp.npz", path)
        print(f"{path}: {done} scenes, {done / (time.time() - started):.0f} a second", flush=True)


if __name__ == "__main__":
    main()
