"""One step like those of training in a process of its own: milliseconds and peak resident memory."""

import resource

import numpy as np
import tensorflow as tf
from benchmark_timing import entry, medians

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.geometry.soft_rasterizer import SoftRasterizer
from hund_tf.state import EXPRESSION, FACING_ROTATION, SHAPE, THETA, ModelState

BATCH, SIZE = 32, 60


def measure(repeats):
    """An `entry` with `peak_memory_mib`. Call it in a fresh process.

    The step, batch 32: the low mesh posed from codes, its soft picture of 60x60 pixels and 15 labels, gradients to all
    codes.
    """
    body, rasterizer = GenerativeBody.from_asset(), SoftRasterizer(SIZE)
    faces, labels = body.faces("low"), np.eye(15, dtype=np.float32)[body.part_labels("low")]
    intrinsics = tf.constant([[1.4 * SIZE, 1.4 * SIZE, SIZE / 2, SIZE / 2]] * BATCH)
    pose = tf.function(lambda state: body(state, mesh="low")[:3], jit_compile=True, autograph=False)

    @tf.function(autograph=False)
    def step(state):
        with tf.GradientTape() as tape:
            tape.watch(state)
            vertices, _, keypoints = pose(state)
            picture = rasterizer(vertices, faces, labels, intrinsics)
            total = tf.reduce_sum(tf.square(picture)) + tf.reduce_sum(tf.square(keypoints))
        return tape.gradient(total, state)

    normal = np.random.default_rng(0).normal
    codes = [tf.constant(0.5 * normal(size=(BATCH, size)), tf.float32) for size in (THETA, SHAPE, EXPRESSION)]
    state = ModelState(*codes, tf.constant([FACING_ROTATION] * BATCH), tf.constant([[0.0, 0.1, 3.0]] * BATCH))
    ms = medians({"step": lambda: step(state)}, repeats)["step"]
    return {**entry("body_raster60_step_b32", ms), "peak_memory_mib": _peak_memory_mib()}


def _peak_memory_mib():
    try:
        # What `resource` says may be that of the parent process.
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
