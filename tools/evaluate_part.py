"""Measures the network of a part on held-out scenes, and draws some of them.

    python tools/evaluate_part.py --kind hand --weights runs/hand/weights.h5 --scenes 'scenes/held-out-hand-*.npz' \\
        --sheet hands.png

Errors in millimetres: of fingertips (hand) or all points (face), with the root's place aligned, and with its rotation
too; of all points after Procrustes alignment; of the root's place. In per cent: of keypoints in the image, of the part's
longer side, and the share of scenes under three and under five of it. Of a face also the share of scenes, in per cent, whose
eyelids, jaw, mouth corners and brows are moved the right way from the face at rest: of all scenes, and of those in which they
truly move by more than 1, 2 and 3 millimetres, with their number.
"""

import argparse
import json

import numpy as np
import tensorflow as tf

from hund_tf import cli_values
from hund_tf.config import PARTS, PartConfig
from hund_tf.geometry import camera, rotations
from hund_tf.losses.procrustes import align
from hund_tf.training import part_learning
from hund_tf.whole_body.hund_part import HundPart
from hund_tf.whole_body.part_objective import pose
from hund_tf.whole_body.part_shapes import FACE, HAND

_BATCH = 64
_COLUMNS = 6
_MOVED_MM = 1, 2, 3


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=PARTS, required=True)
    parser.add_argument("--weights", required=True, metavar="FILE")
    parser.add_argument("--scenes", required=True, metavar="PATTERN")
    parser.add_argument("--noise", type=float, default=1.0, help="scale of the evidence's errors (default: %(default)s)")
    parser.add_argument("--stages", type=cli_values.count(0), help="default: the network's")
    parser.add_argument("--polish-steps", type=cli_values.count(0), default=PartConfig.polish_steps,
                        help="after the stages (default: %(default)s)")
    parser.add_argument("--sheet", metavar="FILE", help="a picture of 24 scenes: evidence black, estimate red")
    parser.add_argument("--json", metavar="FILE", help="also write the figures here")
    options = parser.parse_args(arguments)
    if not 0 <= options.noise < float("inf"):
        parser.error(f"--noise must not be negative. Received: {options.noise}.")
    network = HundPart(PartConfig(options.kind, polish_steps=options.polish_steps))
    network.build_weights()
    try:
        network.load_weights(options.weights)
        scenes = part_learning.load_scenes(options.scenes, network.body.coding, options.kind)
    except (ValueError, OSError, tf.errors.OpError) as error:
        parser.error(f"--weights and --scenes must be of a {options.kind}. Received: {str(error).splitlines()[0]}")
    figures, drawn = evaluate(network, scenes, options.noise, options.stages)
    print(json.dumps(figures, indent=1))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)
    if options.sheet:
        draw(drawn, options.sheet, options.kind)


def evaluate(network, scenes, noise=1.0, num_stages=None):
    """Mean figures over whole batches of scenes, and evidence and estimate of the first batch in the image, for `draw`.

    Args:
        network: `HundPart`.
        scenes: dict of `part_scenes.FIELDS`.
        noise: float.
        num_stages: int or None.
    """
    def solve(evidence):
        state = network.solve(evidence, num_stages)
        return state, pose(network.part_shape, state, evidence.shape)

    run = tf.function(solve, autograph=False)
    batch = min(_BATCH, len(scenes["codes"]))
    rows, moved, drawn = [], [], None
    for evidence, truth, keypoints in part_learning.dataset(scenes, network.part_shape, batch, noise=noise, shuffle=False):
        state, found = run(evidence)
        points, true_points = found - state.translation[:, None], keypoints - truth.translation[:, None]
        in_part, true_in_part = (tf.einsum("bji,bnj->bni", rotations.matrix_from_6d(s.rotation), p)
                                 for s, p in ((state, points), (truth, true_points)))
        read = part_learning.TIPS if network.config.kind == HAND else range(points.shape[1])
        if network.config.kind == FACE:
            rest, true_rest = (network.part_shape(tf.zeros_like(s.codes), shape) for s, shape in (
                (state, evidence.shape), (truth, scenes["shape"][len(rows) * batch:][:batch])))
            moved.append([expressions(a) - expressions(b) for a, b in ((in_part, rest), (true_in_part, true_rest))])
        image, true_image = (camera.project(p, evidence.intrinsics).numpy() for p in (found, keypoints))
        share = np.linalg.norm(image - true_image, axis=-1).mean(1) / np.ptp(true_image, axis=1).max(-1)
        rows.append({
            "root_aligned_mm": _mean_mm(points, true_points, read),
            "root_and_rotation_aligned_mm": _mean_mm(in_part, true_in_part, read),
            "pa_mm": _mean_mm(align(points, true_points), true_points, range(points.shape[1])),
            "root_mm": 1000 * np.linalg.norm(state.translation - truth.translation, axis=-1),
            "image_percent": 100 * share, "under_3_percent": 100.0 * (share < 0.03), "under_5_percent": 100.0 * (share < 0.05)})
        drawn = (evidence.keypoints.numpy(), image) if drawn is None else drawn
    figures = {name: round(float(np.concatenate([row[name] for row in rows]).mean()), 2) for name in rows[0]}
    if moved:
        figures["right_sign_percent"] = right_signs(*np.concatenate(moved, 1))
    return figures, drawn


def expressions(points):
    """Eyelids open, jaw open, mouth wide and brows raised of faces `[B, 70, 3]` in their own frame: metres, `[B, 4]`."""
    x, y = np.moveaxis(np.asarray(points)[..., :2], -1, 0)
    lids = y[:, [37, 38, 43, 44]].mean(1) - y[:, [40, 41, 46, 47]].mean(1)
    return np.stack([lids, y[:, 62] - y[:, 66], x[:, 54] - x[:, 48], y[:, 17:27].mean(1) - y[:, [36, 39, 42, 45]].mean(1)], -1)


def right_signs(found, truth):
    """Shares of changes `[N, 4]`, metres, that go the right way, in per cent, of all and of those that are large: dict."""
    right, result = np.sign(found) == np.sign(truth), {}
    for i, name in enumerate(("eyelids", "jaw", "smile", "brows")):
        result[name] = {"all": round(100 * float(right[:, i].mean()), 1)}
        for least in _MOVED_MM:
            large = np.abs(truth[:, i]) > least / 1000
            if large.any():
                result[name][f"over_{least}_mm"] = [round(100 * float(right[large, i].mean()), 1), int(large.sum())]
    return result


def draw(pairs, path, kind):
    """Writes a sheet of keypoints `[B, N, 2]` of evidence and of estimates."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    chains = [[0, *range(1 + 4 * k, 5 + 4 * k)] for k in range(5)] if kind == HAND else [[k] for k in range(70)]
    figure, axes = pyplot.subplots(4, _COLUMNS, figsize=(2.5 * _COLUMNS, 10))
    for i, axis in enumerate(axes.ravel()):
        for points, style in zip(pairs, ("k.-", "r.-")):
            for chain in chains:
                axis.plot(*points[i % len(points), chain].T, style, linewidth=1, markersize=3)
        axis.set(xlim=(0, 480), ylim=(480, 0), aspect="equal")
        axis.axis("off")
    figure.savefig(path, dpi=60)
    pyplot.close(figure)


def _mean_mm(points, truth, read):
    return 1000 * np.linalg.norm(tf.gather(points - truth, list(read), axis=1), axis=-1).mean(1)


if __name__ == "__main__":
    main()
