"""Each loss by a value worked out by hand, at its awkward point, and its gradient."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.body.generative_body import BodyOutput
from hund_tf.config import META_LOSSES, ObjectiveConfig
from hund_tf.losses import alignment, meta_losses, priors, supervision
from hund_tf.losses.objective import BodyObjective
from hund_tf.networks.context_encoder import READ_KEYPOINTS, EvidenceSummary
from hund_tf.state import BodyStateCodec


def test_keypoint_alignment_by_hand():
    projected = tf.constant([[[3.0, 4.0], [0.0, 0.0], [9.0, 9.0]]])
    loss = alignment.keypoint_alignment(projected, tf.zeros([1, 3, 2]), tf.constant([[1.0, 1.0, 0.0]]))
    np.testing.assert_allclose(loss, [2.5])


def test_keypoint_alignment_without_keypoints_is_zero():
    loss = alignment.keypoint_alignment(tf.ones([1, 3, 2]), tf.zeros([1, 3, 2]), tf.zeros([1, 3]))
    np.testing.assert_allclose(loss, [0.0])


def test_safe_norm_has_a_finite_gradient_at_zero():
    x = tf.zeros([1, 2])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = alignment.safe_norm(x)
    np.testing.assert_allclose(tape.gradient(y, x), 0.0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_keypoint_alignment_gradient(seed):
    rng = np.random.default_rng(seed)
    points, target = (tf.constant(rng.normal(size=(2, 5, 2))) for _ in range(2))
    weight = tf.constant(rng.random((2, 5)))
    exact, numeric = tf.test.compute_gradient(
        lambda p: alignment.keypoint_alignment(p, target, weight), [points], delta=1e-6)
    np.testing.assert_allclose(exact[0], numeric[0], rtol=1e-5, atol=1e-7)


def test_part_alignment_of_the_same_maps_is_zero_and_of_disjoint_ones_is_three():
    maps = tf.one_hot(tf.constant([[[0, 3], [5, 0]]]), 15)
    rendered = tf.concat([maps, 1 - maps[..., :1]], -1)
    np.testing.assert_allclose(alignment.part_alignment(rendered, maps), [0.0])
    other = tf.one_hot(tf.constant([[[1, 0], [0, 1]]]), 15)
    rendered = tf.concat([other, 1 - other[..., :1]], -1)
    np.testing.assert_allclose(alignment.part_alignment(rendered, maps), [3.0])


def test_gaussian_prior_by_hand():
    np.testing.assert_allclose(priors.gaussian_prior(tf.constant([[3.0, 4.0]])), [25.0])


def test_mean_point_error_by_hand():
    points = tf.constant([[[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]]])
    np.testing.assert_allclose(supervision.mean_point_error(points, tf.zeros_like(points)), [1.5])
    weights = tf.constant([1.0, 3.0])
    np.testing.assert_allclose(supervision.mean_point_error(points, tf.zeros_like(points), weights), [0.75])


STAGES = tf.constant([[4.0, 1.0], [3.0, 2.0], [3.5, 0.5]])


@pytest.mark.parametrize("name, value", [
    ("sum", [10.5, 3.5]), ("last", [3.5, 0.5]), ("min", [3.0, 0.5]), ("max", [4.0, 2.0]), ("oi", [-1.0, -0.5])])
def test_meta_losses_by_hand(name, value):
    np.testing.assert_allclose(meta_losses.by_name(name)(STAGES), value)


def test_unknown_meta_loss_is_refused():
    with pytest.raises(ValueError, match="must be one of"):
        meta_losses.by_name("median")


def test_the_config_knows_every_meta_loss():
    assert set(META_LOSSES) == set(meta_losses.META_LOSSES)


# d meta / d losses of STAGES by hand: of the smallest and largest stage of each example; under "oi" the stages that improve on
# the best before them gain, and the best before them is what they gain over.
@pytest.mark.parametrize("name, slopes", [
    ("sum", [[1, 1], [1, 1], [1, 1]]), ("last", [[0, 0], [0, 0], [1, 1]]), ("min", [[0, 0], [1, 0], [0, 1]]),
    ("max", [[1, 0], [0, 1], [0, 0]]), ("oi", [[-1, -1], [1, 0], [0, 1]])])
def test_meta_loss_gradients_by_hand(name, slopes):
    with tf.GradientTape() as tape:
        tape.watch(STAGES)
        value = tf.reduce_sum(meta_losses.by_name(name)(STAGES))
    np.testing.assert_array_equal(tape.gradient(value, STAGES), slopes)


def slopes_agree(function, *arguments):
    exact, numeric = tf.test.compute_gradient(function, [tf.constant(a) for a in arguments], delta=1e-6)
    for found, expected in zip(exact, numeric):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
        assert np.any(expected != 0)


@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_of_the_other_losses(seed):
    rng = np.random.default_rng(seed)
    slopes_agree(priors.gaussian_prior, rng.normal(size=(2, 4)))
    (points, truth), weights = rng.normal(size=(2, 2, 5, 3)), tf.constant(rng.random((2, 5)))
    slopes_agree(lambda p: supervision.mean_point_error(p, tf.constant(truth)), points)
    slopes_agree(lambda p: supervision.mean_point_error(p, tf.constant(truth), weights), points)
    rendered, maps = rng.random((2, 3, 3, 16)), rng.random((2, 3, 3, 15))
    slopes_agree(lambda image: alignment.part_alignment(image, tf.constant(maps)), rendered)


def test_unsure_keypoints_count_less():
    projected = tf.constant([[[3.0, 4.0], [0.0, 1.0]]])
    np.testing.assert_allclose(  # (0.2 * 5 + 0.6 * 1) / 0.8
        alignment.keypoint_alignment(projected, tf.zeros([1, 2, 2]), tf.constant([[0.2, 0.6]])), [2.0], rtol=1e-6)
    with tf.GradientTape() as tape:
        tape.watch(projected)
        loss = alignment.keypoint_alignment(projected, tf.zeros([1, 2, 2]), tf.constant([[0.2, 0.6]]))
    np.testing.assert_allclose(tape.gradient(loss, projected), [[[0.15, 0.2], [0.0, 0.75]]], rtol=1e-6)


def test_points_with_weights_of_their_own_example():
    points = tf.constant([[[1.0, 2.0, 2.0], [0.0, 0.0, 1.0]]] * 2)
    weights = tf.constant([[1.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(supervision.mean_point_error(points, tf.zeros_like(points), weights), [2.0, 0.0])


class PointBody:
    """Every keypoint lies on the optical axis, 2 m away, and moves with the pelvis; everything drawn is of part 1."""

    def __call__(self, state, mesh):
        points = tf.tile(state.translation[:, None], [1, 137, 1])
        return BodyOutput(None if mesh is None else points, points, points, None)

    def faces(self, mesh):
        return np.zeros([1, 3], np.int32)

    def part_labels(self, mesh):
        return np.ones([137], np.int32)


def draw_part_one(vertices, faces, labels, intrinsics):
    """Everything is covered by part 1, and a little more so the further right the body stands."""
    colors = tf.one_hot(tf.ones([1, 15, 15], tf.int32), 15)
    return tf.concat([colors, tf.ones([1, 15, 15, 1])], -1) + 0.01 * vertices[:, None, :1, :1]


def seen(x, confidence):
    """Evidence of keypoints at pixel x and background everywhere."""
    empty = [tf.zeros([1, *shape]) for shape in ((15, 15, 256), (30, 30, 152))]
    count = len(READ_KEYPOINTS)
    return EvidenceSummary(
        *empty, keypoints=tf.tile([[[x, 240.0]]], [1, count, 1]), confidence=tf.fill([1, count], confidence),
        landmarks3d=tf.zeros([1, 25, 3]), landmarks3d_confidence=tf.zeros([1, 25]),
        part_maps=tf.one_hot(tf.zeros([1, 60, 60], tf.int32), 15), intrinsics=tf.constant([[480.0, 480.0, 240.0, 240.0]]))


def packed_state():
    """A person in the middle, whose codes are (3, 4, 0, ...) and (0, 2, 0, ...)."""
    state = BodyStateCodec().initial(1).numpy()
    state[0, :2], state[0, 127] = (3, 4), 2
    return tf.constant(state)


def test_objective_by_hand():
    objective = BodyObjective(PointBody(), BodyStateCodec(), ObjectiveConfig(part_map_size=0))
    report = objective(packed_state(), seen(192.0, 0.5))  # a tenth of a crop away
    np.testing.assert_allclose(report.keypoint_loss, [0.1], rtol=1e-5)
    np.testing.assert_allclose(report.loss, [10 * 0.1 + 1e-3 * 25 + 1e-3 * 4], rtol=1e-5)
    np.testing.assert_allclose(objective(packed_state(), seen(192.0, 0.04)).keypoint_loss, [0.0])  # too unsure to count


@pytest.mark.parametrize("part_gradient", [True, False])
def test_objective_with_parts_by_hand(part_gradient):
    objective = BodyObjective(PointBody(), BodyStateCodec(), ObjectiveConfig(part_map_size=15, keypoint_weight=0.0), draw_part_one,
                              part_gradient)
    state = packed_state()
    with tf.GradientTape() as tape:
        tape.watch(state)
        report = objective(state, seen(240.0, 1.0))
    np.testing.assert_allclose(report.part_loss, [3.0], atol=1e-5)  # background, part and visibility are all wrong
    np.testing.assert_allclose(report.loss, [3.0 + 1e-3 * 25 + 1e-3 * 4], rtol=1e-5)
    sideways = tape.gradient(report.loss, state)[0, 148]
    assert (sideways != 0) == part_gradient


@pytest.mark.parametrize("place", [0, 127, 148, 150])
def test_objective_gradient(place):
    objective = BodyObjective(PointBody(), BodyStateCodec(), ObjectiveConfig(part_map_size=0))
    state, evidence = packed_state(), seen(192.0, 0.5)

    def along(step):
        return objective(state + step * tf.one_hot([place], 151), evidence).loss[0]

    with tf.GradientTape() as tape:
        step = tf.constant(0.0)
        tape.watch(step)
        value = along(step)
    np.testing.assert_allclose(tape.gradient(value, step), (along(1e-2) - along(-1e-2)) / 2e-2, rtol=2e-3, atol=1e-4)
