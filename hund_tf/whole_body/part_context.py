"""Keypoints of a part's crop in, the context code s^c and the first state s_0 out."""

import functools
from typing import NamedTuple

import keras
import tensorflow as tf

from hund_tf.networks.context_encoder import describe_camera
from hund_tf.sensing import heatmaps


class PartEvidence(NamedTuple):
    """What is seen of a part in its crop.

    Attributes:
        keypoints: `[B, N, 2]`, pixels of the 480x480 crop.
        confidence: `[B, N]` in [0, 1].
        depths: `[B, N]`, how much farther from the camera than the mean of all points, in crop widths at the part's
            distance; the landmark network's own estimate, all 0 where there is none.
        shape: `[B, 16]`, the body's shape code.
        intrinsics: `[B, 4]`, of the crop, pixels.
    """

    keypoints: tf.Tensor
    confidence: tf.Tensor
    depths: tf.Tensor
    shape: tf.Tensor
    intrinsics: tf.Tensor


@keras.saving.register_keras_serializable("hund_tf")
class PartContextEncoder(keras.layers.Layer):
    """Embeds the evidence of a part: 6 convolutions with pooling on K, then one fully connected layer.

    As `ContextEncoder`, which also reads F and B: a part's crop has keypoints alone. The fully connected layer reads the
    coordinates, too.

    Args:
        state_dim: int, S.
        context_dim: int, D without the intrinsics. Defaults to `240`.

    Call arguments:
        evidence: `PartEvidence`.
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
        conv = functools.partial(keras.layers.Conv2D, padding="same", activation="relu", dtype=policy)
        self.convolutions = [conv(filters, size, name=f"conv_{i}") for i, (filters, size) in enumerate(
            ((32, 1), (32, 3), (48, 3), (48, 3), (64, 3), (64, 3)), start=1)]
        self.pool = keras.layers.MaxPooling2D(2, padding="same", dtype=policy)
        self.dense = keras.layers.Dense(context_dim, activation="swish", name="dense", dtype=policy)
        self.to_state = keras.layers.Dense(state_dim, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
                                           name="to_state", dtype=policy)

    def call(self, evidence, initial_state):
        x = heatmaps.paint_pooled_heatmaps(evidence.keypoints, evidence.confidence)
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x)
            if i < 4:
                x = self.pool(x)  # 30 -> 15 -> 8 -> 4 -> 2
        code = tf.cast(tf.reshape(x, [-1, 2 * 2 * 64]), initial_state.dtype)
        x = self.dense(tf.concat([code, _coordinates(evidence)], axis=-1))
        context = tf.concat([tf.cast(x, initial_state.dtype), describe_camera(evidence.intrinsics)], axis=-1)
        return context, initial_state + tf.cast(self.to_state(context), initial_state.dtype)

    def get_config(self):
        return {**super().get_config(), "state_dim": self.state_dim, "context_dim": self.context_dim}


def _coordinates(evidence):
    """Keypoints, depths and confidence as one vector, and the shape code: `[B, 4 N + 16]`."""
    seen = tf.cast(evidence.confidence > 0.05, tf.float32)[..., None]
    points = tf.concat([evidence.keypoints / (heatmaps.CROP_SIZE / 2) - 1.0, 2.0 * evidence.depths[..., None]], -1) * seen
    points = tf.concat([points, evidence.confidence[..., None]], -1)
    return tf.concat([tf.reshape(points, [-1, 4 * points.shape[1]]), 0.3 * evidence.shape], -1)
