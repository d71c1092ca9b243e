"""The generative body against its plain NumPy twin, its frames, its symmetry and its graph forms."""

import os
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "reference"))
import body_numpy  # noqa: E402

from hund_tf.body import template  # noqa: E402
from hund_tf.body.generative_body import GenerativeBody  # noqa: E402
from hund_tf.geometry import rotations  # noqa: E402
from hund_tf.state import ModelState  # noqa: E402

UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@pytest.fixture(scope="module")
def body():
    return GenerativeBody.from_asset()


def random_state(seed, batch=2):
    rng = np.random.default_rng(seed)
    sizes = {"theta": 306, "shape": 16, "expression": 20, "rotation": 6, "translation": 3}
    return ModelState(**{name: tf.constant(rng.normal(size=(batch, size)), tf.float32) for name, size in sizes.items()})


def t_pose(body, shape=None, expression=None, mesh="full", **turns):
    local = np.tile(np.eye(3), (1, 63, 1, 1))
    for joint, turn in turns.items():
        local[0, body.joint_names.index(joint)] = turn
    shape = np.zeros((1, 16)) if shape is None else shape
    expression = np.zeros((1, 20)) if expression is None else expression
    return body.pose_from_rotations(*(tf.constant(x, tf.float32) for x in (local, shape, expression, [UPRIGHT], [[0, 0, 0]])),
                                    mesh=mesh)


@pytest.mark.parametrize("codes", ["vae", "linear"])
@pytest.mark.parametrize("mesh", ["full", "low"])
def test_equals_the_plain_twin(mesh, codes):
    body, state = GenerativeBody.from_asset(codes=codes), random_state(0)
    posed = body(state, mesh=mesh)
    shape, expression = body.shape_codes.decode(state.shape).numpy(), body.expression_codes.decode(state.expression).numpy()
    for b in range(2):
        vertices, joints, keypoints = body_numpy.pose(
            body._template, posed.joint_rotations[b].numpy(), shape[b], expression[b], state.rotation[b].numpy(),
            state.translation[b].numpy(), mesh)
        np.testing.assert_allclose(posed.joints[b], joints, atol=1e-5)
        np.testing.assert_allclose(posed.vertices[b], vertices, atol=2e-5)
        np.testing.assert_allclose(posed.keypoints[b], keypoints, atol=2e-5)


def test_keypoints_alone_are_the_same_keypoints(body):
    state = random_state(1)
    alone = body(state, mesh=None)
    assert alone.vertices is None
    np.testing.assert_allclose(alone.keypoints, body(state).keypoints, atol=1e-6)


def test_t_pose_has_arms_along_x_and_faces_z(body):
    joints = dict(zip(body.joint_names, t_pose(body, mesh=None).joints[0].numpy()))
    arm = joints["left_wrist"] - joints["left_shoulder"]
    assert arm[0] > 0.98 * np.linalg.norm(arm)
    assert joints["head"][1] > 0.5 and joints["left_foot"][2] > joints["left_ankle"][2] + 0.05
    np.testing.assert_allclose(joints["pelvis"], 0.0, atol=1e-7)
    knuckles = joints["left_index1"] - joints["left_pinky1"]
    assert knuckles[2] > 0.9 * np.linalg.norm(knuckles)  # palm down


def test_left_elbow_bends_forward_about_minus_y(body):
    bent = t_pose(body, mesh=None, left_elbow=np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]]))
    joints = dict(zip(body.joint_names, bent.joints[0].numpy()))
    forearm = joints["left_wrist"] - joints["left_elbow"]
    assert forearm[2] > 0.98 * np.linalg.norm(forearm)


def test_curled_fingers_come_near_the_palm(body):
    quarter = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # about -z
    straight = t_pose(body, mesh=None)
    fist = t_pose(body, mesh=None, **{f"left_{f}{i}": quarter for f in ("index", "middle", "ring", "pinky") for i in (1, 2)})
    tip, wrist = (body.keypoint_names.index(f"left_hand_{name}") for name in ("middle4", "wrist"))
    reach = [np.linalg.norm(o.keypoints[0, tip] - o.keypoints[0, wrist]) for o in (straight, fist)]
    assert reach[1] < 0.75 * reach[0]
    assert fist.keypoints[0, tip, 1] < straight.keypoints[0, tip, 1]


def test_keypoints_lie_where_their_names_say(body):
    at = dict(zip(body.keypoint_names, t_pose(body, mesh=None).keypoints[0].numpy()))
    for name, point in at.items():
        if "left" in name and "nose" not in name:
            assert point[0] > 0, name
        if name.startswith("right"):
            assert point[0] < 0, name
    assert at["nose"][2] > at["left_eye"][2] > at["left_ear"][2]
    assert at["left_big_toe"][2] > at["left_ankle"][2] > at["left_heel"][2]
    assert at["left_small_toe"][0] > at["left_big_toe"][0]
    assert at["face_jaw_8"][1] < at["face_mouth_0"][1] < at["face_nose_0"][1] < at["face_left_brow_2"][1]


