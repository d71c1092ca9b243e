"""Finds the 68 OpenPose face points on the body's skin, once: writes tools/face_points.csv for build_body.py.

    python tools/place_face_points.py face_landmark.tflite body.npz tools/face_points.csv

A face mesh network (MediaPipe, Apache-2.0; here only to look, nothing of it is kept) sees a render of the neutral face
from the front; its points are carried back to the skin under them and made symmetric. `body.npz` may be a body whose
face points are still missing. The table holds three base-mesh vertices and their weights a point.
"""

import argparse

import numpy as np
import tensorflow as tf

import makehuman
from hund_tf.body.generative_body import GenerativeBody
from hund_tf.visualization import renderer

# Mesh vertices of the 68 points; a pair means their midpoint. As in hund_tf/sensing.
MESH_POINTS = (
    127, 234, 93, 58, 172, 136, 149, 176, 152, 400, 378, 365, 397, 288, 323, 454, 356,
    (70, 46), (63, 53), (105, 52), (66, 65), (107, 55), (336, 285), (296, 295), (334, 282), (293, 283), (300, 276),
    168, 197, 5, 4, 75, 97, 2, 326, 305, 33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87)
# The same points seen in a mirror.
MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
     41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65])
_NETWORK_SIDE, _RENDER_SIDE = 192, 768
_LIP_PIXELS = 4.0
_FACE_M, _DISTANCE_M = 0.30, 4.0  # side of the picture at the face, metres; distance


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("body")
    parser.add_argument("table")
    options = parser.parse_args()
    body = GenerativeBody.from_asset(options.body)
    vertices = neutral_head(body)
    pixels = network_points(options.network, picture(vertices, body.faces())[0])
    points = np.array([pixels[list(p) if isinstance(p, tuple) else [p]].mean(0) for p in MESH_POINTS])
    points[:, 0] = (points[:, 0] + _RENDER_SIDE - points[MIRROR, 0]) / 2
    points[:, 1] = (points[:, 1] + points[MIRROR, 1]) / 2
    points[61:64, 1] -= _LIP_PIXELS  # of closed lips, so that each point opens with its own lip
    points[65:68, 1] += _LIP_PIXELS
    corners, weights = to_skin(points, vertices, body.faces())
    rows = np.concatenate([corners, weights], axis=1)
    np.savetxt(options.table, rows, fmt=["%d"] * 3 + ["%.4f"] * 3, delimiter=",", header="a,b,c,weight_a,weight_b,weight_c",
               comments="")


def neutral_head(body):
    """Vertices `[V, 3]` of the neutral body in the camera frame, its eyes in the middle of the picture."""
    zero = {"theta": 306, "shape": 16, "expression": 20}
    state = {name: tf.zeros([1, size]) for name, size in zero.items()}
    state.update(rotation=tf.constant([[1.0, 0, 0, 0, -1, 0]]), translation=tf.zeros([1, 3]))
    rest = tf.tile(tf.eye(3)[None, None], [1, len(body.joint_names), 1, 1])
    posed = body.pose_from_rotations(rest, *(state[k] for k in ("shape", "expression", "rotation", "translation")))
    eyes = posed.joints[0, body.joint_names.index("left_eye")].numpy()
    return posed.vertices[0].numpy() - [0, eyes[1] + 0.035, 0] + [0, 0, _DISTANCE_M]


def intrinsics():
    focal = _RENDER_SIDE * _DISTANCE_M / _FACE_M
    return focal, focal, _RENDER_SIDE / 2, _RENDER_SIDE / 2


def picture(vertices, faces):
    """A render of the head, uint8 `[768, 768, 3]`, and its fragments."""
    fragments = renderer.render(vertices, faces, intrinsics(), _RENDER_SIDE, _RENDER_SIDE)
    normals = renderer.vertex_normals(vertices, faces)
    colors = np.tile([0.85, 0.65, 0.55], (len(vertices), 1))
    colors[makehuman.TONGUE[1]:makehuman.TONGUE[1] + 144] = 0.95
    shaded = renderer.shade(fragments, faces, renderer.lit_colors(vertices, normals, colors))
    shaded = np.where((fragments.face_index >= 0)[..., None], shaded, 0.3)
    return (np.clip(shaded, 0, 1) * 255).astype(np.uint8), fragments


def network_points(path, image):
    """Face mesh points `[468, 2]` in pixels of the picture."""
    interpreter = tf.lite.Interpreter(path)
    interpreter.allocate_tensors()
    small = tf.image.resize(image[None] / 255.0, [_NETWORK_SIDE, _NETWORK_SIDE], antialias=True)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tf.cast(small, tf.float32).numpy())
    interpreter.invoke()
    outputs = [interpreter.get_tensor(d["index"]).reshape(-1) for d in interpreter.get_output_details()]
    print("face flag", [float(x[0]) for x in outputs if x.size == 1])
    mesh = next(x for x in outputs if x.size == 1404).reshape(468, 3)
    return mesh[:, :2] * (_RENDER_SIDE / _NETWORK_SIDE)


def to_skin(points, vertices, faces):
    """Base-mesh corners and weights `[N, 3]` of the skin under (or nearest in the picture to) each pixel."""
    fragments = renderer.render(vertices, faces, intrinsics(), _RENDER_SIDE, _RENDER_SIDE)
    on_skin = (faces < makehuman.SKIN[1]).all(1)[fragments.face_index] & (fragments.face_index >= 0)
    # On the outline of the jaw the network may point past the skin: take the nearest that is well on it.
    rows, columns = np.nonzero(on_skin & (fragments.depth < _DISTANCE_M + 0.05))
    pixel = np.stack([columns + 0.5, rows + 0.5], axis=1)
    nearest = np.array([np.square(pixel - point).sum(1).argmin() for point in points])
    row, column = rows[nearest], columns[nearest]
    return faces[fragments.face_index[row, column]], fragments.barycentric[row, column]


if __name__ == "__main__":
    main()
