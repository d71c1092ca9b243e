"""Held-out scenes in, the error of the body network on their rendered evidence out."""

import glob

import numpy as np
import tensorflow as tf

from hund_tf import presets
from hund_tf.body import keypoints
from hund_tf.evaluation import metrics
from hund_tf.geometry import camera
from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.training import synthetic

IN_VIEW = 0.9  # share of BODY_25 inside photo and crop from which a person counts as seen whole
JOINT_SET = "lsp14"
_HIPS = ("right_hip", "left_hip")


def held_out(model, pattern, noise=1.0, seed=0, num_stages=None, batch_size=32, progress=iter):
    """3D error on scenes of motion that the network was not trained on.

    Evidence is drawn as in training, by seed; photos are not rendered, so the detectors are not part of the test.

    Args:
        model: `Reconstructor` with landmark networks.
        pattern: str, pattern of scene files.
        noise: float, scale of the evidence's errors; 0 is clean evidence.
        seed: int.
        num_stages: int, M; the preset's if None.
        batch_size: int; scenes beyond the last whole batch are left out.
        progress: wraps the batches, for a bar.

    Returns:
        list of dict, one a scene: `pa_mpjpe_mm` and `mpjpe_mm` over 14 joints (`lsp14`), `in_view`, `stage_losses`.

    Raises:
        FileNotFoundError: if no file matches.
        ValueError: if the scenes are of another body or other codes than the network's.
    """
    paths = sorted(glob.glob(pattern))
    if not paths:
        raise FileNotFoundError(f"`pattern` must match at least one scene file (tools/make_scenes.py). Received: {pattern!r}.")
    body = model.hund.body
    scenes = synthetic.load_scenes(paths, body)
    names, weights = keypoints.regressor(body, JOINT_SET)
    root = tuple(names.index(name) for name in _HIPS)

    @tf.function(autograph=False)
    def run(summary, truth):
        descent = model.hund.descend(summary, num_stages)
        true_body = body(truth, mesh=None)
        points = [keypoints.regress(weights, one) for one in (descent.reports[-1].body, true_body)]
        pixels = camera.project(true_body.keypoints[:, :25], summary.intrinsics)
        return (*points, pixels, tf.stack([report.loss for report in descent.reports], axis=1))

    data = synthetic.body_dataset(scenes, body, model.sensing.segmentation, batch_size, seed, noise=noise, shuffle=False)
    records = []
    for summary, labels in progress(data):
        estimates, truths, pixels, losses = (x.numpy() for x in run(summary, labels.state))
        for estimate, true, pixel, loss in zip(estimates, truths, pixels, losses):
            bounds = scenes["image_bounds"][len(records)]
            records.append({
                "pa_mpjpe_mm": metrics.pa_mpjpe_mm(estimate, true), "mpjpe_mm": metrics.mpjpe_mm(estimate, true, root),
                "in_view": bool(_inside(pixel, bounds).mean() >= IN_VIEW), "stage_losses": [float(x) for x in loss]})
    return records


def needs_photos(preset):
    """Whether the first CNN of a preset, name or folder, sees pixels alone; scenes are landmarks and cannot feed it."""
    return presets.read_metadata(presets.find(preset))["sensing"] != "landmarks"


def _inside(pixels, bounds):
    low, high = np.maximum(bounds[:2], 0.0), np.minimum(bounds[2:], CROP_SIZE)
    return np.all((pixels > low) & (pixels < high), -1)
