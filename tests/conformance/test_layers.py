"""Every public layer: config, graph with unknown batch, both file formats, a fresh process, two replicas."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
import layers  # noqa: E402

ROOT = HERE.parents[1]
everyone = pytest.mark.parametrize("name", layers.LAYERS)


def answers(call, layer, inputs):
    """Output and gradients of the sum of its squares to every input."""
    inputs = {key: tf.constant(value) for key, value in inputs.items()}
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        output = call(layer, inputs)
        total = tf.reduce_sum(tf.square(output))
    return output.numpy(), tape.gradient(total, inputs)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * max(np.abs(expected).max(), 1e-6))


def traced(call, layer, inputs):
    specs = {key: tf.TensorSpec([None, *value.shape[1:]], name=key) for key, value in inputs.items()}
    return tf.function(lambda **x: {"output": call(layer, x)}).get_concrete_function(**specs)


@everyone
def test_config_round_trip(name):
    make, call, inputs = layers.LAYERS[name]
    layer = make()
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    np.testing.assert_array_equal(call(again, inputs), call(layer, inputs))


@everyone
def test_graph_with_unknown_batch(name):
    make, call, inputs = layers.LAYERS[name]
    layer = make()
    graph, expected = traced(call, layer, inputs), call(layer, inputs)
    close(graph(**{key: tf.constant(value) for key, value in inputs.items()})["output"], expected)
    close(graph(**{key: tf.constant(value[:1]) for key, value in inputs.items()})["output"], expected[:1])


@everyone
def test_keras_file(name, tmp_path):
    make, call, inputs = layers.LAYERS[name]
    layer = make()
    entries = {key: keras.Input(value.shape[1:], name=key) for key, value in inputs.items()}
    model = keras.Model(entries, call(layer, entries))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    close(again(inputs), call(layer, inputs))


@pytest.fixture(scope="module")
def read_elsewhere(tmp_path_factory):
    """Folder with what a process without hund_tf read from the saved layers."""
    folder = tmp_path_factory.mktemp("saved")
    for name, (make, call, inputs) in layers.LAYERS.items():
        module = tf.Module()
        module.layer = make()
        module.run = traced(call, module.layer, inputs)
        tf.saved_model.save(module, str(folder / name), signatures=module.run)
        np.savez(folder / f"{name}_in.npz", **inputs)
    subprocess.run([sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", HERE / "read_saved.py", folder, *layers.LAYERS],
                   check=True, cwd=folder, env=_without_package())
    return folder


@everyone
def test_saved_model_in_a_fresh_process(name, read_elsewhere):
    make, call, inputs = layers.LAYERS[name]
    output, slopes = answers(call, make(), inputs)
    with np.load(read_elsewhere / f"{name}_out.npz") as found:
        close(found["output"], output)
        for key, slope in slopes.items():
            close(found[f"slope_{key}"], slope)


@pytest.mark.slow
def test_two_replicas_agree_with_one():
    done = subprocess.run([sys.executable, HERE / "replicas.py", HERE, ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split("\n")[:-1] == [f"{name} agrees" for name in layers.LAYERS]


def _without_package():
    return {**{key: value for key, value in os.environ.items() if key != "PYTHONPATH"}, "TF_CPP_MIN_LOG_LEVEL": "3"}
