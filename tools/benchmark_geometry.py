"""Times of the body and the rasterizer beside those of their peers, all on the same work in the same run.

Needs a process in which TensorFlow has done nothing yet: the number of its threads is set here.
"""

import benchmark_peers
import numpy as np
import tensorflow as tf
from benchmark_timing import entry, medians
from dense_soft_rasterizer import dense_soft_rasterize

from hund_tf.body import template
from hund_tf.body.generative_body import GenerativeBody
from hund_tf.geometry.soft_rasterizer import SoftRasterizer
from hund_tf.state import EXPRESSION, SHAPE, THETA, ModelState

THREADS = 2
BATCH = 32
DENSE_RASTERIZER = "the same formula, dense, in TensorFlow"
_DENSE_CELLS = 2_000_000  # faces times pixels drawn densely at once, where a row has fewer: a GB in the gradient
_DENSE_STRIPS = 8  # timed ones


def measure(repeats):
    """List of `entry`; those of a peer that is not installed have no ratio."""
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    body = GenerativeBody.from_asset()
    return [*measure_body(body, repeats), *measure_rasterizer(body, repeats)]


def measure_body(body, repeats):
    """The body and its peers: forward with XLA, the gradient in a plain graph, each also the other way."""
    missing = benchmark_peers.missing_packages()
    entries, mesh_gradient = [], None
    for name, batch, wants_gradient in (("body_forward_b32", BATCH, False), ("body_forward_b1", 1, False),
                                        ("body_gradient_b32", BATCH, True)):
        run = body_gradient if wants_gradient else body_vertices
        calls = {"xla": compiled(run(body), random_state(batch), True),
                 "graph": compiled(run(body), random_state(batch), False)}
        if "torch" not in missing:
            asset = template.load_template(template.find_body(body.asset))
            calls["dense"] = benchmark_peers.dense_body(asset, batch, THREADS)[wants_gradient]
            if "anny" not in missing:
                calls["anny"] = benchmark_peers.anny_body(batch, THREADS)[wants_gradient]
        if wants_gradient:
            calls["keypoints"] = compiled(keypoint_gradient(body), random_state(batch), True)
        ms = medians(calls, repeats)
        anny, dense = ms.get("anny"), ms.get("dense")
        best, other = ("graph", "xla") if wants_gradient else ("xla", "graph")
        entries += [entry(name, ms[best], benchmark_peers.ANNY, anny),
                    entry(name + "_dense", ms[best], benchmark_peers.DENSE, dense),
                    entry(f"{name}_{other}", ms[other], benchmark_peers.ANNY, anny),
                    entry(f"{name}_{other}_dense", ms[other], benchmark_peers.DENSE, dense)]
    entries.append(entry("keypoints_gradient_b32", ms["keypoints"], "our own full mesh", ms["graph"]))
    return entries


def measure_rasterizer(body, repeats):
    """The soft rasterizer, in a graph without XLA as in training, and its dense form."""
    entries = []
    for name, mesh, size, batch, wants_gradient in (
            ("raster60_forward_b32", "low", 60, BATCH, False), ("raster60_gradient_b32", "low", 60, BATCH, True),
            ("raster240_b1", "full", 240, 1, False)):
        vertices, intrinsics = standing_people(body, mesh, size, batch)
        faces, labels = body.faces(mesh), np.eye(15, dtype=np.float32)[body.part_labels(mesh)]
        layer = SoftRasterizer(size)
        ours = (lambda vertices, layer=layer, faces=faces, labels=labels, intrinsics=intrinsics:
                layer(vertices, faces, labels, intrinsics))
        if wants_gradient:
            ours = gradient_of_squares(ours)
        dense, share = dense_rasterizer(vertices, faces, labels, intrinsics, layer, wants_gradient)
        ms = medians({"ours": compiled(ours, vertices, False), "dense": dense}, repeats)
        entries.append(entry(name, ms["ours"], f"{DENSE_RASTERIZER} ({share:.0%} of it timed)", ms["dense"] / share))
    return entries


def random_state(batch, seed=0):
    """Random codes: `ModelState` of tensors."""
    rng = np.random.default_rng(seed)
    sizes = THETA, SHAPE, EXPRESSION, 6, 3
    return ModelState(*(tf.constant(rng.normal(size=(batch, size)), tf.float32) for size in sizes))


def standing_people(body, mesh, size, batch):
    """People who fill four fifths of a picture: vertices `[B, V, 3]` in the camera frame, intrinsics `[B, 4]`."""
    state = random_state(batch)
    state = state._replace(theta=0.5 * state.theta, rotation=tf.constant([[1.0, 0, 0, 0, -1, 0]] * batch),
                           translation=tf.constant([[0.0, 0.1, 3.0]] * batch))
    intrinsics = np.tile(np.float32([1.4 * size, 1.4 * size, size / 2, size / 2]), (batch, 1))
    return body(state, mesh=mesh).vertices, intrinsics


def body_vertices(body):
    return lambda state: body(state, mesh="full").vertices


def body_gradient(body):
    return gradient_of_squares(body_vertices(body))


def keypoint_gradient(body):
    return gradient_of_squares(lambda state: (lambda posed: (posed.joints, posed.keypoints))(body(state, mesh=None)))


def gradient_of_squares(function):
    """The gradient of the sum of squares of all that `function` returns, to its argument."""
    def gradient(argument):
        with tf.GradientTape() as tape:
            tape.watch(argument)
            total = tf.add_n([tf.reduce_sum(tf.square(x)) for x in tf.nest.flatten(function(argument))])
        return tape.gradient(total, argument)

    return gradient


def compiled(function, argument, jit_compile):
    function = tf.function(function, autograph=False, jit_compile=jit_compile)
    return lambda: function(argument)


def dense_rasterizer(vertices, faces, labels, intrinsics, layer, wants_gradient):
    """The dense form, strip by strip of every picture, since more does not fit into memory.

    All strips are the same work, so a few are timed: `(function without arguments, share of the strips that it does)`.
    """
    size = layer.image_size
    settings = {name: layer.get_config()[name] for name in ("sigma", "gamma", "background", "near", "far")}
    most = max(1, _DENSE_CELLS // (size * len(faces)))
    rows = max(rows for rows in range(1, size + 1) if size % rows == 0 and rows <= most)
    strips = [(image, top) for image in range(len(vertices)) for top in range(0, size, rows)]
    chosen = strips[::max(1, len(strips) // _DENSE_STRIPS)]

    def strip(vertices, intrinsics):
        return dense_soft_rasterize(vertices, faces, labels, intrinsics, (rows, size), **settings)

    def gradient(vertices, intrinsics):
        return gradient_of_squares(lambda vertices: strip(vertices, intrinsics))(vertices)

    function = tf.function(gradient if wants_gradient else strip, autograph=False)

    def run():
        for image, top in chosen:
            moved = tf.constant(intrinsics[image:image + 1] - np.float32([0, 0, 0, top]))
            function(vertices[image:image + 1], moved)

    return run, len(chosen) / len(strips)
