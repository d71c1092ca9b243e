"""Compares evidence drawn from scenes with what the landmark networks see on photos, in figures and side by side.

    python tools/convert_dataset.py photos --root my_photos --out records/mine
    python tools/compare_evidence.py --records 'records/mine-*.tfrecord' --scenes 'scenes/validation-*.npz' --picture look.png

Scenes must be of the packaged body with the codes given. Where a figure of the drawn evidence is off, training/evidence.py is
what to mend, and training/drawn_landmarks.py where it is one of the 3D estimate; they draw with a seed, so the same command
gives the same figures.
"""

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import glob

import cv2
import numpy as np
import tensorflow as tf

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.files import write_atomically
from hund_tf.outputs import save_png
from hund_tf.training import evidence_statistics, records, synthetic

_CROP, _TILE = 480, 200
_BONES = ((0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (10, 11), (8, 12), (12, 13),
          (13, 14), (0, 15), (0, 16), (14, 19), (11, 22))
_PEOPLE = 8  # of each kind in the picture
_NAMES = ("keypoints", "confidence", "person_mask", "landmarks3d", "landmarks3d_confidence")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", required=True, help="pattern of record files with evidence of photos")
    parser.add_argument("--scenes", required=True, help="pattern of scene files")
    parser.add_argument("--noise", type=float, default=1.0, help="scale of the drawn errors (default: %(default)s)")
    parser.add_argument("--pose-prior", choices=("flow", "gaussian"))
    parser.add_argument("--codes", choices=("vae", "linear"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", metavar="PNG", help="where to draw people of both kinds side by side")
    options = parser.parse_args(arguments)
    body = GenerativeBody.from_asset(pose_prior=options.pose_prior, codes=options.codes)
    drawn, seen = _drawn(body, options), _seen(options.records, body)
    if not len(seen["confidence"]):
        sys.exit(f"error: --records must hold records with evidence. Received: {options.records}.")
    print(f"| | drawn ({len(drawn['confidence'])}) | photos ({len(seen['confidence'])}) |\n|---|---|---|")
    theirs = evidence_statistics.figures(seen)
    for name, value in evidence_statistics.figures(drawn).items():
        print(f"| {name} | {value:.3f} | {theirs[name]:.3f} |")
    if options.picture:
        rows = [np.concatenate([_tile(kind, i) for i in _spread(len(kind["confidence"]))], 1) for kind in (drawn, seen)]
        picture = np.concatenate(rows)
        write_atomically(options.picture, lambda temporary: save_png(picture, temporary))


def _drawn(body, options):
    scenes = synthetic.load_scenes(sorted(glob.glob(options.scenes)), body)
    detect = tf.function(lambda scene, seed: synthetic.detect(body, scene, seed, options.noise), autograph=False)
    parts = []
    for start in range(0, len(scenes["theta"]), 256):
        scene = {name: tf.constant(value[start:start + 256]) for name, value in scenes.items()}
        parts.append(detect(scene, tf.constant([options.seed, start], tf.int64)))
    return {name: np.concatenate([getattr(part, name).numpy() for part in parts]) for name in _NAMES}


def _seen(pattern, body):
    data = records.read(pattern, body.coding, shuffle=False)
    rows = [{name: record[name].numpy() for name in _NAMES} for record in data if record["has_evidence"].numpy() > 0]
    return {name: np.stack([row[name] for row in rows]) if rows else np.zeros([0]) for name in _NAMES}


def _spread(count):
    return np.unique(np.linspace(0, count - 1, min(_PEOPLE, count)).astype(int))


def _tile(evidence, index):
    """Mask and keypoints, coloured by confidence from red to green; below it, the 3D estimate seen from the side."""
    front = np.repeat((255 * (0.25 + 0.4 * evidence["person_mask"][index]))[..., None], 3, 2).astype(np.uint8)
    front = cv2.resize(front, (_TILE, _TILE), interpolation=cv2.INTER_NEAREST)
    _bones(front, evidence["keypoints"][index] * (_TILE / _CROP), evidence["confidence"][index])
    points = evidence["landmarks3d"][index]
    side = np.full([_TILE, _TILE, 3], 255, np.uint8)
    _bones(side, points[:, [2, 1]] * (_TILE * 0.45) + _TILE / 2, evidence["landmarks3d_confidence"][index])
    return np.concatenate([front, side])


def _bones(picture, points, confidence):
    for a, b in _BONES:
        least = min(confidence[a], confidence[b])
        if least > 0.05:
            cv2.line(picture, *(tuple(int(v) for v in np.clip(points[i], -999, 999)) for i in (a, b)),
                     (int(255 * (1 - least)), int(200 * least), 40), 2, cv2.LINE_AA)


if __name__ == "__main__":
    main()
