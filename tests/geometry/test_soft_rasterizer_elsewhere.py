"""The soft rasterizer away from home: in a SavedModel, in a process without this package, on two replicas."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.geometry.soft_rasterizer import SoftRasterizer

SIZE = (9, 11)
INTRINSICS = np.array([[9.0, 9.0, 5.0, 5.0], [8.0, 9.5, 6.0, 4.0]])
POINTS = np.random.default_rng(0).normal(0, 0.5, [2, 12, 3]) + [0, 0, 2.5]
FACES = np.arange(12, dtype=np.int32).reshape(4, 3)
LABELS = np.eye(3)[np.random.default_rng(0).integers(0, 3, 12)]

RELOAD = """
import sys
import numpy as np
sys.modules["hund_tf"] = None  # cannot be imported
import tensorflow as tf
folder, result = sys.argv[1:]
data = np.load(folder + "/input.npz")
render = tf.saved_model.load(folder + "/model").render
points, lens, labels = (tf.constant(data[name]) for name in ("points", "lens", "labels"))
with tf.GradientTape() as tape:
    tape.watch([points, lens, labels])
    picture = render(points, lens, labels)
    total = tf.reduce_sum(picture ** 2)
gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(total, [points, lens, labels])]
np.savez(result, picture, *gradients)
"""

REPLICAS = """
import sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from hund_tf.geometry.soft_rasterizer import SoftRasterizer
folder, result = sys.argv[1:]
data = np.load(folder + "/input.npz")
layer = SoftRasterizer((9, 11), sigma=0.5, dtype="float64")
faces = np.arange(12, dtype=np.int32).reshape(4, 3)
gradients = []
for count in (1, 2):
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])
    with strategy.scope():
        shift = tf.Variable(np.zeros([12, 3]))

    @tf.function
    def step(points, lens):
        def replica(points, lens):
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(layer(points + shift, faces, data["labels"], lens) ** 2)
            gradient = tf.convert_to_tensor(tape.gradient(total, shift))
            return tf.distribute.get_replica_context().all_reduce("sum", gradient)

        return strategy.experimental_local_results(strategy.run(replica, (points, lens)))

    def part(name):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(np.split(data[name], count)[context.replica_id_in_sync_group]))

    gradients.extend(step(part("points"), part("lens")))
assert len(gradients) == 3
np.savez(result, *gradients)
"""


def run(script, folder):
    np.savez(folder / "input.npz", points=POINTS, lens=INTRINSICS, labels=LABELS)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", script, str(folder), str(folder / "result.npz")], check=True, env=environment)
    with np.load(folder / "result.npz") as result:
        return list(result.values())


@pytest.mark.slow
@pytest.mark.parametrize("constant_labels", [True, False])
def test_a_saved_model_draws_and_has_its_gradient_where_this_package_is_missing(tmp_path, constant_labels):
    layer = SoftRasterizer(SIZE, sigma=0.5, constant_labels=constant_labels, dtype="float64")
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, 12, 3], tf.float64), tf.TensorSpec([None, 4], tf.float64),
                                  tf.TensorSpec([12, 3], tf.float64)])
    def render(points, lens, labels):
        return layer(points, FACES, LABELS if constant_labels else labels, lens)

    module.render = render
    tf.saved_model.save(module, str(tmp_path / "model"))
    watched = [tf.constant(values) for values in (POINTS, INTRINSICS, LABELS)]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        total = tf.reduce_sum(render(*watched) ** 2)
    expected = tape.gradient(total, watched, unconnected_gradients="zero")
    script = RELOAD if not constant_labels else RELOAD.replace(
        "[points, lens, labels])]", '[points, lens, labels], unconnected_gradients="zero")]')
    picture, *gradients = run(script, tmp_path)
    np.testing.assert_allclose(picture, render(*watched), rtol=1e-12)
    for ours, theirs in zip(gradients, expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    assert np.abs(gradients[0]).max() > 0.01 and np.abs(gradients[1]).max() > 0.01
    assert (np.abs(gradients[2]).max() > 0.01) != constant_labels


@pytest.mark.slow
def test_two_replicas_have_the_gradient_of_one(tmp_path):
    one, *two = run(REPLICAS, tmp_path)
    assert np.abs(one).max() > 0.01 and len(two) == 2
    for replica in two:
        np.testing.assert_allclose(replica, one, rtol=1e-9, atol=1e-12)