def test_mirror_image_of_a_pose_is_the_pose_of_the_mirrored_body(body):
    swap = [body.joint_names.index(other_side(name)) for name in body.joint_names]
    local = body.rotations_from_theta(random_state(2, 1).theta)
    shape = tf.constant(np.random.default_rng(3).normal(size=(1, 16)), tf.float32)
    rest = (shape, tf.zeros([1, 20]), tf.constant([UPRIGHT]), tf.zeros([1, 3]))
    left = body.pose_from_rotations(local, *rest)
    right = body.pose_from_rotations(tf.gather(rotations.mirrored(local), swap, axis=1), *rest)
    flip = np.array([-1, 1, 1])
    np.testing.assert_allclose(right.joints.numpy()[:, swap] * flip, left.joints, atol=1e-5)
    np.testing.assert_allclose(np.sort(right.vertices.numpy()[0, :, 1]), np.sort(left.vertices.numpy()[0, :, 1]), atol=1e-3)


def other_side(name):
    swapped = name.replace("left_", "RIGHT_").replace("right_", "left_")
    return swapped.replace("RIGHT_", "right_")


def test_codes_survive_the_round_trip(body):
    theta = random_state(4, 20).theta
    local = body.rotations_from_theta(theta)
    again = body.rotations_from_theta(body.theta_from_rotations(local))
    np.testing.assert_allclose(again, local, atol=1e-5)


def test_camera_frame_moves_the_whole_body(body):
    state = random_state(5, 1)
    moved = body(state, mesh="low")
    still = body(state._replace(rotation=tf.constant([UPRIGHT]), translation=tf.zeros([1, 3])), mesh="low")
    turn = body_numpy.matrix_from_6d(state.rotation[0].numpy())
    np.testing.assert_allclose(moved.vertices[0], still.vertices[0].numpy() @ turn.T + state.translation[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(moved.joints[0, 0], state.translation[0], atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("mesh", ["low", None])
def test_unknown_batch_in_a_graph(body, compiled, mesh):
    spec = ModelState(*(tf.TensorSpec([None, n]) for n in (306, 16, 20, 6, 3)))
    posed = tf.function(lambda state: body(state, mesh=mesh).keypoints, input_signature=[spec], jit_compile=compiled)
    state = random_state(6, 3)
    np.testing.assert_allclose(posed(state), body(state, mesh=None).keypoints, atol=2e-5)


def test_gradient_reaches_every_code(body):
    state = random_state(7, 1)
    with tf.GradientTape() as tape:
        tape.watch(state)
        total = tf.reduce_sum(tf.square(body(state, mesh="low").vertices))
    for gradient in tape.gradient(total, state):
        assert np.all(np.isfinite(gradient)) and np.any(gradient != 0)


def test_state_may_be_a_dict(body):
    state = random_state(8)
    np.testing.assert_array_equal(body(dict(state._asdict()), mesh=None).joints, body(state, mesh=None).joints)


def test_config_round_trip(body):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(body))
    state = random_state(9, 1)
    np.testing.assert_array_equal(again(state, mesh=None).joints, body(state, mesh=None).joints)


def test_priors_are_the_files_or_as_asked(body, tmp_path):
    assert (body.pose_prior, body.codes) == ("flow", "vae")
    plain = GenerativeBody.from_asset(pose_prior="gaussian", codes="linear")
    state = random_state(10, 1)
    assert np.abs(plain(state, mesh=None).joints - body(state, mesh=None).joints).max() > 0.01
    with np.load(template.find_body(), allow_pickle=False) as data:
        np.savez(tmp_path / "plain.npz", **{key: data[key] for key in data if "_vae_" not in key and "_flow_" not in key})
    unlearned = GenerativeBody.from_asset(tmp_path / "plain.npz")
    assert (unlearned.pose_prior, unlearned.codes) == ("gaussian", "linear")
    with pytest.raises(ValueError, match=r"pose_prior must be one of \('gaussian',\).*Received: 'flow'"):
        GenerativeBody.from_asset(tmp_path / "plain.npz", pose_prior="flow")
    with pytest.raises(ValueError, match="codes must be one of .*Received: 'pca'"):
        GenerativeBody.from_asset(codes="pca")


def test_wrong_states_are_refused(body):
    state = random_state(0)._asdict()
    with pytest.raises(ValueError, match="A state must be a named tuple or dict of .*Received: .*'beta'"):
        body({**state, "beta": state["shape"]})
    with pytest.raises(ValueError, match="A state must be"):
        body(tuple(state.values()))
    with pytest.raises(ValueError, match=r"local_rotations must be \[B, 63, 3, 3\]. Received: \(2, 22, 3, 3\)"):
        body.theta_from_rotations(np.zeros((2, 22, 3, 3)))
    with pytest.raises(ValueError, match=r"theta must be \[B, 306\]"):
        body.rotations_from_theta(np.zeros((2, 100)))
    with pytest.raises(ValueError, match="mesh must be one of"):
        body.faces("mid")


def test_lists_and_other_types_are_taken(body):
    state = {name: np.asarray(value, np.float64) for name, value in random_state(0, 1)._asdict().items()}
    state["rotation"] = [[1.0, 0, 0, 0, 1, 0]]
    assert body(state, mesh=None).joints.dtype == tf.float32


def test_wrong_sizes_and_meshes_are_refused(body):
    with pytest.raises(ValueError, match=r"theta must be \[B, 306\]"):
        body(random_state(0)._replace(theta=tf.zeros([2, 126])))
    with pytest.raises(ValueError, match="mesh must be one of"):
        body(random_state(0), mesh="medium")
