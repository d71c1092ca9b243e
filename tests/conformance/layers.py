"""The registry of public layers: what every one of them must pass through, `test_layers.py` says."""

import numpy as np

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.geometry.camera import PerspectiveProjection
from hund_tf.geometry.soft_rasterizer import SoftRasterizer

BATCH = 4
_FACES = np.array([[0, 1, 2], [0, 2, 3], [1, 2, 3]], np.int32)
_LABELS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]


def _floats(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(BATCH, *shape)).astype(np.float32)


def _state():
    sizes = {"theta": 306, "shape": 16, "expression": 20, "rotation": 6, "translation": 3}
    return {name: _floats(size, seed=i) for i, (name, size) in enumerate(sizes.items())}


def _points(count):
    return {"points": _floats(count, 3) * 0.3 + np.float32([0, 0, 3]), "intrinsics": np.tile(np.float32([20, 20, 8, 8]), (BATCH, 1))}


# name: layer, its call on a dict of tensors, the inputs
LAYERS = {
    "projection": (PerspectiveProjection, lambda layer, x: layer(x["points"], x["intrinsics"]), _points(5)),
    "rasterizer": (lambda: SoftRasterizer((12, 16), sigma=0.5),
                   lambda layer, x: layer(x["points"], _FACES, _LABELS, x["intrinsics"]), _points(4)),
    "body": (GenerativeBody, lambda layer, x: layer(x, mesh="low").vertices, _state()),
    "linear_keypoints": (lambda: GenerativeBody(pose_prior="gaussian", codes="linear"),
                         lambda layer, x: layer(x, mesh=None).keypoints, _state()),
}
