"""Makes scene files of hands or faces to train a part's network on.

    python tools/make_part_scenes.py --kind hand --hands FOLDER --out scenes/hand --count 120000
    python tools/make_part_scenes.py --kind face --out scenes/face --count 60000

FOLDER holds finger poses (docs/training.md). Held-out poses, `--split validation`, are whole clips and whole signs. Files that
are there already are left as they are.
"""

import argparse
import json
import os

import numpy as np
import tensorflow as tf

from hand_poses import HandPoses
from hund_tf.body.generative_body import GenerativeBody
from hund_tf.config import PARTS
from hund_tf.state import SHAPE
from hund_tf.training import proportions
from hund_tf.training.part_scenes import sample_part_scenes
from hund_tf.whole_body.part_shapes import HAND, PartShape

_DRAW = 4096
_PRIOR_SHARE = 0.2  # of training hands: drawn from the prior


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=PARTS, required=True)
    parser.add_argument("--hands", metavar="FOLDER", help="finger poses: mesh2motion_cc0.npz and hands25_mit.npz")
    parser.add_argument("--out", required=True, help="files are named OUT-000.npz and so on")
    parser.add_argument("--count", type=int, default=60000)
    parser.add_argument("--per-file", type=int, default=30000)
    parser.add_argument("--split", choices=("train", "validation"), default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--body", help="name or path of the body")
    args = parser.parse_args()
    if (args.kind == HAND) != (args.hands is not None):
        parser.error(f"--hands must go with --kind hand, and with it alone. Received: --kind {args.kind} --hands {args.hands}.")
    body = GenerativeBody.from_asset(args.body)
    part_shape, people = PartShape(body, args.kind), proportions.human(body)
    poses = HandPoses(args.hands) if args.kind == HAND else None
    os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
    made = {"kind": args.kind, "split": args.split, "seed": args.seed, "count": args.count, "per_file": args.per_file}
    for index in range((args.count + args.per_file - 1) // args.per_file):
        path, want = f"{args.out}-{index:03d}.npz", min(args.per_file, args.count - index * args.per_file)
        if os.path.exists(path):
            with np.load(path, allow_pickle=False) as there:
                if "made" not in there or json.loads(str(there["made"])) != made:
                    parser.error(f"--out must not name files that were made otherwise. Received: {path}, and {made} is wanted.")
            continue
        rng = np.random.default_rng([args.seed, index, args.split == "validation", PARTS.index(args.kind)])
        parts, have = [], 0
        while have < want:
            codes = _hands(body, poses, args.split, rng) if poses else _faces(rng)
            parts.append(sample_part_scenes(part_shape, codes, rng.normal(size=(_DRAW, SHAPE)) @ people, rng))
            have += len(parts[-1]["codes"])
        scenes = {name: np.concatenate([part[name] for part in parts])[:want] for name in parts[0]}
        np.savez(path + ".tmp.npz", coding=body.coding, kind=args.kind, made=json.dumps(made), **scenes)
        os.replace(path + ".tmp.npz", path)
        print(f"{path}: {want} scenes", flush=True)


def _hands(body, poses, split, rng):
    """theta_lh `[_DRAW, 90]` of captured, signing and made-up hands; held-out ones are captured and signing alone."""
    rotations = poses.sample(_DRAW, split, rng, made_up=split == "train")
    joints = body.finger_joints("left")
    local = np.tile(np.eye(3, dtype=np.float32), (_DRAW, len(body.joint_names), 1, 1))
    local[:, joints] = rotations
    first = body.pose_flow_body.dim
    codes = body.theta_from_rotations(tf.constant(local)).numpy()[:, first:first + 90]
    if split == "train":
        drawn = rng.random(_DRAW) < _PRIOR_SHARE
        codes = np.where(drawn[:, None], rng.normal(0, 0.9, codes.shape), codes)
    return codes


def _faces(rng):
    """Expressions `[_DRAW, 20]`: from still to stronger than the prior's."""
    return rng.normal(size=(_DRAW, 20)) * rng.uniform(0.2, 1.4, (_DRAW, 1))


if __name__ == "__main__":
    main()
