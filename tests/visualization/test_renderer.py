"""The hard z-buffer: hand cases, a loop twin, faces behind the camera, labels."""

import numpy as np
import pytest

from hund_tf.visualization import renderer

INTRINSICS = (40.0, 44.0, 15.0, 12.0)


def random_soup(seed, faces=40, depth=(0.5, 4.0)):
    rng = np.random.default_rng(seed)
    centre = rng.uniform([-1.2, -1.0, depth[0]], [1.2, 1.0, depth[1]], [faces, 1, 3])
    vertices = (centre + rng.normal(0, 0.5, [faces, 3, 3])).reshape(-1, 3)
    return vertices, np.arange(3 * faces, dtype=np.int32).reshape(-1, 3)


def ray_caster(vertices, faces, intrinsics, height, width, near=renderer.NEAR):
    """Pixel by pixel, face by face: the nearest hit of the ray (Moeller-Trumbore by a solve)."""
    fx, fy, cx, cy = intrinsics
    depth = np.full([height, width], np.inf)
    index = np.full([height, width], -1)
    weights = np.zeros([height, width, 3])
    for row in range(height):
        for column in range(width):
            ray = np.array([(column + 0.5 - cx) / fx, (row + 0.5 - cy) / fy, 1.0])
            for number, face in enumerate(faces):
                b = np.linalg.solve(vertices[face].T, ray)
                z = 1.0 / b.sum()
                if (b >= 0).all() and near <= z < depth[row, column]:
                    depth[row, column], index[row, column] = z, number
                    weights[row, column] = b * z
    return depth, index, weights


@pytest.mark.parametrize("seed, depth", [(0, (0.5, 4.0)), (1, (0.5, 4.0)), (2, (-1.0, 1.0))])
def test_equals_the_ray_caster(seed, depth):  # seed 2: faces through and behind the camera plane
    vertices, faces = random_soup(seed, depth=depth)
    result = renderer.render(vertices, faces, INTRINSICS, 24, 30)
    depth, index, weights = ray_caster(vertices, faces, INTRINSICS, 24, 30)
    np.testing.assert_array_equal(result.face_index, index)
    np.testing.assert_allclose(result.depth, depth, rtol=1e-5)
    np.testing.assert_allclose(result.barycentric, weights, atol=1e-5)


def test_square_worked_out_by_hand():
    # a 2 x 2 m square 2 m away, f = 2 px, centre (2, 2): pixels 1 to 3 in x and y
    vertices = np.array([[-1, -1, 2], [1, -1, 2], [1, 1, 2], [-1, 1, 2.0]])
    faces = np.array([[0, 2, 1], [0, 3, 2]])
    result = renderer.render(vertices, faces, (2, 2, 2, 2), 4, 4)
    expected = np.zeros([4, 4], bool)
    expected[1:3, 1:3] = True
    np.testing.assert_array_equal(np.isfinite(result.depth), expected)
    np.testing.assert_allclose(result.depth[expected], 2.0)
    np.testing.assert_allclose(result.barycentric[2, 1], [0.25, 0.5, 0.25])  # (1.5, 2.5) in face 1


def test_shared_edges_leave_no_gap():
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(-1, 1, 23), np.linspace(-1, 1, 23))
    vertices = np.stack([x, y, 1.0 + 0.2 * rng.random(x.shape)], -1).reshape(-1, 3)
    corner = (np.arange(22)[:, None] * 23 + np.arange(22)).ravel()
    faces = np.concatenate([np.stack([corner, corner + 23, corner + 24], 1),
                            np.stack([corner, corner + 24, corner + 1], 1)])
    result = renderer.render(vertices, faces, (100, 100, 64, 64), 128, 128)
    assert (result.face_index >= 0).all()


def test_culling_keeps_faces_seen_from_outside():
    vertices = np.array([[-1, -1, 2], [1, -1, 2], [0, 1, 2.0]])
    seen = renderer.render(vertices, [[0, 2, 1]], (9, 9, 5, 5), 10, 10, cull_back=True)
    hidden = renderer.render(vertices, [[0, 1, 2]], (9, 9, 5, 5), 10, 10, cull_back=True)
    assert (seen.face_index >= 0).any() and (hidden.face_index < 0).all()
    # its normal points at the camera
    assert (renderer.vertex_normals(vertices, np.array([[0, 2, 1]]))[:, 2] == -1).all()


@pytest.mark.parametrize("vertices", [
    [[0, 0, -2], [1, 0, -2], [0, 1, -3]],  # behind
    [[0, 0, 0], [0, 0, 0], [0, 0, 0]],  # a point in the eye
    [[0, 0, 1], [0, 0, 2], [0, 0, 3]],  # a line
    [[np.nan, 0, 1], [0, 1, 2], [1, 0, 3]],
    [[9e3, 0, 1], [9e3, 1, 2], [9e3, 0, 3]]])  # far outside
def test_hard_input_draws_nothing(vertices):
    faces, labels = [[0, 1, 2]], [3]
    assert not renderer.label_map(np.array(vertices, float), faces, labels, (9, 9, 5, 5), 10).any()


def test_label_map_is_the_label_of_the_nearest_face():
    vertices, faces = random_soup(3)
    labels = np.arange(len(faces)) % 14 + 1
    fragments = renderer.render(vertices, faces, INTRINSICS, 24, 30)
    picture = renderer.label_map(vertices, faces, labels, INTRINSICS, (24, 30))
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(
        picture, np.where(fragments.face_index >= 0, labels[fragments.face_index], 0))


def test_face_labels_follow_the_majority():
    faces = np.array([[0, 1, 2], [0, 3, 4], [1, 2, 3]])
    labels = renderer.face_labels_from_vertices(faces, np.array([1, 2, 2, 3, 3]))
    np.testing.assert_array_equal(labels, [2, 3, 2])


def test_shading_blends_the_corner_colours():
    vertices = np.array([[-1, -1, 2], [1, -1, 2], [0, 1, 2.0]])
    faces = np.array([[0, 2, 1]])
    fragments = renderer.render(vertices, faces, (9, 9, 5, 5), 10, 10)
    picture = renderer.shade(fragments, faces, vertices[:, :1])  # colour = x
    hit = fragments.face_index >= 0
    x = (np.arange(10) + 0.5 - 5) / 9 * 2
    np.testing.assert_allclose(picture[..., 0], np.where(hit, x, 0), atol=1e-6)


def test_light_is_bounded_and_finite():
    vertices, faces = random_soup(4)
    colors = renderer.lit_colors(vertices, renderer.vertex_normals(vertices, faces), [0.2, 0.9, 1])
    assert colors.shape == (len(vertices), 3) and colors.min() >= 0 and colors.max() <= 1


def test_errors_say_the_rule_and_what_came():
    vertices, faces = random_soup(0)
    with pytest.raises(ValueError, match=r"must be \[V, 3\]. Received: \(120, 2\)"):
        renderer.render(vertices[:, :2], faces, INTRINSICS, 4, 4)
    with pytest.raises(ValueError, match=r"`faces` must be \[F, 3\]"):
        renderer.render(vertices, faces[:, :2], INTRINSICS, 4, 4)
    with pytest.raises(ValueError, match="at least 1 x 1"):
        renderer.render(vertices, faces, INTRINSICS, 0, 4)
    with pytest.raises(ValueError, match="Focal lengths must be positive"):
        renderer.render(vertices, faces, (0, 1, 2, 2), 4, 4)
    with pytest.raises(ValueError, match="one label per face"):
        renderer.label_map(vertices, faces, [1, 2], INTRINSICS)
