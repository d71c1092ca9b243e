"""The soft rasterizer: its loop twin, a hand case, gradients, hard input, and the hard limit."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from hund_tf.geometry.soft_rasterizer import SoftRasterizer, soft_rasterize
from hund_tf.visualization import renderer


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_ROOT = pathlib.Path(__file__).parents[2]
twin = load(_ROOT / "tests" / "reference" / "soft_rasterizer_numpy.py")
dense = load(_ROOT / "tools" / "dense_soft_rasterizer.py")

SIZE = (13, 14)
INTRINSICS = np.array([[12.0, 13.0, 7.0, 6.5], [9.0, 9.5, 6.0, 7.0]])
SETTINGS = dict(sigma=0.5, gamma=5e-4, cutoff=1e-4)


def soup(seed, vertices=30, faces=25, channels=4):
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 0.5, [2, vertices, 3]) + [0, 0, 2.5]
    corners = np.stack([rng.permutation(vertices)[:3] for _ in range(faces)]).astype(np.int32)
    return points, corners, np.eye(channels)[rng.integers(0, channels, vertices)]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("one_hot", [True, False])
def test_equals_the_loop_twin(seed, one_hot):
    points, faces, labels = soup(seed)
    if not one_hot:
        labels = np.random.default_rng(seed).random(labels.shape)
    ours = soft_rasterize(points, faces, labels, INTRINSICS, SIZE, **SETTINGS)
    for image in range(2):
        theirs = twin.soft_rasterize(points[image], faces, labels, INTRINSICS[image], SIZE, **SETTINGS)
        np.testing.assert_allclose(ours[image], theirs, rtol=1e-7, atol=1e-7)  # float64
    single = soft_rasterize(points.astype(np.float32), faces, labels.astype(np.float32),
                            INTRINSICS.astype(np.float32), SIZE, **SETTINGS)
    assert np.mean(np.abs(single.numpy() - ours.numpy()) > 2e-4) < 0.01  # pixels at the cut-off may fall either way


def test_windows_cover_each_footprint():
    points, faces, labels = soup(2)
    ours = soft_rasterize(points, faces, labels, INTRINSICS, SIZE, **SETTINGS)
    dense = twin.soft_rasterize(points[0], faces, labels, INTRINSICS[0], SIZE,
                                **{**SETTINGS, "cutoff": 0.0})
    np.testing.assert_allclose(ours[0, ..., -1], dense[..., -1], atol=1e-3)


def test_five_by_five_worked_out_by_hand():
    # one face 2 m away with corners at pixels (0, 0), (5, 0), (0, 5)
    points = np.array([[[0, 0, 2], [5, 0, 2], [0, 5, 2]]], float)
    picture = soft_rasterize(points, [[0, 1, 2]], np.eye(3), [[2.0, 2, 0, 0]], (5, 5), sigma=1.0,
                             cutoff=1e-6)[0].numpy()
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    # pixel (0.5, 0.5): nearest edges at 0.5; weights 1 - 0.2, 0.1, 0.1
    np.testing.assert_allclose(picture[0, 0], [0.8, 0.1, 0.1, sigmoid(0.25)])
    # pixel (4.5, 4.5): outside, foot (2.5, 2.5) on the long edge, squared distance 2 x 2^2
    np.testing.assert_allclose(picture[4, 4], [0, 0.5, 0.5, sigmoid(-8.0)])
    # pixel (1.5, 1.5): the left and upper edges are at 1.5, the long one at 2 / sqrt(2)
    np.testing.assert_allclose(picture[1, 1], [0.4, 0.3, 0.3, sigmoid(2.0)])


@pytest.mark.parametrize("one_hot", [True, False])
def test_gradient_matches_finite_differences(one_hot):
    points, faces, labels = soup(3, faces=12)
    upstream = np.random.default_rng(0).normal(size=[2, *SIZE, 5])
    if not one_hot:
        labels = np.random.default_rng(1).random(labels.shape)

    @tf.function
    def total(vertices):
        return tf.reduce_sum(
            soft_rasterize(vertices, faces, labels, INTRINSICS, SIZE, **SETTINGS) * upstream)

    variable = tf.constant(points)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = total(variable)
    gradient = tf.convert_to_tensor(tape.gradient(value, variable)).numpy()
    for direction in np.random.default_rng(2).normal(size=[6, *points.shape]):
        step = 1e-7 * direction  # small: few pixels cross the cut-off, where the picture jumps
        numeric = total(tf.constant(points + step)) - total(tf.constant(points - step))
        numeric = numeric.numpy() / 2e-7
        np.testing.assert_allclose((gradient * direction).sum(), numeric, rtol=1e-4, atol=1e-4)


def test_gradient_equals_central_differences_of_the_loop_twin():
    points, faces, labels = soup(10, vertices=12, faces=6, channels=3)
    labels, size = np.random.default_rng(0).random(labels.shape), (6, 7)
    upstream = np.random.default_rng(1).normal(size=[2, *size, 4])

    def twin_total(points, labels, lens):
        pictures = [twin.soft_rasterize(points[i], faces, labels, lens[i], size, **SETTINGS) for i in range(2)]
        return np.sum(np.stack(pictures) * upstream)

    inputs = [points, labels, INTRINSICS * 0.5]
    watched = [tf.constant(values) for values in inputs]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        picture = soft_rasterize(watched[0], faces, watched[1], watched[2], size, constant_labels=False, **SETTINGS)
        total = tf.reduce_sum(picture * upstream)
    gradients = tape.gradient(total, watched)
    np.testing.assert_allclose(total, twin_total(*inputs), rtol=1e-5)
    rng = np.random.default_rng(2)
    for which, gradient in enumerate(gradients):
        for _ in range(3):
            step = rng.normal(size=inputs[which].shape) * 1e-6
            ahead, behind = list(inputs), list(inputs)
            ahead[which], behind[which] = inputs[which] + step, inputs[which] - step
            numeric = (twin_total(*ahead) - twin_total(*behind)) / 2e-6
            np.testing.assert_allclose(np.sum(gradient.numpy() * step) / 1e-6, numeric, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 6])
def test_equals_the_dense_form_where_work_is_done_in_pieces(channels):
    points, faces, labels = soup(11, vertices=60, faces=40, channels=channels)
    points, labels = points.astype(np.float32), labels.astype(np.float32)
    lens, size = np.float32(INTRINSICS * 6.0), (75, 90)  # far more pixels of faces than one piece holds
    ours, gradients = [], []
    for rasterize in (soft_rasterize, dense.dense_soft_rasterize):
        with tf.GradientTape() as tape:
            variable = tf.Variable(points)
            picture = rasterize(variable, faces, labels, lens, size, sigma=0.5)
            total = tf.reduce_sum(picture ** 2)
        ours.append(picture.numpy())
        gradients.append(tf.convert_to_tensor(tape.gradient(total, variable)).numpy())
    np.testing.assert_allclose(ours[0][..., -1], ours[1][..., -1], atol=1e-4)
    off = np.abs(ours[0][..., :-1] - ours[1][..., :-1]).max(axis=-1) > 1e-3
    assert off.mean() < 1e-3  # pixels at the cut-off may fall either way
    error = np.linalg.norm(gradients[0] - gradients[1]) / np.linalg.norm(gradients[1])
    assert error < 1e-2


def test_a_variable_of_labels_has_a_gradient():
    points, faces, labels = soup(4)
    variable = tf.Variable(labels)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(soft_rasterize(points, faces, variable, INTRINSICS, SIZE, **SETTINGS)[..., 0])
    assert np.abs(tf.convert_to_tensor(tape.gradient(total, variable)).numpy()).max() > 0.1


def test_a_gradient_of_the_gradient_is_an_error():
    points, faces, labels = soup(4)
    points = tf.constant(points)
    with tf.GradientTape() as outer:
        outer.watch(points)
        with tf.GradientTape() as inner:
            inner.watch(points)
            total = tf.reduce_sum(soft_rasterize(points, faces, labels, INTRINSICS, SIZE, **SETTINGS) ** 2)
        size = tf.reduce_sum(inner.gradient(total, points) ** 2)
    with pytest.raises(LookupError, match="no gradient of its gradient"):
        outer.gradient(size, points)


def test_nothing_to_draw_is_an_empty_picture():
    _, faces, labels = soup(4)
    nobody = soft_rasterize(np.zeros([0, 30, 3]), faces, labels, np.zeros([0, 4]), SIZE, **SETTINGS)
    assert nobody.shape == (0, *SIZE, 5)
    watched = [tf.zeros([0, 30, 3]), tf.Variable(labels), tf.zeros([0, 4])]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        total = tf.reduce_sum(soft_rasterize(watched[0], faces, watched[1], watched[2], SIZE, **SETTINGS))
    for tensor, gradient in zip(watched, tape.gradient(total, watched)):
        assert gradient.shape == tensor.shape and not gradient.numpy().any()
    blank = soft_rasterize(np.zeros([2, 30, 3]), faces[:0], labels, INTRINSICS, SIZE, **SETTINGS)
    assert blank.shape == (2, *SIZE, 5) and not blank.numpy().any()


def test_gradient_to_labels_is_the_share_of_each_vertex():
    points, faces, labels = soup(4)
    labels = tf.Variable(labels)
    with tf.GradientTape() as tape:
        picture = soft_rasterize(points, faces, labels, INTRINSICS, SIZE, constant_labels=False,
                                 **SETTINGS)
        total = tf.reduce_sum(picture[..., 0])
    gradient = tf.convert_to_tensor(tape.gradient(total, labels))
    np.testing.assert_allclose(tf.reduce_sum(gradient * labels), total)  # linear in the labels
    assert np.all(gradient.numpy()[:, 1:] == 0)


HARD = {
    "behind": [[0, 0, -2], [1, 0, -2], [0, 1, -2]],
    "across the camera plane": [[0, 0, -1], [1, 0, 2], [0, 1, 2]],
    "in the eye": [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
    "a point": [[0, 0, 2], [0, 0, 2], [0, 0, 2]],
    "a line": [[0, 0, 2], [0.5, 0, 2], [1, 0, 2]],
    "edge-on": [[0, 0, 2], [0, 0, 3], [0, 0, 4]],
    "outside": [[90, 0, 2], [91, 0, 2], [90, 1, 2]],
    "too far": [[0, 0, 200], [1, 0, 200], [0, 1, 200]],
}


@pytest.mark.parametrize("name", HARD)
def test_hard_faces_add_nothing(name):
    points = tf.constant([HARD[name]], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(points)
        picture = soft_rasterize(points, [[0, 1, 2]], np.eye(3, dtype=np.float32),
                                 INTRINSICS[:1].astype(np.float32), SIZE, **SETTINGS)
        total = tf.reduce_sum(picture)
    assert not picture.numpy().any()
    assert not tf.convert_to_tensor(tape.gradient(total, points)).numpy().any()


def test_a_hard_face_beside_a_good_one_changes_nothing():
    points, faces, labels = soup(5)
    rows = np.concatenate([np.array(HARD[name]) for name in HARD]).astype(float)
    more = np.concatenate([points, np.tile(rows, [2, 1, 1])], axis=1)
    extra = np.arange(len(rows), dtype=np.int32).reshape(-1, 3) + points.shape[1]
    with tf.GradientTape() as tape:
        variable = tf.Variable(more)
        both = soft_rasterize(variable, np.concatenate([faces, extra]),
                              np.concatenate([labels, labels[:len(rows)]]), INTRINSICS, SIZE,
                              **SETTINGS)
        total = tf.reduce_sum(both ** 2)
    alone = soft_rasterize(points, faces, labels, INTRINSICS, SIZE, **SETTINGS)
    np.testing.assert_allclose(both, alone, atol=1e-9)
    assert np.isfinite(tf.convert_to_tensor(tape.gradient(total, variable)).numpy()).all()


def test_vanishing_softness_is_the_hard_renderer():
    points, faces, _ = soup(6, vertices=18, faces=6)
    faces = np.arange(18, dtype=np.int32).reshape(6, 3)
    labels = np.eye(6)[np.repeat(np.arange(6), 3)]
    picture = soft_rasterize(points, faces, labels, INTRINSICS, SIZE, sigma=1e-6, gamma=1e-6,
                             cutoff=0.4)[0].numpy()
    hard = renderer.render(points[0], faces, INTRINSICS[0], *SIZE).face_index
    np.testing.assert_array_equal(picture[..., -1] > 0.5, hard >= 0)
    np.testing.assert_array_equal(picture[..., :-1].argmax(axis=-1)[hard >= 0], hard[hard >= 0])


def test_occluded_faces_get_a_gradient_when_gamma_is_wide():
    points = np.array([[[-1, -1, 2], [1, -1, 2], [0, 1, 2], [-1, -1, 2.2], [1, -1, 2.2], [0, 1, 2.2]]],
                      float)
    variable = tf.Variable(points)
    with tf.GradientTape() as tape:
        picture = soft_rasterize(variable, [[0, 1, 2], [3, 4, 5]], np.eye(2)[[0, 0, 0, 1, 1, 1]],
                                 INTRINSICS[:1], SIZE, sigma=0.5, gamma=1e-2)
        total = tf.reduce_sum(picture[..., 1])
    gradient = tf.convert_to_tensor(tape.gradient(total, variable)).numpy()[0, 3:]
    assert np.abs(gradient).min(axis=0).max() > 1e-3 and gradient[:, 2].sum() < 0  # nearer: seen more


@pytest.mark.parametrize("gradient", [False, True])
def test_runs_in_a_graph_with_unknown_batch_and_vertices(gradient):
    points, faces, labels = soup(7)
    layer = SoftRasterizer(SIZE, dtype="float64", **SETTINGS)
    faces, labels = tf.constant(faces), tf.constant(labels)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.float64),
                                  tf.TensorSpec([None, 4], tf.float64)])
    def run(vertices, intrinsics):
        with tf.GradientTape() as tape:
            tape.watch(vertices)
            picture = layer(vertices, faces, labels, intrinsics)
        return tape.gradient(picture, vertices) if gradient else picture

    whole = run(points, INTRINSICS)
    assert whole.shape[0] == 2 and np.isfinite(whole.numpy()).all()
    for image in range(2):
        part = run(points[image:image + 1], INTRINSICS[image:image + 1])
        np.testing.assert_allclose(whole[image], part[0], rtol=1e-7, atol=1e-9)


def test_config_round_trip():
    layer = SoftRasterizer(30, sigma=0.3, gamma=2e-4, cutoff=1e-3, name="parts")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert isinstance(again, SoftRasterizer) and again.get_config() == layer.get_config()


def test_errors_say_the_rule_and_what_came():
    points, faces, labels = soup(8)
    with pytest.raises(ValueError, match=r"`vertices_camera` must be \[B, V, 3\].*\(30, 3\)"):
        soft_rasterize(points[0], faces, labels, INTRINSICS, SIZE)
    with pytest.raises(ValueError, match=r"`faces` must be \[F, 3\]"):
        soft_rasterize(points, faces[:, :2], labels, INTRINSICS, SIZE)
    with pytest.raises(ValueError, match=r"`intrinsics` must be \[B, 4\]"):
        soft_rasterize(points, faces, labels, INTRINSICS[:, :3], SIZE)
    with pytest.raises(ValueError, match="`sigma` and `gamma` must be positive.*sigma=0"):
        SoftRasterizer(10, sigma=0)
    with pytest.raises(ValueError, match="`image_size` must be a positive side"):
        SoftRasterizer((10, 0))
    for rule, settings in (("finite numbers.*sigma=nan", dict(sigma=float("nan"))),
                           ("finite numbers.*background=nan", dict(background=float("nan"))),
                           ("finite numbers.*far='9'", dict(far="9")), ("0 < near < far", dict(near=200.0)),
                           (r"whole numbers. Received: 60\.0", dict(image_size=60.0)),
                           ("whole numbers. Received: '60'", dict(image_size="60"))):
        settings = {"image_size": 10, **settings}
        with pytest.raises(ValueError, match=rule):
            SoftRasterizer(**settings)
        with pytest.raises(ValueError, match=rule):
            soft_rasterize(points, faces, labels, INTRINSICS, **settings)
    for rule, arguments in (("`labels` must have one row a vertex", (points, faces, labels[:29], INTRINSICS)),
                            ("`intrinsics` must have one row an image", (points, faces, labels, INTRINSICS[:1])),
                            ("`intrinsics` must have one row an image", (points[:1], faces, labels, INTRINSICS)),
                            ("`faces` must be of an integer.*float64", (points, faces * 1.0, labels, INTRINSICS)),
                            ("0 to V - 1.*-1 to", (points, np.minimum(faces, -1), labels, INTRINSICS)),
                            ("0 to V - 1.*to 30, of 30", (points, np.maximum(faces, 30), labels, INTRINSICS)),
                            ("float32 or float64.*float16", (np.float16(points), faces, labels, INTRINSICS)),
                            ("float32 or float64.*int64", (points.astype(int), faces, labels, INTRINSICS))):
        with pytest.raises(ValueError, match=rule):
            soft_rasterize(*arguments, SIZE)


def test_unequal_batches_that_a_graph_does_not_know_are_an_error():
    points, faces, labels = soup(8)

    @tf.function(input_signature=[tf.TensorSpec([None, 30, 3], tf.float64), tf.TensorSpec([None, 4], tf.float64)])
    def run(vertices, intrinsics):
        return soft_rasterize(vertices, faces, labels, intrinsics, SIZE)

    with pytest.raises(tf.errors.InvalidArgumentError, match="one row an image"):
        run(points, INTRINSICS[:1])


def test_the_order_of_faces_does_not_matter_where_pieces_are_filled_up():
    # the first face covers the spot far to the upper left where filling tiles lie
    points = np.array([[[-30000, -28000, 1], [-30000, -32000, 1], [300, 400, 1],
                        [50, 250, 0.9], [250, 250, 0.9], [250, 30, 0.9]]])
    faces, labels, lens = np.arange(6).reshape(2, 3), np.eye(2)[[0, 0, 0, 1, 1, 1]], [[1.0, 1.0, 0.0, 0.0]]
    ours, turned = (soft_rasterize(points, order, labels, lens, 300) for order in (faces, faces[::-1]))
    np.testing.assert_allclose(ours, turned, atol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_vertex_that_is_nowhere_is_left_out(bad, axis):
    points, faces, labels = soup(9)
    hidden = points.copy()
    points[0, faces[0, 0], axis], hidden[0, faces[0, 0], 2] = bad, -1.0
    results = []
    for values in (points, hidden):
        watched = [tf.constant(values), tf.constant(INTRINSICS)]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            picture = soft_rasterize(watched[0], faces, labels, watched[1], SIZE, **SETTINGS)
            total = tf.reduce_sum(picture ** 2)
        results.append([picture, *tape.gradient(total, watched)])
    for ours, expected in zip(*results):
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)
        assert np.isfinite(ours).all()


def test_a_mixed_precision_policy_does_not_change_the_picture():
    points, faces, labels = soup(9)
    points, labels, lens = np.float32(points), np.float32(labels), np.float32(INTRINSICS)
    picture = SoftRasterizer(SIZE, dtype="mixed_float16", **SETTINGS)(tf.constant(points), faces, labels, lens)
    np.testing.assert_array_equal(picture, soft_rasterize(points, faces, labels, lens, SIZE, **SETTINGS))
