"""Imported networks against the published files, and what the importer must refuse."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.sensing import faces, movenet
from hund_tf.sensing.network_graph import ASSETS, NetworkGraph, load_network
from hund_tf.sensing.network_operators import OPERATORS

ROOT = pathlib.Path(__file__).parents[2]
GOLDENS = ROOT / "tests" / "goldens" / "sensing" / "networks.npz"
NETWORKS = ("face", "face_detector", "hand", "hand_recrop", "multipose", "pose_heavy", "thunder")
INPUTS = {"pose_heavy": (256, 0, 1), "hand_recrop": (256, 0, 1), "hand": (224, 0, 1), "face_detector": (128, -1, 1),
          "face": (192, 0, 1), "multipose": (256, -1, 1), "thunder": (256, -1, 1)}


def network_input(image, name):
    size, low, high = INPUTS[name]
    return (image[None, :size, :size].astype(np.float32) / 255 * (high - low) + low).astype(np.float32)


@pytest.fixture(scope="module")
def goldens():
    with np.load(GOLDENS, allow_pickle=False) as arrays:
        return dict(arrays)


def run(name, image):
    network = load_network(name)
    return tf.function(network, input_signature=[tf.TensorSpec(network.input_shape, tf.float32)])(
        tf.constant(network_input(image, name)))


def assert_close(found, wanted, name):
    if name == "pose_heavy/mask":  # an ill-conditioned head: TFLite's own kernels differ by 0.4 in its logits
        found, wanted = (1 / (1 + np.exp(-v)) for v in (found, wanted))
    np.testing.assert_allclose(found, wanted, atol=1e-3 * max(np.abs(wanted).max(), 1e-3), rtol=0, err_msg=name)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_equal_the_published_network(name, goldens):
    outputs = run(name, goldens["image"])
    compared = 0
    for output, values in outputs.items():
        wanted = goldens.get(f"{name}/{output}")
        if wanted is not None:
            flat = values.numpy().reshape(-1)
            assert_close(flat[::max(1, -(-flat.size // 400))], wanted, f"{name}/{output}")
            compared += 1
    assert compared >= 1


def test_thunder_decoder_equals_the_published_decoder(goldens):
    found = movenet.decode_thunder(run("thunder", goldens["image"]))[0]
    wanted = goldens["thunder/people"].reshape(17, 3)  # y, x, score
    np.testing.assert_allclose(found[:, :2], wanted[:, 1::-1], atol=1e-3)
    np.testing.assert_allclose(found[:, 2], wanted[:, 2], atol=1e-3)


def test_multipose_decoder_finds_the_published_person(goldens):
    boxes, scores, keypoints = movenet.decode_multipose(run("multipose", goldens["image"]), 6, 0.3)
    wanted = goldens["multipose/people"].reshape(6, 56)[0]  # 17 x (y, x, score), box (y0, x0, y1, x1), score
    assert float(scores[0, 0]) > 0.5
    np.testing.assert_allclose(boxes[0, 0] / 256, wanted[[52, 51, 54, 53]], atol=0.03)
    np.testing.assert_allclose(keypoints[0, 0, :, :2] / 256, wanted[:51].reshape(17, 3)[:, 1::-1], atol=0.03)


@pytest.mark.skipif("HUND_TF_REFERENCE_MODELS" not in os.environ, reason="needs the published model files")
def test_outputs_equal_the_published_files_run_now(goldens):
    sys.path.insert(0, str(ROOT / "tools"))
    import make_sensing_goldens

    image = np.rot90(goldens["image"]).copy()  # not the golden picture itself
    wanted = make_sensing_goldens.reference_outputs(os.environ["HUND_TF_REFERENCE_MODELS"], image)
    for name in NETWORKS:
        for output, values in run(name, image).items():
            if f"{name}/{output}" in wanted:
                assert_close(values.numpy().reshape(-1), wanted[f"{name}/{output}"].reshape(-1), f"{name}/{output}")


@pytest.mark.parametrize("name", ["hand_recrop", "thunder"])
def test_batch_equals_one_by_one(name):
    network = load_network(name)
    call = tf.function(network, input_signature=[tf.TensorSpec(network.input_shape, tf.float32)])
    images = tf.constant(np.random.default_rng(0).uniform(0, 1, (2, 256, 256, 3)), tf.float32)
    together, second = call(images), call(images[1:])
    for output, values in together.items():
        np.testing.assert_allclose(values[1], second[output][0], rtol=1e-3, atol=1e-4 * float(tf.reduce_max(abs(values))))


@pytest.mark.slow
def test_onednn_does_not_crash():
    """A segmentation fault would end pytest, so the networks that provoked one run in a process of their own."""
    code = (
        "import tensorflow as tf\n"
        "from hund_tf.sensing.network_graph import load_network\n"
        "for name in ('pose_heavy', 'face_detector'):\n"
        "    network = load_network(name)\n"
        "    call = tf.function(network, input_signature=[tf.TensorSpec(network.input_shape, tf.float32)])\n"
        "    call(tf.ones([1, *network.input_shape[1:]]))\n"
        "print('alive')\n")
    environment = dict(os.environ, TF_ENABLE_ONEDNN_OPTS="1", TF_CPP_MIN_LOG_LEVEL="3")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "alive" in done.stdout, done.stderr[-2000:]


def test_second_look_at_the_eyes_falls_on_the_first(goldens):
    """A wrong list of vertices would tear the mesh apart: both looks mean the same places."""
    out = run("face", goldens["image"])
    first = tf.reshape(out["mesh"], [468, 3])[:, :2].numpy()
    whole = faces.full_mesh(out)[0].numpy()
    size = np.ptp(first, 0).max()
    assert whole.shape == (478, 2)
    moved = np.linalg.norm(whole[:468] - first, axis=-1) / size
    assert np.median(moved[moved > 0]) < 0.05 and moved.max() < 0.25


def test_landmarks_to_transform_by_hand():
    """Two eyes on a level line, 4 apart: the region keeps its axes and is scaled to 8 x 4 pixels."""
    landmarks = tf.constant([[[2.0, 3.0, 0.0], [6.0, 3.0, 0.0], [4.0, 5.0, 0.0]]])
    matrix = OPERATORS["landmarks_to_transform"]([landmarks], {
        "left_rotation_idx": 0, "right_rotation_idx": 1, "target_rotation_radians": 0.0, "subset_idxs": [0, 1, 2],
        "output_width": 8.0, "output_height": 4.0, "scale_x": 1.0, "scale_y": 1.0})
    np.testing.assert_allclose(matrix[0], [[0.5, 0, 0, 2], [0, 0.5, 0, 3], [0, 0, 1, 0], [0, 0, 0, 1]], atol=1e-6)


def test_transform_bilinear_of_the_identity_returns_its_input():
    features = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 6, 3)), tf.float32)
    same = OPERATORS["transform_bilinear"]([features, tf.eye(4, batch_shape=[2])], {"size": [5, 6]})
    np.testing.assert_allclose(same, features, atol=1e-6)


def test_unknown_operation_and_wrong_weights_are_refused():
    description = {"name": "n", "input_shape": [None, 2], "outputs": {"y": "t0"},
                   "operations": [{"kind": "magic", "inputs": ["x"], "output": "t0"}]}
    with pytest.raises(ValueError, match="`operations` must be among"):
        NetworkGraph(description, {})
    description["operations"][0]["kind"] = "relu"
    with pytest.raises(ValueError, match="too many: .'w0'"):
        NetworkGraph(description, {"w0": np.zeros(1)})


def test_missing_and_changed_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="convert_landmark_networks.py"):
        load_network("hand_recrop", tmp_path)
    for file in ("index.json", "hand_recrop.json", "hand_recrop.npz"):
        (tmp_path / file).write_bytes((ASSETS / file).read_bytes())
    load_network("hand_recrop", tmp_path)
    (tmp_path / "hand_recrop.json").write_text("{}")
    with pytest.raises(ValueError, match="must have sha256"):
        load_network("hand_recrop", tmp_path)


def test_assets_are_small_and_have_source_and_licence():
    import json

    index = json.loads((ASSETS / "index.json").read_text())
    assert set(index["networks"]) == set(NETWORKS)
    assert all(n["licence"] == "Apache-2.0" and n["source_sha256"] for n in index["networks"].values())
    assert sum(f.stat().st_size for f in ASSETS.iterdir()) < 60e6


def test_large_weights_are_variables_and_small_ones_pass_through_no_graph():
    """A session that serves an export copies what is captured as a constant with every graph."""
    network = load_network("hand")
    sizes = [int(np.prod(variable.shape)) for variable in network.variables]
    with np.load(ASSETS / "hand.npz") as arrays:
        assert sorted(sizes) == sorted(arrays[name].size for name in arrays if arrays[name].size >= 2**14)
    graph = tf.function(network.__call__).get_concrete_function(tf.TensorSpec(network.input_shape, tf.float32))
    assert len(graph.captured_inputs) == len(sizes) > 0 and not network.trainable_variables
