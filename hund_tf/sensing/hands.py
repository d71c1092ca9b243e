"""Both hands of a person: 21 points each, from where BlazePose sees wrist, index and little finger.

Source: MediaPipe's holistic_landmark and hand_landmark graphs (constants below).
"""

import tensorflow as tf

from hund_tf.sensing import regions as rg
from hund_tf.sensing import sampling
from hund_tf.sensing.network_graph import load_network

_LEFT = (15, 17, 19)  # BlazePose: wrist, little finger, index finger
_RIGHT = (16, 18, 20)
_DEPTH_SCALE = 0.4  # the graph's normalize_z: of the network's depths to its pixels
_SMALLEST = 12.0  # crop pixels; a hand region under this shows nothing


class Hands(tf.Module):
    """Crops in 0..1 (or a `Pyramid`) and BlazePose's points `[N, 39, 2]` -> points `[N, 42, 2]`, confidence, depths `[N, 42]`.

    Left hand first; OpenPose order (wrist, thumb, index, middle, ring, little finger), which is the
    network's own. Depths are how much farther than its wrist a hand's points are, crop pixels.
    """

    def __init__(self, folder=None):
        super().__init__(name="hands")
        self._recrop, self._hand = load_network("hand_recrop", folder), load_network("hand", folder)

    def __call__(self, crops, points):
        people = tf.shape(points)[0]
        hands = tf.concat([tf.gather(points, _LEFT, axis=1), tf.gather(points, _RIGHT, axis=1)], 0)  # [2N, 3, 2]
        index = tf.tile(tf.range(people), [2])
        wrist, palm = hands[:, 0], (2 * hands[:, 2] + hands[:, 1]) / 3
        size = tf.maximum(2 * tf.norm(palm - wrist, axis=-1), 1.0)
        region = rg.square_region(palm, size, rg.upright_angle(wrist, palm), -0.1)
        region *= tf.constant([1.0, 1.0, 2.7, 1.0])
        seen = self._recrop(sampling.sample_regions(crops, region, 256, index, "replicate"))["points"]
        axis = sampling.points_to_image(tf.reshape(seen, [-1, 2, 2]) / 256.0, region)
        size = tf.maximum(2 * tf.norm(axis[:, 1] - axis[:, 0], axis=-1), 1.0)
        region = rg.square_region(axis[:, 0], size, rg.upright_angle(axis[:, 1], axis[:, 0]), -0.1)
        out = self._hand(sampling.sample_regions(crops, region, 224, index, "replicate"))
        landmarks = tf.reshape(out["landmarks"], [-1, 21, 3])
        found = sampling.points_to_image(landmarks[..., :2] / 224.0, region)
        depths = landmarks[..., 2] / (224.0 * _DEPTH_SCALE) * region[:, 2:3]
        presence = out["presence"][:, 0] * tf.cast(size > _SMALLEST, tf.float32)
        # a hand that does not hang on this wrist is another one
        off = tf.norm(found[:, 0] - wrist, axis=-1) / size
        presence *= tf.clip_by_value(2.0 - 4.0 * off, 0.0, 1.0)
        confidence = tf.tile((presence * tf.cast(presence > 0.5, tf.float32))[:, None], [1, 21])
        return tuple(tf.concat(tf.split(v, 2), 1) for v in (found, confidence, depths))
