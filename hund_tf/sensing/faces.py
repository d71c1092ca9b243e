"""The face of a person: OpenPose's 70 points, from where BlazePose sees eyes, ears and mouth.

Source: MediaPipe's face_detection and face_landmark graphs (constants below); Grishchenko et al.,
Attention Mesh, 2020. The network looks twice at lips, eyes and irises; its second look replaces
the first in the mesh, vertex by vertex.
"""

import numpy as np
import tensorflow as tf

from hund_tf.sensing import regions as rg
from hund_tf.sensing import sampling
from hund_tf.sensing.network_graph import load_network

# mesh vertices that the second look places, in its output order
_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
         78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
         76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408,
         62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407)
_LEFT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
             130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190,
             226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189,
             35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193)
_RIGHT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398,
              359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414,
              446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413,
              265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336,
              285, 417)
_SECOND_LOOK = (("lips", _LIPS), ("left_eye", _LEFT_EYE), ("right_eye", _RIGHT_EYE),
                ("left_iris", tuple(range(468, 473))), ("right_iris", tuple(range(473, 478))))

# OpenPose's 70 points: jaw, brows (midpoints of the brow's two edges), nose, eyes, mouth, pupils
_JAW = (127, 234, 93, 58, 172, 136, 149, 176, 152, 400, 378, 365, 397, 288, 323, 454, 356)
_BROWS = ((70, 46), (63, 53), (105, 52), (66, 65), (107, 55), (336, 285), (296, 295), (334, 282), (293, 283), (300, 276))
_NOSE_EYES_MOUTH = (168, 197, 5, 4, 75, 97, 2, 326, 305, 33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
                    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87)
_PUPILS = (468, 473)
_EYE_CORNERS = (33, 263)
_PAIRS = np.array([(v, v) for v in _JAW] + list(_BROWS) + [(v, v) for v in _NOSE_EYES_MOUTH + _PUPILS])

_SMALLEST = 16.0  # crop pixels; a face region under this shows nothing


class Faces(tf.Module):
    """Crops in 0..1 (or a `Pyramid`) and BlazePose's points `[N, 39, 2]` -> points `[N, 70, 2]`, confidence, depths `[N, 70]`.

    Depths are how much farther than the middle of the head the points are, crop pixels.
    """

    def __init__(self, folder=None):
        super().__init__(name="faces")
        self._detector, self._face = load_network("face_detector", folder), load_network("face", folder)
        self._anchors = short_range_anchors()

    def __call__(self, crops, points):
        head = points[:, :11]
        around = rg.bounding_region(head, rg.level_angle(head[:, 5], head[:, 2]), 3.0)
        around = tf.maximum(around, tf.constant([-1e6, -1e6, 1.0, -1e6]))
        out = self._detector(2 * sampling.sample_regions(crops, around, 128) - 1)
        eyes_to_ears, score = best_face(out["boxes"], out["scores"], self._anchors)
        found = sampling.points_to_image(eyes_to_ears, around)
        detected = rg.bounding_region(found, rg.level_angle(found[:, 0], found[:, 1]), 2.0, -0.1)
        region = tf.where(score[:, None] > 0.5, detected, around * tf.constant([1.0, 1.0, 2 / 3, 1.0]))
        region = tf.maximum(region, tf.constant([-1e6, -1e6, 1.0, -1e6]))
        out = self._face(sampling.sample_regions(crops, region, 192, border="replicate"))
        found = sampling.points_to_image(openpose_face(full_mesh(out)) / 192.0, region)
        depths = openpose_face(full_mesh_depths(out)) / 192.0 * region[:, 2:3]
        presence = tf.sigmoid(tf.reshape(out["presence"], [-1])) * tf.cast(region[:, 2] > _SMALLEST, tf.float32)
        confidence = tf.tile((presence * tf.cast(presence > 0.5, tf.float32))[:, None], [1, 70])
        return found, confidence, depths


def full_mesh_depths(out):
    """The face network's outputs -> depths `[N, 478]`, pixels of its input; of the irises, whose depths it does not tell,
    those of the eyes' outer corners."""
    depths = tf.reshape(out["mesh"], [-1, 468, 3])[..., 2]
    return tf.concat([depths, tf.repeat(tf.gather(depths, _EYE_CORNERS, axis=1), 5, axis=1)], 1)


def full_mesh(out):
    """The face network's outputs -> `[N, 478, 2]`, pixels of its input."""
    mesh = tf.reshape(out["mesh"], [-1, 468, 3])[..., :2]
    mesh = tf.pad(mesh, [[0, 0], [0, 10], [0, 0]])
    for name, vertices in _SECOND_LOOK:
        again = tf.reshape(out[name], [-1, len(vertices), 2])
        # a matrix puts them in place: one kernel on every device, for any batch
        place = tf.one_hot(vertices, 478, axis=0)  # [478, K]
        mesh = mesh * (1 - tf.reduce_sum(place, 1))[None, :, None] + tf.einsum("vk,nkd->nvd", place, again)
    return mesh


def openpose_face(mesh):
    """`[N, 478, ...]` -> OpenPose's `[N, 70, ...]`."""
    return (tf.gather(mesh, _PAIRS[:, 0], axis=1) + tf.gather(mesh, _PAIRS[:, 1], axis=1)) / 2


def short_range_anchors():
    """Centres of the detector's 896 anchors, `[896, 2]` in 0..1: 16x16 cells twice, 8x8 six times."""
    anchors = []
    for cells, repeats in ((16, 2), (8, 6)):
        rows, columns = np.mgrid[:cells, :cells]
        centers = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], -1) / cells
        anchors.append(np.repeat(centers, repeats, 0))
    return np.concatenate(anchors).astype(np.float32)


def best_face(boxes, scores, anchors, overlap=0.3):
    """The most likely face: six points (eyes, nose, mouth, ears) `[N, 6, 2]` in 0..1, score `[N]`.

    Weighted suppression: the answer is the mean of all boxes that overlap the best, by their scores.
    """
    score = tf.sigmoid(tf.clip_by_value(scores[..., 0], -100.0, 100.0))
    center = boxes[..., :2] / 128.0 + anchors
    half = boxes[..., 2:4] / 256.0
    points = tf.reshape(boxes[..., 4:], [-1, 896, 6, 2]) / 128.0 + anchors[None, :, None]
    best = tf.argmax(score, -1)
    low, high = center - half, center + half
    first_low, first_high = (tf.gather(v, best, batch_dims=1)[:, None] for v in (low, high))
    shared = tf.reduce_prod(tf.maximum(tf.minimum(high, first_high) - tf.maximum(low, first_low), 0.0), -1)
    area = tf.reduce_prod(high - low, -1) + tf.reduce_prod(first_high - first_low, -1) - shared
    top = tf.reduce_max(score, -1)
    weight = score * tf.cast((shared / tf.maximum(area, 1e-9) > overlap) & (score > 0.5), tf.float32)
    mean = tf.einsum("nk,nkpd->npd", weight, points) / tf.maximum(tf.reduce_sum(weight, -1), 1e-9)[:, None, None]
    return mean, top
