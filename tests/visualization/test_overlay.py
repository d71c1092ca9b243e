"""The picture of a result: occlusion between people, every kind of photo, every number of people."""

import numpy as np
import pytest
import trimesh

from hund_tf.visualization import overlay


def ball(x=0.0, y=0.0, z=4.0, radius=0.5):
    mesh = trimesh.creation.icosphere(2, radius)
    return mesh.vertices + [x, y, z], np.asarray(mesh.faces)


def camera(height, width):
    focal = float(max(height, width))
    return focal, focal, width / 2, height / 2


def photo(height, width, value=90):
    return np.full([height, width, 3], value, np.uint8)


@pytest.mark.parametrize("height, width", [
    (500, 800), (800, 500), (1, 1), (3, 40), (60, 60), (200, 4000), (4000, 200), (3000, 2000)])
@pytest.mark.parametrize("people", [0, 1, 2])
def test_any_photo_gives_a_picture(height, width, people):
    meshes = [ball(x=0.4 * number) for number in range(people)]
    picture = overlay.draw_overlay(photo(height, width), meshes, camera(height, width), max_side=900)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    assert 400 <= max(picture.shape) <= 900 * 2


def test_twenty_people_have_distinct_colours():
    colors = np.stack([overlay.person_color(number) for number in range(20)])
    gaps = np.linalg.norm(colors[:, None] - colors[None], axis=2) + np.eye(20)
    assert gaps.min() > 0.05


def test_the_nearer_person_hides_the_farther_one():
    image, intrinsics = photo(600, 600), camera(600, 600)
    near, far = ball(z=3.0), ball(z=5.0, radius=0.6)
    first = overlay.draw_overlay(image, [near, far], intrinsics, opacity=1.0)
    second = overlay.draw_overlay(image, [far, near], intrinsics, opacity=1.0)
    blue, orange = first[300, 300].astype(int), second[300, 300].astype(int)
    assert blue[2] > blue[0] and orange[0] > orange[2]  # each time the colour of the near ball
    alone = overlay.draw_overlay(image, [near], intrinsics, opacity=1.0)
    np.testing.assert_array_equal(first[260:340, 260:340], alone[260:340, 260:340])


def test_the_photo_is_untouched_beside_the_people():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, [600, 600, 3], np.uint8)
    picture = overlay.draw_overlay(image, [ball()], camera(600, 600))
    np.testing.assert_array_equal(picture[:200, :600], image[:200])
    assert np.abs(picture[300, 300].astype(int) - image[300, 300]).max() > 5


def test_faces_turned_inside_out_look_the_same():
    image, intrinsics = photo(480, 480), camera(480, 480)
    vertices, faces = ball()
    np.testing.assert_array_equal(
        overlay.draw_overlay(image, [(vertices, faces)], intrinsics),
        overlay.draw_overlay(image, [(vertices, faces[:, ::-1])], intrinsics))


def test_hard_people_are_harmless():
    vertices, faces = ball()
    image, intrinsics = photo(480, 600), camera(480, 600)
    behind, around = ball(z=-3.0), ball(z=0.1)
    broken = np.full_like(vertices, np.nan), faces
    picture = overlay.draw_overlay(image, [behind, around, broken], intrinsics)
    assert picture.shape[0] == 480
    nobody = overlay.draw_overlay(image, [broken], intrinsics)
    np.testing.assert_array_equal(nobody, overlay.draw_overlay(image, [], intrinsics))
    np.testing.assert_array_equal(nobody[:480], image)
    assert nobody[480:].min() < 150 < nobody[480:].max()  # a light strip with dark words


def test_scene_is_fitted_to_the_picture():
    picture = overlay.draw_scene([ball(z=9.0, radius=0.1), ball(x=0.5, z=9.0)], 300, 200)
    colored = np.ptp(picture.astype(int), axis=2) > 30
    rows, columns = np.flatnonzero(colored.any(axis=1)), np.flatnonzero(colored.any(axis=0))
    assert rows[0] > 5 and rows[-1] < 295 and columns[0] > 5 and columns[-1] < 195
    assert columns[-1] - columns[0] > 150


def test_errors_say_the_rule_and_what_came():
    with pytest.raises(ValueError, match=r"must be uint8 \[H, W, 3\].*float64"):
        overlay.draw_overlay(np.zeros([4, 4, 3]), [], camera(4, 4))
    with pytest.raises(ValueError, match="`max_side` must be positive. Received: 0"):
        overlay.draw_overlay(photo(4, 4), [], camera(4, 4), max_side=0)
    with pytest.raises(ValueError, match="at least one mesh"):
        overlay.draw_scene([], 10, 10)
