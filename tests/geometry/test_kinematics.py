"""Forward kinematics and skinning: by hand, and against a loop."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.geometry import kinematics, rotations, skinning

ARM = [-1, 0, 1]
BEND = [[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]  # a quarter turn about z


def planes(points):
    """`[B, J, 3]` -> `[3, B, J]`."""
    return tf.transpose(points, [2, 0, 1])


def chain(turns, offsets, parents):
    """Forward kinematics of matrices `[B, J, 3, 3]` and points `[B, J, 3]`."""
    turn, place = kinematics.forward_kinematics(
        rotations.planes_from_matrix(turns), planes(offsets), kinematics.ancestor_steps(parents))
    return tf.transpose(turn, [2, 3, 0, 1]), rotations.points_from_planes(place)


def test_bent_arm_by_hand():
    # Upper arm and forearm of one metre along x; the elbow bends a quarter turn about z.
    turns = tf.constant([[np.eye(3), BEND, np.eye(3)]], tf.float32)
    offsets = tf.constant([[[5.0, 0, 0], [1, 0, 0], [1, 0, 0]]])
    turn, place = chain(turns, offsets, ARM)
    np.testing.assert_allclose(place[0], [[5, 0, 0], [6, 0, 0], [6, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(turn[0, 2], BEND, atol=1e-6)


def test_doubling_equals_a_loop_on_a_random_tree():
    rng = np.random.default_rng(0)
    parents = np.array([-1] + [rng.integers(max(0, j - 3), j) for j in range(1, 30)])
    turns = rotations.matrix_from_6d(tf.constant(rng.normal(size=(2, 30, 6))))
    offsets = tf.constant(rng.normal(size=(2, 30, 3)))
    turn, place = chain(turns, offsets, parents)
    for b in range(2):
        expected_turn, expected_place = [turns[b, 0].numpy()], [offsets[b, 0].numpy()]
        for j in range(1, 30):
            p = parents[j]
            expected_turn.append(expected_turn[p] @ turns[b, j].numpy())
            expected_place.append(expected_turn[p] @ offsets[b, j].numpy() + expected_place[p])
        np.testing.assert_allclose(turn[b], expected_turn, atol=1e-10)
        np.testing.assert_allclose(place[b], expected_place, atol=1e-10)


def test_skin_between_two_bones_is_their_mean():
    turns = tf.constant([[np.eye(3), BEND]], tf.float64)
    heads = tf.constant([[[0.0, 0, 0], [1, 0, 0]]], tf.float64)
    transforms = skinning.bone_transforms(rotations.planes_from_matrix(turns), planes(heads), planes(heads))
    weights = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    # All at (1, 0, 0); the code of 2 moves them by 1 along x.
    points = skinning.SkinnedPoints(np.tile([1.0, 0, 0], (3, 1)), np.tile([0.5, 0, 0], (1, 3, 1)), weights, run=2)
    posed = points.points(tf.constant([[2.0]], tf.float64), transforms)
    # The first bone leaves the point, the second turns it about (1, 0, 0) to (1, 1, 0).
    np.testing.assert_allclose(posed[0], [[2, 0, 0], [1, 1, 0], [1.5, 0.5, 0]], atol=1e-12)


def test_gradients_match_finite_differences():
    rng = np.random.default_rng(1)
    steps = kinematics.ancestor_steps(ARM)
    points = skinning.SkinnedPoints(rng.normal(size=(4, 3)), rng.normal(size=(2, 4, 3)), rng.dirichlet(np.ones(3), 4), run=3)
    heads = planes(tf.constant(rng.normal(size=(1, 3, 3))))

    def posed(six, codes):
        turn, place = kinematics.forward_kinematics(
            rotations.planes_from_matrix(rotations.matrix_from_6d(six)), heads, steps)
        return points.points(codes, skinning.bone_transforms(turn, place, heads))

    arguments = [tf.constant(rng.normal(size=(1, 3, 6))), tf.constant(rng.normal(size=(1, 2)))]
    for exact, numeric in zip(*tf.test.compute_gradient(posed, arguments, delta=1e-6)):
        np.testing.assert_allclose(exact, numeric, atol=1e-7)


def test_taken_joints_hand_their_gradients_back():
    values = tf.constant(np.random.default_rng(2).normal(size=(2, 5)))
    exact, numeric = tf.test.compute_gradient(
        lambda x: tf.square(kinematics.take_joints(x, [3, 0, 3])), [values], delta=1e-6)
    np.testing.assert_allclose(exact[0], numeric[0], atol=1e-8)  # joint 3 is met twice, joint 1 never
    np.testing.assert_array_equal(kinematics.take_joints(values, [3, 0, 3]), values.numpy()[:, [3, 0, 3]])


@pytest.mark.parametrize("run", [1, 3, 7, 100])
def test_runs_of_points_change_nothing(run):
    rng = np.random.default_rng(3)
    template, basis = rng.normal(size=(7, 3)), rng.normal(size=(2, 7, 3))
    weights = np.zeros((7, 4))
    for point in range(7):
        weights[point, rng.choice(4, 2, replace=False)] = 0.3, 0.7
    transforms, codes = rng.normal(size=(5, 12, 4)), rng.normal(size=(5, 2))
    skinned = skinning.SkinnedPoints(template, basis, weights, run)
    posed = skinned.points(tf.constant(codes), tf.constant(transforms))
    shaped = template + np.tensordot(codes, basis, 1)
    blended = np.einsum("vj,bcrj->bvcr", weights, transforms.reshape(5, 4, 3, 4))
    expected = np.einsum("bvcr,bvc->bvr", blended[:, :, :3], shaped) + blended[:, :, 3]
    np.testing.assert_allclose(posed, expected, atol=1e-12)
    planes_posed = skinned.planes(tf.constant(codes), tf.constant(transforms))
    np.testing.assert_array_equal(planes_posed, np.transpose(posed, [0, 2, 1]))
