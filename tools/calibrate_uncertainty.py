"""Calibrates how far off every keypoint and joint of a person may be, on held-out rendered evidence; tells if it holds.

    python tools/make_scenes.py --motion MOTION.npz --out scenes/heldout --count 8192 --per-file 8192 --split validation \\
        --portraits 0.2 --pose-prior gaussian --seed 7
    python tools/calibrate_uncertainty.py --scenes 'scenes/heldout-*.npz' --preset body --out uncertainty.npz

Evidence is drawn several times of every scene. Every other scene calibrates; of the rest the share of points whose true error
lies inside the stated 50 % and 90 % radii is printed. It should be 50 and 90, to within five points.
Of a thousand scenes, the share at a single point is uncertain by more than that; take several thousand.
"""

import argparse
import glob
import json
import os
import shlex
import sys
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tqdm import tqdm

import hund_tf
from hund_tf import cli_values, files, uncertainty
from hund_tf.evaluation import held_out
from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.sensing.landmark_sensing import describe_summary
from hund_tf.training import part_evidence, synthetic
from hund_tf.training.evidence import Draws
from hund_tf.whole_body import attention
from hund_tf.whole_body.part_networks import PartLandmarks
from hund_tf.whole_body.part_objective import relative_depths

GROUPS = {"body keypoints": slice(0, 25), "face": slice(25, 95), "left hand": slice(95, 116), "right hand": slice(116, 137),
          "joints": slice(137, 200)}
NOMINAL, TOLERANCE = tuple(100 * level for level in uncertainty.LEVELS), 5.0  # percent, points of percent
_SEEN, _ROWS = 0.05, 512  # confidence; rows judged at once
_DEPTH_DRAWS = 1000  # number of the first random stream of depths: beyond those of `evidence.detect`


class Measured(NamedTuple):
    """Of N draws of evidence: `confidence` `[N, 137]`, `loss` `[N]`, `part_weights` `[N, 3]`, `errors` `[N, 200]` in metres."""

    confidence: np.ndarray
    loss: np.ndarray
    part_weights: np.ndarray
    errors: np.ndarray


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", required=True, help="pattern of scene files of held-out clips, of tools/make_scenes.py")
    parser.add_argument("--preset", default="body", help="name or folder (default: %(default)s)")
    parser.add_argument("--body-weights", metavar="FILE", help="of the body network, in place of the preset's own")
    parser.add_argument("--draws", type=cli_values.count(1), default=2, help="of evidence of each scene (default: %(default)s)")
    parser.add_argument("--stages", type=cli_values.count(0), help="refinement stages (default: the preset's)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise on the evidence")
    parser.add_argument("--batch", type=cli_values.count(1), default=32, help="scenes beyond the last whole batch are left out")
    parser.add_argument("--out", required=True, metavar="FILE.npz", help="the calibration")
    parser.add_argument("--json", metavar="FILE", help="the figures")
    parser.add_argument("--plot", metavar="FILE", help="draw shares and radii; needs matplotlib")
    options = parser.parse_args(arguments)
    command = "python tools/calibrate_uncertainty.py " + shlex.join(sys.argv[1:] if arguments is None else arguments)
    paths = sorted(glob.glob(options.scenes))
    try:
        if held_out.needs_photos(options.preset):
            parser.error(f"scenes have evidence and no photos, so --preset must not need them. Received: {options.preset}.")
        model = hund_tf.load_preset(options.preset)
        scenes = synthetic.load_scenes(paths, model.hund.body)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    if len(scenes["theta"]) < 2 * options.batch:
        parser.error(f"--scenes must hold two batches of {options.batch} scenes. Received: {len(scenes['theta'])} scenes.")
    if options.body_weights:
        model.hund.load_weights(options.body_weights)
    look = looker(model, options.stages)
    halves = [measure(look, half, options.draws, options.batch, options.seed) for half in halved(scenes)]
    calibration = uncertainty.calibrate(model.hund.body.joint_names, *halves[0])
    calibration.save(options.out)
    test, names = halves[1], (*model.hund.body.keypoint_names, *model.hund.body.joint_names)
    radii = radii_of(calibration, test)
    seen = test.confidence[:, calibration.source] > _SEEN
    result = {"command": command, "preset": options.preset, "scenes": len(scenes["theta"]),
              "rows": [len(half.loss) for half in halves], "groups": figures(radii, test.errors, seen, names)}
    print(f"`{command}`\n\n{table(result['groups'])}\n\n{verdict(result['groups'])}")
    if options.json:
        files.write_atomically(options.json, lambda path: _save(result, path))
    if options.plot:
        draw(radii, test.errors, options.plot)


