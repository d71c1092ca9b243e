"""Keypoints carried to people of other shapes and to other meshes, against the packaged body's own keypoints there."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.body import keypoint_transfer, part_labels, rules, surface
from hund_tf.body.generative_body import GenerativeBody

PEOPLE = 3


@pytest.fixture(scope="module")
def body():
    return GenerativeBody.from_asset()


@pytest.fixture(scope="module")
def people(body):
    """T-poses of people of random shapes: full mesh, coarse mesh."""
    shapes = tf.constant(np.random.default_rng(0).normal(size=(PEOPLE, 16)), tf.float32)
    rest = (tf.eye(3, batch_shape=[PEOPLE, 63]), shapes, tf.zeros([PEOPLE, 20]),
            tf.constant([[1.0, 0, 0, 0, 1, 0]] * PEOPLE), tf.zeros([PEOPLE, 3]))
    return {mesh: body.pose_from_rotations(*rest, mesh=mesh) for mesh in ("full", "low")}


def target(body, posed, person, mesh, real_joints=None):
    skin = body._template.meshes[mesh].skin_weights
    weights = skin[:, :63].copy()
    for bone, joint in enumerate(body._template.twist_joints[:, 0]):
        weights[:, joint] += skin[:, 63 + bone]
    return {"joint_names": list(body.joint_names), "joints": posed.joints[person].numpy(),
            "vertices": posed.vertices[person].numpy(), "faces": body.faces(mesh), "weights": weights,
            "labels": body.part_labels(mesh), "real_joints": set(real_joints or body.joint_names), "landmarks": {}}


def remeshed(given, vertex_count):
    """The same surface with other vertices."""
    simplify = pytest.importorskip("fast_simplification").simplify
    used, corners = np.unique(surface.largest_part(given["faces"], len(given["vertices"])), return_inverse=True)
    vertices, faces = simplify(
        given["vertices"][used], corners.reshape(-1, 3).astype(np.int32), target_count=2 * vertex_count)
    weights = given["weights"][used][surface.nearest(vertices, given["vertices"][used], 1)[:, 0]]
    return {**given, "vertices": vertices, "faces": faces.astype(int), "weights": weights,
            "labels": part_labels.from_skin_weights(given["joint_names"], weights)}


def errors_mm(body, given, wanted):
    rows = keypoint_transfer.transferred(body._template, given)
    corners = given["vertices"][rows["keypoint_vertices"]] * rows["keypoint_vertex_weights"][..., None]
    points = rows["keypoint_joints"] @ given["joints"] + corners.sum(1)
    return np.linalg.norm(points - wanted, axis=1) * 1000


# docs/bodies.md quotes these bounds.
@pytest.mark.slow
@pytest.mark.parametrize("mesh, vertex_count, fingers, mean_mm, worst_mm", [
    ("full", None, True, 1, 10), ("full", None, False, 3, 19), ("low", None, True, 2.5, 25),
    ("full", 6000, True, 2, 10), ("full", 6000, False, 4, 15)])
def test_keypoints_of_other_people_on_other_meshes(body, people, mesh, vertex_count, fingers, mean_mm, worst_mm):
    real = body.joint_names if fingers else rules.BODY_JOINTS
    errors = []
    for person in range(PEOPLE):
        given = target(body, people[mesh], person, mesh, real)
        given = remeshed(given, vertex_count) if vertex_count else given
        errors.append(errors_mm(body, given, people[mesh].keypoints[person]))
    errors = np.array(errors)
    worst = body.keypoint_names[errors.max(0).argmax()]
    print(f"mean {errors.mean():.2f} mm, worst {errors.max():.1f} mm ({worst})")
    assert errors.mean() < mean_mm and errors.max() < worst_mm, (errors.mean(), errors.max(), worst)


def test_a_part_without_skin_is_refused(body, people):
    given = target(body, people["low"], 0, "low")
    given["labels"] = np.where(given["labels"] == part_labels.HEAD, 1, given["labels"])
    with pytest.raises(ValueError, match="without faces of part 14"):
        keypoint_transfer.transferred(body._template, given)


def test_nearest_points_by_hand():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 5]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    queries = np.array([[0.25, 0.25, -1], [2, 0, 0], [1, 1, 0], [-1, 0, 2.5]])
    points = surface.mix(vertices, *surface.nearest_points(queries, vertices, faces))
    np.testing.assert_allclose(points, [[0.25, 0.25, 0], [1, 0, 0], [0.5, 0.5, 0], [0, 0, 2.5]], atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_nearest_points_equal_those_of_trimesh(seed):
    from trimesh.triangles import closest_point

    a, b, c, queries = np.random.default_rng(seed).normal(size=(4, 40, 3))
    for query, *triangle in zip(queries, a, b, c):
        corners, weights = surface.nearest_points(query[None], np.array(triangle), np.array([[0, 1, 2]]))
        wanted = closest_point(np.array([triangle]), query[None])
        np.testing.assert_allclose(surface.mix(np.array(triangle), corners, weights), wanted, atol=1e-9)


def test_largest_part_leaves_loose_pieces_out():
    faces = np.array([[0, 1, 2], [5, 6, 7], [6, 7, 8], [7, 8, 9]])
    np.testing.assert_array_equal(surface.largest_part(faces, 10), faces[1:])


def test_samples_lie_on_the_surface_in_proportion_to_area():
    vertices = np.array([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [10, 0, 0], [11, 0, 0], [10, 1, 0]])
    points = surface.sample(vertices, np.array([[0, 1, 2], [3, 4, 5]]), 400)
    assert np.all(points[:, 2] == 0) and np.all(points[:, :2] >= 0) and np.sum(points[:, 0] < 5) == 300
