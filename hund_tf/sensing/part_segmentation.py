"""Part segmentation: keypoint heatmaps and a person mask in, features F and part maps B out."""

import hashlib

import keras
import numpy as np
import tensorflow as tf

NUM_PARTS = 15
FEATURES = 256
_EMPTY_K, _EMPTY_MASK = (1, 30, 30, 137), (1, 60, 60)
_BODY, _FACE, _LEFT_HAND, _RIGHT_HAND = range(25), (25, 95), (95, 116), (116, 137)


@keras.saving.register_keras_serializable("hund_tf")
class PartSegmentation(keras.Model):
    """A small U-shaped CNN, trained on renders of the body.

    Its inputs, heatmaps and a mask, look alike for renders and photos, so what it learns on renders holds on photos.
    F are the features of its coarsest level.

    Call arguments:
        pooled_heatmaps: K averaged over 2x2 pixels, `[B, 30, 30, 137]`.
        person_mask: `[B, 60, 60]` in [0, 1].

    Returns:
        features F `[B, 15, 15, 256]` (`spread` brings them to 60x60), part logits `[B, 60, 60, 15]`.
    """

    sensing = "landmarks"  # whose weights these are in a preset

    def __init__(self, **kwargs):
        super().__init__(**kwargs)

        def conv(filters, size, stride=1, activation="relu"):
            return keras.layers.Conv2D(filters, size, stride, "same", activation=activation)

        self.enter = conv(32, 3)
        self.down = conv(64, 3, stride=2)
        self.middle = conv(64, 3)
        self.deep = conv(64, 3)
        self.to_features = conv(FEATURES, 1)
        self.up = conv(32, 1, activation=None)
        self.join = conv(32, 3)
        self.to_logits = conv(4 * NUM_PARTS, 1, activation=None)

    def call(self, pooled_heatmaps, person_mask):
        mask = tf.nn.space_to_depth(person_mask[..., None], 2)
        fine = self.enter(tf.concat([condense(pooled_heatmaps), mask], axis=-1))  # [B, 30, 30, 32]
        coarse = self.down(fine)  # [B, 15, 15, 64]
        coarse = coarse + self.middle(coarse)
        coarse = coarse + self.deep(coarse)
        features = self.to_features(coarse)  # [B, 15, 15, 256]
        fine = tf.nn.relu(fine + spread(self.up(features), 2))
        fine = fine + self.join(fine)
        return features, tf.nn.depth_to_space(self.to_logits(fine), 2)


def new(weights=None):
    """A built `PartSegmentation`, with its weights from a file if given."""
    model = PartSegmentation()
    model(tf.zeros(_EMPTY_K), tf.zeros(_EMPTY_MASK))
    if weights is not None:
        model.load_weights(weights)
    return model


def weights_sha256(model):
    """Hexadecimal SHA-256 of the weights of a `PartSegmentation`, whichever file they came from."""
    digest = hashlib.sha256()
    for values in model.get_weights():
        digest.update(f"{values.shape}".encode() + np.ascontiguousarray(values, "<f4").tobytes())
    return digest.hexdigest()


def condense(heatmaps):
    """K with the face and each hand as one map, their highest point: `[..., 137]` -> `[..., 28]`."""
    groups = [tf.reduce_max(heatmaps[..., a:b], axis=-1, keepdims=True)
              for a, b in (_FACE, _LEFT_HAND, _RIGHT_HAND)]
    return tf.concat([heatmaps[..., :25], *groups], axis=-1)


def spread(maps, times=4):
    """Repeats each pixel `times` x `times`: F `[B, 15, 15, 256]` -> `[B, 60, 60, 256]`."""
    size, channels = maps.shape[1], maps.shape[3]
    tall = tf.tile(tf.reshape(maps, [-1, size, 1, size, 1, channels]), [1, 1, times, 1, times, 1])
    return tf.reshape(tall, [-1, size * times, size * times, channels])
