"""Measures the soft rasterizer in graph mode: medians of posed bodies that fill their crops, and the memory of a step.

    python tools/benchmark_rasterizer.py [--repeats 20] [--sigma 0.25 0.5] [--quick]
"""

import argparse
import os
import resource
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.geometry.soft_rasterizer import SoftRasterizer

_CASES = (("low", 60, 32), ("low", 60, 8), ("low", 60, 1), ("low", 120, 8), ("low", 240, 8), ("full", 60, 8),
          ("full", 240, 1))  # mesh, side of the picture, batch
_LABELS, _FILLS = 15, 0.95  # of the crop's side


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--sigma", type=float, nargs="+", default=[0.25, 0.5], help="squared pixels")
    parser.add_argument("--quick", action="store_true", help="the first case alone")
    options = parser.parse_args(arguments)
    imported = _peak()
    body = GenerativeBody.from_asset()
    loaded = _peak()
    print("| sigma | mesh | faces | picture | batch | forward ms | with gradient ms |\n|---|---|---|---|---|---|---|")
    for sigma in options.sigma:
        for mesh, side, batch in _CASES[:1] if options.quick else _CASES:
            forward, gradient = functions(*scene(body, mesh, side, batch), SoftRasterizer(side, sigma=sigma))
            times = [1000 * median(function, options.repeats) for function in (forward, gradient)]
            print(f"| {sigma} | {mesh} | {len(body.faces(mesh))} | {side} x {side} | {batch} | {times[0]:.0f} | "
                  f"{times[1]:.0f} |", flush=True)
    print(f"\nPeak memory {_peak():.0f} MiB; {imported:.0f} after the imports, {loaded:.0f} after the body was loaded. "
          f"Load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")


def scene(body, mesh, side, batch, seed=0):
    """Vertices, faces, one-hot labels and intrinsics of bodies in random poses that fill `side` x `side` pixels."""
    rng = np.random.default_rng(seed)
    state = dict(theta=rng.normal(0, 0.5, [batch, 306]), shape=rng.normal(size=[batch, 16]),
                 expression=np.zeros([batch, 20]), rotation=np.tile([1.0, 0, 0, 0, -1, 0], [batch, 1]),
                 translation=np.tile([0.0, 0, 3], [batch, 1]))
    vertices = body({name: np.float32(value) for name, value in state.items()}, mesh=mesh).vertices
    points = (vertices[..., :2] / vertices[..., 2:]).numpy()
    low, high = points.min(axis=1), points.max(axis=1)
    focal = _FILLS * side / (high - low).max(axis=1, keepdims=True)
    intrinsics = np.concatenate([focal, focal, 0.5 * side - focal * (low + high) / 2], axis=1)
    labels = np.eye(_LABELS, dtype=np.float32)[body.part_labels(mesh)]
    return vertices, body.faces(mesh), labels, tf.constant(intrinsics, tf.float32)


def functions(vertices, faces, labels, intrinsics, rasterizer):
    """Functions without arguments: draw, and draw and take the gradient to the vertices."""
    @tf.function
    def draw(vertices, intrinsics):
        return rasterizer(vertices, faces, labels, intrinsics)

    upstream = tf.random.stateless_normal(draw(vertices, intrinsics).shape, [0, 0])

    @tf.function
    def both(vertices, intrinsics):
        with tf.GradientTape() as tape:
            tape.watch(vertices)
            total = tf.reduce_sum(draw(vertices, intrinsics) * upstream)
        return tape.gradient(total, vertices)

    return lambda: draw(vertices, intrinsics).numpy(), lambda: both(vertices, intrinsics).numpy()


def median(function, repeats):
    """Seconds, after two runs that are not counted."""
    function(), function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux


if __name__ == "__main__":
    main()
