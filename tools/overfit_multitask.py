"""Shows that `MultitaskCNN` learns: it is trained on a few renders until it knows them by heart, and measured on them.

Small crops come first, a step of which is nine times cheaper; then those of 480 pixels, on which alone it is measured,
one by one with fixed statistics, so that what is trained is what is measured. There conv1 to conv4 keep what the small
crops taught them: most of a step's work is theirs, most of the weights are not. A run that was cut off goes on when its
command is given again.

    python tools/overfit_multitask.py --run runs/overfit
"""

import argparse
import json
import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # steps of 160 pixels take 0.7 of the time on AVX2, those of 480 the same

import numpy as np
import tensorflow as tf

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.sensing import heatmaps, multitask_cnn
from hund_tf.training import record_files, renders, sensing

GOAL_PX, GOAL_IOU = 2.0, 0.9
_PASSES = 10  # over the renders, between validations and checkpoints
# Crop side, and how it is learned. Rates: the usual one, and one between the two best of four on a copy (docs/training.md).
_PARTS = {
    "small": (160, {"batch_size": 8, "learning_rate": 1e-3}),
    "large": (heatmaps.CROP_SIZE, {"batch_size": 1, "learning_rate": 5e-4, "batch_statistics": False, "frozen_stages": 4}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="folder of the run")
    parser.add_argument("--renders", type=int, default=64)
    parser.add_argument("--epochs", type=_numbers, default=(3, 5), metavar="N,N",
                        help=f"of {_PASSES} passes each over small and over large crops (default: 3,5)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    body = GenerativeBody.from_asset()
    paths = _renders(args, body)
    weights = None
    for (name, (side, settings)), epochs in zip(_PARTS.items(), args.epochs):
        folder = os.path.join(args.run, name)
        finished = os.path.join(folder, sensing.WEIGHTS)
        if not os.path.exists(finished):
            sensing.train_sensing(paths, paths, folder, coding=body.coding, epochs=epochs, seed=args.seed, crop_side=side,
                                  steps_per_epoch=_PASSES * args.renders // settings["batch_size"], start_from=weights,
                                  **settings)
        weights = finished
    figures = measure(multitask_cnn.new(weights), sensing.dataset(paths, body.coding, 8, shuffle=False))
    figures["reached"] = bool(figures["mean_px"] < GOAL_PX and figures["mean_iou"] > GOAL_IOU)
    print(json.dumps(figures, indent=2))


def measure(model, batches):
    """Errors on crops of 480 pixels: dict. Keypoints count where the label sees them, parts by their mean IoU."""
    errors, iou = [], tf.keras.metrics.MeanIoU(15)
    for crops, targets in batches:
        logits = model(crops, training=False)
        found, _ = heatmaps.read_keypoints(tf.sigmoid(logits.keypoints))
        apart = tf.norm(found - targets["keypoints"], axis=-1).numpy()
        errors.append(apart[sensing.in_sight(targets).numpy() > 0])
        iou.update_state(tf.argmax(targets["part_maps"], -1), tf.argmax(logits.parts, -1))
    errors = np.concatenate(errors)
    return {"keypoints": len(errors), "mean_px": float(errors.mean()), "median_px": float(np.median(errors)),
            "p95_px": float(np.percentile(errors, 95)), "mean_iou": float(iou.result())}


def _renders(args, body):
    name = os.path.join(args.run, f"renders-{args.renders}-{args.seed}")
    pattern = name + "-*.tfrecord"
    try:
        record_files.find(pattern)
    except FileNotFoundError:
        with record_files.ShardWriter(name) as writer:
            renders.write(writer, body, renders.sample_scenes(body, args.renders, args.seed), args.seed)
    return pattern


def _numbers(text):
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main()
