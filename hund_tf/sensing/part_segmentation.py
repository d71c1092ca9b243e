"""Part segmentation: keypoint heatmaps and a person mask in, features F and part maps B out."""

import keras
import tensorflow as tf

NUM_PARTS = 15
FEATURES = 256
_BODY, _FACE, _LEFT_HAND, _RIGHT_HAND = range(25), (25, 95), (95, 116), (116, 137)


@keras.saving.register_keras_serializable("hund_tf")
class PartSegmentation(keras.Model):
    """A small U-shaped CNN, trained on renders of the body.

    Its inputs, heatmaps and a mask, look alike for renders and photos, so what it learns on renders holds on photos.
    F are the features of its coarsest level.

    Call arguments:
        keypoint_heatmaps: K, `[B, 60, 60, 137]`.
        person_mask: `[B, 60, 60]` in [0, 1].

    Returns:
        features F `[B, 15, 15, 256]` (`spread` brings them to 60x60), part logits `[B, 60, 60, 15]`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)

        def conv(filters, size, stride=1, dilation=1, activation="relu"):
            return keras.layers.Conv2D(filters, size, stride, "same", dilation_rate=dilation, activation=activation)

        self.enter = conv(48, 3)
        self.down = conv(96, 3, stride=2)
        self.middle = conv(96, 3, dilation=2)
        self.deep = conv(96, 3)
        self.to_features = conv(FEATURES, 1)
        self.up = conv(48, 1, activation=None)
        self.join = conv(48, 3)
        self.to_logits = conv(4 * NUM_PARTS, 1, activation=None)

    def call(self, keypoint_heatmaps, person_mask):
        heatmaps = tf.nn.avg_pool2d(condense(keypoint_heatmaps), 2, 2, "VALID")
        mask = tf.nn.space_to_depth(person_mask[..., None], 2)
        fine = self.enter(tf.concat([heatmaps, mask], axis=-1))  # [B, 30, 30, 48]
        coarse = self.down(fine)  # [B, 15, 15, 96]
        coarse = coarse + self.middle(coarse)
        coarse = coarse + self.deep(coarse)
        features = self.to_features(coarse)  # [B, 15, 15, 256]
        fine = tf.nn.relu(fine + tf.image.resize(self.up(features), [30, 30], method="nearest"))
        fine = fine + self.join(fine)
        return features, tf.nn.depth_to_space(self.to_logits(fine), 2)


def condense(keypoint_heatmaps):
    """K with the face and each hand as one map, their highest point: `[..., 137]` -> `[..., 28]`."""
    groups = [tf.reduce_max(keypoint_heatmaps[..., a:b], axis=-1, keepdims=True)
              for a, b in (_FACE, _LEFT_HAND, _RIGHT_HAND)]
    return tf.concat([keypoint_heatmaps[..., :25], *groups], axis=-1)


def spread(features):
    """F at the size of the maps: `[B, 15, 15, 256]` -> `[B, 60, 60, 256]`, each value four by four."""
    return tf.repeat(tf.repeat(features, 4, axis=1), 4, axis=2)
