"""Fits the body to 3D joints, markers, or meshes of a user's SMPL, SMPL-H or SMPL-X model: a state per frame.

    python tools/fit_body.py joints JOINTS.npz --set h36m17 --out fitted.npz
    python tools/fit_body.py mesh VERTICES.npz --model SMPL_NEUTRAL.npz --out fitted.npz

JOINTS.npz holds `points` `[N, P, 3]`, the points of the set in its order, VERTICES.npz `vertices` `[N, V, 3]` of the model:
metres, camera or world frame, NaN where unknown. Optional `person` `[N]`, whole numbers: frames of one person get one shape
(default: all frames are one person's). Markers: an array `sites` `[P, 63 + 137]` in JOINTS.npz says of which joints and
keypoints each point is mixed, in place of --set.

Written: `theta`, `shape`, `expression`, `rotation`, `translation` (see hund_tf/state.py), in the frame of the points,
`residual_mm` `[N]`, and `coding`, the body and codes that the states are of.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from hund_tf import files
from hund_tf.body import keypoints, npz, rules, smpl_import
from hund_tf.body.generative_body import GenerativeBody
from hund_tf.fitting import points, surfaces


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("joints", "mesh"))
    parser.add_argument("path", help="JOINTS.npz or VERTICES.npz")
    parser.add_argument("--set", choices=sorted(keypoints.SETS), help="what the points are (joints)")
    parser.add_argument("--model", help="the user's model, .npz, whose vertices these are (mesh)")
    parser.add_argument("--out", required=True, metavar="FILE.npz")
    parser.add_argument("--body", help="name or path of the body")
    parser.add_argument("--pose-prior", choices=("flow", "gaussian"), default="gaussian")
    parser.add_argument("--codes", choices=("vae", "linear"))
    parser.add_argument("--hands", action="store_true", help="let fingers move")
    parser.add_argument("--iterations", type=int, default=100)
    options = parser.parse_args(arguments)
    if not options.out.endswith(".npz"):
        parser.error(f"--out must end in .npz. Received: {options.out}")
    body = GenerativeBody.from_asset(options.body, pose_prior=options.pose_prior, codes=options.codes)
    fitter = points.PointFitter(body, mesh="full" if options.kind == "mesh" else None, hands=options.hands)
    try:
        targets, person, weights = read_targets(options.path, options.kind)
        if options.kind == "mesh":
            sites = sites_of_model(fitter, options.model)
        else:
            sites = sites_of_joints(body, options.set, weights)
        fitted = fit_people(fitter, targets, person, sites, options.iterations)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    files.write_atomically(options.out, lambda path: np.savez_compressed(path, coding=body.coding, **fitted))
    residual = fitted["residual_mm"]
    print(f"{options.out}: {len(residual)} frames, {len(np.unique(person))} people, residual mean {residual.mean():.1f} mm, "
          f"median {np.median(residual):.1f}, largest {residual.max():.1f}")


def read_targets(path, kind):
    """Targets `[N, P, 3]`, person numbers `[N]` and, if there, the weights of markers `[P, 200]`, else None.

    Raises:
        ValueError: if an array is missing or has another shape.
        FileNotFoundError: if there is no file.
    """
    data = npz.read_arrays(path)
    name = "points" if kind == "joints" else "vertices"
    shape = data[name].shape if name in data else None
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ValueError(f"{path} must hold `{name}` [N, P, 3], at least one frame. Received: {shape or sorted(data)}.")
    person = np.asarray(data.get("person", np.zeros(shape[0], int)))
    if person.shape != shape[:1]:
        raise ValueError(f"`person` must be [{shape[0]}], a number for each frame. Received: {person.shape}.")
    return data[name], person, data.get("sites")


def sites_of_joints(body, name, weights):
    """`Sites` of a named set, or of markers by their weights `[P, 200]`."""
    if (name is None) == (weights is None):
        raise ValueError("Joints need either --set or an array `sites` in the file. Received: "
                         f"{'both' if name else 'neither'}.")
    if weights is None:
        return points.sites_of_set(body, name)[1]
    count = len(body.joint_names) + len(body.keypoint_names)
    if np.ndim(weights) != 2 or np.shape(weights)[1] != count or not np.allclose(np.sum(weights, 1), 1, atol=1e-3):
        raise ValueError(f"`sites` must be [P, {count}] with rows that sum to 1. Received: {np.shape(weights)}.")
    return points.sites_of_weights(weights)


def sites_of_model(fitter, path):
    """`Sites` of every vertex of a user's model, from its rest shape."""
    if path is None:
        raise ValueError("Meshes need --model, the model whose vertices they are. Received: none.")
    model = smpl_import.read_model(path)
    joints = dict(zip(model["joint_names"], model["J_regressor"] @ model["v_template"]))
    body = fitter.body
    shared = [name for name in rules.BODY_JOINTS if name in joints and name in body.joint_names]
    weights = np.zeros([len(shared), len(body.joint_names) + len(body.keypoint_names)], np.float32)
    weights[range(len(shared)), [body.joint_names.index(name) for name in shared]] = 1
    found = surfaces.register(fitter, model["v_template"], np.stack([joints[name] for name in shared]),
                              points.sites_of_weights(weights))
    print(f"{model['name']} rest shape: our skin lies {np.median(found.distance_mm):.1f} mm from its vertices (median)")
    return found.sites


def fit_people(fitter, targets, person, sites, iterations):
    """Fits each person's frames: dict of the state's arrays and `residual_mm`, frames in the order given."""
    parts = {}
    for number in np.unique(person):
        rows = np.flatnonzero(person == number)
        fit = fitter.fit(targets[rows], sites, iterations)
        for name, values in (*fit.state._asdict().items(), ("residual_mm", fit.residual_mm)):
            parts.setdefault(name, np.zeros((len(person), *values.shape[1:]), np.float32))[rows] = values
    return parts


if __name__ == "__main__":
    main()