def halved(scenes):
    """Scenes of even and of odd number: two dicts."""
    return [{name: values[start::2] for name, values in scenes.items()} for start in (0, 1)]


def looker(model, num_stages=None):
    """What draws evidence of a batch of scenes by a seed and has a `Reconstructor` see it; one graph for all batches.

    Returns:
        callable `(scene, seed)` -> confidence `[B, 137]`, loss `[B]`, part weights `[B, 3]`, errors `[B, 200]` in metres.
    """
    body = model.hund.body

    @tf.function(autograph=False)
    def look(scene, seed):
        detected = synthetic.detect(body, scene, seed, noise=1.0)
        summary = describe_summary(model.sensing.segmentation, detected, scene["intrinsics"])
        last = model.hund.descend(summary, num_stages).reports[-1]
        truth = body(synthetic.truth_of(scene), mesh=None)
        depths = draw_depths(truth.keypoints, scene["intrinsics"], detected.keypoints, seed)
        landmarks = PartLandmarks(detected.keypoints, detected.confidence, depths)
        state, weights = model.complete(last.state, landmarks, scene["intrinsics"])
        return detected.confidence, last.loss, weights, distances(body(state, mesh=None), truth)

    return look


def measure(look, scenes, draws, batch, seed):
    """`Measured` of several draws of evidence of each scene; those of one scene are neighbours."""
    columns = []
    for i in range(draws):
        data = synthetic.batches(scenes, batch, seed + i, shuffle=False, start=0)
        rows = [look(*one) for one in tqdm(data, total=len(scenes["theta"]) // batch, desc=f"draw {i + 1} of {draws}")]
        columns.append([np.concatenate(column) for column in zip(*rows)])
    return Measured(*(np.stack(column, 1).reshape(-1, *column[0].shape[1:]) for column in zip(*columns)))


def distances(posed, truth):
    """How far off keypoints and joints of one `BodyOutput` are, pelvis on pelvis: `[B, 200]`, metres."""
    points = [tf.concat([body.keypoints, body.joints], 1) - body.joints[:, :1] for body in (posed, truth)]
    return tf.norm(points[0] - points[1], axis=-1)


def radii_of(calibration, measured):
    """The radii that a calibration states: `[N, 200, 2]`, metres."""
    said = [calibration(*(x[i:i + _ROWS] for x in measured[:3])).numpy() for i in range(0, len(measured.loss), _ROWS)]
    return np.concatenate(said)


def figures(radii, errors, seen, names):
    """How often true errors lie inside the radii, by group and of all; a point without any error, the pelvis, does not count.

    Args:
        radii: `[N, 200, 2]`, metres.
        errors: `[N, 200]`, metres.
        seen: bool `[N, 200]`.
        names: 200 names.

    Returns:
        dict by group of dict: `inside`, two shares in percent, of all, `inside_seen` and `inside_unseen`, None where there are
        none, `worst` share of a single point and level, `worst_point`, `radii_mm`, `error_mm` and `error_quantiles_mm`.
    """
    inside = errors[..., None] <= radii
    moves = np.any(errors > 0, 0)
    result = {}
    for group, part in {**GROUPS, "all": slice(0, len(names))}.items():
        points = np.arange(len(names))[part][moves[part]]
        within, visible, wrong = inside[:, points], seen[:, points], errors[:, points]
        each = 100 * within.mean(0)
        point, level = np.unravel_index(np.argmax(np.abs(each - NOMINAL)), each.shape)
        result[group] = {
            "points": len(points), "inside": _percent(within.reshape(-1, 2)), "inside_seen": _percent(within[visible]),
            "inside_unseen": _percent(within[~visible]), "worst": round(float(each[point, level]), 2),
            "worst_nominal": NOMINAL[level], "worst_point": names[points[point]],
            "radii_mm": np.round(1000 * radii[:, points].mean((0, 1)), 1).tolist(),
            "error_mm": round(1000 * float(wrong.mean()), 1),
            "error_quantiles_mm": np.round(1000 * np.quantile(wrong, uncertainty.LEVELS), 1).tolist()}
    return result


def _percent(inside):
    """Shares `[2]` of rows `[N, 2]`."""
    return np.round(100 * inside.mean(0), 2).tolist() if len(inside) else None


def table(groups):
    """The figures as a Markdown table."""
    lines = ["| points | inside 50 %, 90 % | of seen points | of unseen ones | worst point | mean radii mm | mean error mm |",
             "|---|---|---|---|---|---|---|"]
    for name, row in groups.items():
        shares = [" / ".join(f"{x:.1f}" for x in row[key]) if row[key] else "" for key in
                  ("inside", "inside_seen", "inside_unseen")]
        radii = " / ".join(f"{x:.0f}" for x in row["radii_mm"])
        lines.append(f"| {name} ({row['points']}) | {' | '.join(shares)} | {row['worst_point']}, {row['worst']:.1f} for "
                     f"{row['worst_nominal']:.0f} | {radii} | {row['error_mm']:.0f} |")
    return "\n".join(lines)


def verdict(groups):
    """One sentence: how far the shares of groups and of single points are off at most."""
    most = max(np.max(np.abs(np.subtract(row["inside"], NOMINAL))) for row in groups.values())
    single = max(abs(row["worst"] - row["worst_nominal"]) for row in groups.values())
    return (f"Shares are off by up to {most:.1f} points in a group, {single:.1f} at a single point: "
            f"{'within' if max(most, single) <= TOLERANCE else 'NOT within'} {TOLERANCE:.0f}.")


def draw(radii, errors, path):
    """Draws the share inside at every point, and by how much errors grow with the radii that were stated."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    inside = 100 * (errors[..., None] <= radii).mean(0)
    moves = np.any(errors > 0, 0)
    for k, nominal in enumerate(NOMINAL):
        left.axhspan(nominal - TOLERANCE, nominal + TOLERANCE, color="0.9")
        for i, (name, part) in enumerate(GROUPS.items()):
            points = np.arange(len(moves))[part][moves[part]]
            left.plot(points, inside[points, k], ".", color=f"C{i}", label=None if k else name)
    left.set(xlabel="point: 137 keypoints, 63 joints", ylabel="true errors inside, %", ylim=(30, 100))
    left.legend(loc="lower left", ncols=3, fontsize=8)
    for k, level in enumerate(uncertainty.LEVELS):
        stated, wrong = radii[:, moves, k].ravel(), errors[:, moves].ravel()
        bins = np.array_split(np.argsort(stated), 20)
        found = [(1000 * stated[i].mean(), 1000 * np.quantile(wrong[i], level)) for i in bins]
        right.plot(*zip(*found), "o-", markersize=4, label=f"{level:.0%}")
    high = right.get_xlim()[1]
    right.plot([0, high], [0, high], "0.6", linewidth=1)
    right.set(xlabel="radius stated, mm", ylabel="radius that holds the share, mm")
    right.legend()
    files.write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=80))
    pyplot.close(figure)


def draw_depths(keypoints, intrinsics, pixels, seed, noise=1.0):
    """What landmark networks would say of depths in faces and hands, with the errors of `part_evidence`.

    Args:
        keypoints: `[B, 137, 3]`, true, camera frame.
        intrinsics: `[B, 4]`, of the crops.
        pixels: `[B, 137, 2]`, as detected, crop.
        seed: int tensor `[2]`.
        noise: float, scale of the errors.

    Returns:
        `[B, 137]`, pixels of the crop, about the mean of the part; 0 of the body, and of parts without depths.
    """
    draw = Draws(tf.random.experimental.stateless_fold_in(seed, _DEPTH_DRAWS))
    drawn = [tf.zeros_like(keypoints[:, :25, 0])]
    for kind, part in (("face", GROUPS["face"]), ("hand", GROUPS["left hand"]), ("hand", GROUPS["right hand"])):
        at = pixels[:, part]
        side = tf.reduce_max(tf.reduce_max(at, 1) - tf.reduce_min(at, 1), -1)[:, None] * attention.MARGIN
        places = (at - tf.reduce_mean(at, 1, keepdims=True)) / side[..., None]
        depths = relative_depths(keypoints[:, part], intrinsics) * CROP_SIZE / side
        drawn.append(part_evidence.wrong_depths(kind, depths, places, draw, noise) * side)
    return tf.concat(drawn, 1)


def _save(result, path):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
