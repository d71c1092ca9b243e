"""Shows that `MultitaskCNN` learns: it is trained on a few renders until it knows them by heart, and measured on them.

Small crops come first, a step of which is up to nine times cheaper, then those of 480 pixels, on which alone it is
measured, in the end without batch statistics. A run that was cut off goes on when its command is given again.

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
_SIDES = 160, 256, heatmaps.CROP_SIZE, heatmaps.CROP_SIZE
_FROZEN = 3  # from this part on, statistics stay those of the start: a step is cheaper, and what is trained is what is measured
_PASSES = 5  # over the renders, between validations and checkpoints


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="folder of the run")
    parser.add_argument("--renders", type=int, default=64)
    parser.add_argument("--epochs", type=_numbers(int), default=(6, 1, 2, 12), metavar="N,N,N,N",
                        help=f"of {_PASSES} passes each, at {', '.join(map(str, _SIDES))} pixels, the last with fixed "
                             "statistics (default: 6,1,2,12)")
    parser.add_argument("--batch-sizes", type=_numbers(int), default=(8, 4, 2, 1), metavar="N,N,N,N",
                        help="there; a batch of 2 large crops has statistics enough, and steps count (default: 8,4,2,1)")
    parser.add_argument("--rates", type=_numbers(float), default=(1e-3, 5e-4, 5e-4, 3e-4), metavar="R,R,R,R",
                        help="learning rates there (default: 1e-3,5e-4,5e-4,3e-4)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    body = GenerativeBody.from_asset()
    paths = _renders(args, body)
    weights = None
    for part, (side, epochs, batch, rate) in enumerate(zip(_SIDES, args.epochs, args.batch_sizes, args.rates)):
        folder = os.path.join(args.run, f"{part}-{side}")
        finished = os.path.join(folder, "sensing.h5")
        if epochs and not os.path.exists(finished):
            sensing.train_sensing(paths, paths, folder, coding=body.coding, epochs=epochs, batch_size=batch, seed=args.seed,
                                  steps_per_epoch=_PASSES * args.renders // batch, learning_rate=rate, crop_side=side,
                                  batch_statistics=part < _FROZEN, start_from=weights)
        weights = finished if epochs else weights
    model, renders_in_order = multitask_cnn.new(weights), sensing.dataset(paths, body.coding, 8, shuffle=False)
    sensing.estimate_statistics(model, (crops for crops, _ in renders_in_order))  # those of training lag behind
    figures = measure(model, renders_in_order)
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


def _numbers(kind):
    return lambda text: tuple(kind(part) for part in text.split(","))


if __name__ == "__main__":
    main()
