"""The second CNN: F, K and B of a crop in, the context code s^c and the first state s_0 out."""

import functools
from typing import NamedTuple

import keras
import tensorflow as tf

from hund_tf.sensing import heatmaps
from hund_tf.sensing.part_segmentation import spread

# OpenPose-137 points whose coordinates the context reads: BODY_25, and wrist-near points of both
# hands (index, middle and little finger base), which fix the rotation of the wrists.
READ_KEYPOINTS = tuple(range(25)) + tuple(95 + i for i in (5, 9, 17)) + tuple(116 + i for i in (5, 9, 17))


class EvidenceSummary(NamedTuple):
    """`ImageEvidence` as the context encoder reads it.

    Attributes:
        feature_maps: `[B, 15, 15, 256]`, F averaged.
        maps: `[B, 30, 30, 152]`, K and B averaged.
        keypoints: `[B, 31, 2]`, pixels of the crop, read from K.
        confidence: `[B, 31]`.
        landmarks3d: `[B, 25, 3]`, metres.
        landmarks3d_confidence: `[B, 25]`.
        part_maps: B, `[B, 60, 60, 15]`, what L_b compares with.
        intrinsics: `[B, 4]`, pixels of the crop.
    """

    feature_maps: tf.Tensor
    maps: tf.Tensor
    keypoints: tf.Tensor
    confidence: tf.Tensor
    landmarks3d: tf.Tensor
    landmarks3d_confidence: tf.Tensor
    part_maps: tf.Tensor
    intrinsics: tf.Tensor


def summarize(evidence):
    """`ImageEvidence` -> `EvidenceSummary`: averages the maps and reads the keypoints from K."""
    keypoints, confidence = heatmaps.read_keypoints(
        tf.gather(evidence.keypoint_heatmaps, READ_KEYPOINTS, axis=-1))
    return EvidenceSummary(
        feature_maps=tf.nn.avg_pool2d(evidence.features, 4, 4, "VALID"),
        maps=tf.nn.avg_pool2d(tf.concat([evidence.keypoint_heatmaps, evidence.part_maps], -1), 2, 2, "VALID"),
        keypoints=keypoints, confidence=confidence,
        landmarks3d=evidence.landmarks3d, landmarks3d_confidence=evidence.landmarks3d_confidence,
        part_maps=evidence.part_maps, intrinsics=evidence.intrinsics)


def describe_camera(intrinsics):
    """Crop intrinsics in units of the crop: `[B, 4]` pixels -> `[B, 4]`."""
    focal, centre = tf.split(intrinsics / heatmaps.CROP_SIZE, 2, axis=-1)
    return tf.concat([tf.math.log(focal), (centre - 0.5) / focal], axis=-1)


@keras.saving.register_keras_serializable("hund_tf")
class ContextEncoder(keras.layers.Layer):
    """Embeds the evidence: 6 convolutions with pooling, then one fully connected layer.

    The fully connected layer also reads the keypoints' coordinates, found in K, and the landmark network's 3D
    estimate: a convolution spends most of its weights to find the same numbers. The crop
    intrinsics are appended to the code, as in the paper.

    Args:
        state_dim: int, S.
        context_dim: int, D without the intrinsics. Defaults to `240`.

    Call arguments:
        summary: `EvidenceSummary`.
        initial_state: `[B, S]`, the mean state; s_0 is learned as a step from it.

    Returns:
        context `[B, D + 4]` and state_0 `[B, S]`.

    Source: Zanfir et al., CVPR 2021, Sec. 2.2 and 3.
    """

    def __init__(self, state_dim, context_dim=240, **kwargs):
        super().__init__(autocast=False, **kwargs)  # coordinates stay float32 under any policy; only the layers obey it
        if state_dim < 1 or context_dim < 1:
            raise ValueError(f"`state_dim` and `context_dim` must be positive. Received: {state_dim}, {context_dim}.")
        self.state_dim, self.context_dim = state_dim, context_dim
        policy = self.dtype_policy
        conv = functools.partial(keras.layers.Conv2D, dtype=policy)
        self.embed_features = conv(32, 1, name="embed_features")
        self.embed_maps = conv(32, 1, use_bias=False, name="embed_maps")
        self.convolutions = [
            conv(filters, 3, padding="same", activation="relu", name=f"conv_{i}")
            for i, filters in enumerate((32, 48, 48, 64, 64), start=2)]
        self.pool = keras.layers.MaxPooling2D(2, padding="same", dtype=policy)
        self.dense = keras.layers.Dense(context_dim, activation="swish", name="dense", dtype=policy)
        self.to_state = keras.layers.Dense(state_dim, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
                                           name="to_state", dtype=policy)

    def call(self, summary, initial_state):
        x = self.embed_maps(summary.maps) + spread(self.embed_features(summary.feature_maps), 2)
        x = tf.nn.relu(x)
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x)
            if i in (0, 1, 2, 3):
                x = self.pool(x)  # 30 -> 15 -> 8 -> 4 -> 2
        code = tf.cast(tf.reshape(x, [-1, 2 * 2 * 64]), initial_state.dtype)
        x = self.dense(tf.concat([code, _coordinates(summary)], axis=-1))
        context = tf.concat([tf.cast(x, initial_state.dtype), describe_camera(summary.intrinsics)], axis=-1)
        return context, initial_state + tf.cast(self.to_state(context), initial_state.dtype)

    def get_config(self):
        return {**super().get_config(), "state_dim": self.state_dim, "context_dim": self.context_dim}


def _coordinates(summary):
    """Keypoints, their confidence and 3D landmarks as one vector, `[B, 31 * 3 + 25 * 4]`."""
    seen = tf.cast(summary.confidence > 0.05, tf.float32)[..., None]
    points = (summary.keypoints / (heatmaps.CROP_SIZE / 2) - 1.0) * seen
    known = tf.cast(summary.landmarks3d_confidence > 0.05, tf.float32)[..., None]
    parts = [points, summary.confidence[..., None], summary.landmarks3d * known * 2.0,
             summary.landmarks3d_confidence[..., None]]
    return tf.concat([tf.reshape(p, [tf.shape(p)[0], p.shape[1] * p.shape[2]]) for p in parts], axis=-1)
