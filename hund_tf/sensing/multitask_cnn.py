"""The paper's first CNN: crops in, features F, keypoint heatmaps K and part maps B out, by one ResNet50."""

from typing import NamedTuple

import keras
import tensorflow as tf

from hund_tf.sensing import heatmaps
from hund_tf.sensing.part_segmentation import FEATURES, NUM_PARTS
from hund_tf.state import ImageEvidence

KEYPOINTS = 137
PARAMETERS = 34e6  # paper, Sec. 3
# Channel means, blue green red, 0..255, that keras.applications' ResNet50 weights were trained with.
_IMAGENET_MEAN = (103.939, 116.779, 123.68)
_RARE = -5.5  # logit of a bell's share of the map, 2 pi sigma^2 / 60^2: an untrained K is nearly empty
_LAST_OF_BLOCK = "_3_bn"  # normalization that ends a residual block, before what went in is added
TRUNK_STAGES = 5  # conv1 to conv5
_SHALLOW, _MIDDLE = "conv3_block4_out", "conv4_block6_out"  # stride 8 and 16


class MapLogits(NamedTuple):
    """What the network says of N crops.

    Attributes:
        features: F, `[N, 60, 60, 256]`.
        keypoints: logits of K, `[N, 60, 60, 137]`; the sigmoid is K.
        parts: logits of B, `[N, 60, 60, 15]`; the softmax is B.
    """

    features: tf.Tensor
    keypoints: tf.Tensor
    parts: tf.Tensor


@keras.saving.register_keras_serializable("hund_tf")
class MultitaskCNN(keras.Model):
    """ResNet50 with a head that brings its coarsest maps back to stride 8; 34M trainable parameters.

    Two deconvolutions go up from stride 32, as in Xiao et al., Simple Baselines, ECCV 2018; ResNet's maps of stride 16
    and 8 are added on the way, so that F also knows where exactly an edge is. K and B are read from F by 1x1
    convolutions.

    Args:
        trunk_weights: optional str, file of weights for `keras.applications.ResNet50(include_top=False)`; random if
            None. It is read once, when the network is made, and is no part of its config.
        batch_statistics: bool, whether training normalizes by the statistics of its batches; False trains with the
            moving ones as they are, for small batches.

    Random weights begin with residual blocks that pass on what they are given, as in Goyal et al., Accurate, Large
    Minibatch SGD, 2017.

    Call arguments:
        crops: `[N, S, S, 3]` in [0, 1], RGB; S is 480, or another multiple of 32 in pre-training.
        training: bool.

    Returns:
        `MapLogits`, maps of side S / 8.

    Raises:
        ValueError: if crops are not square with a side that 32 divides.
    """

    sensing = "multitask"  # whose weights these are in a preset

    def __init__(self, trunk_weights=None, batch_statistics=True, **kwargs):
        super().__init__(**kwargs)
        resnet = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(None, None, 3))
        if trunk_weights is not None:
            resnet.load_weights(trunk_weights)
        else:
            for layer in resnet.layers:
                if layer.name.endswith(_LAST_OF_BLOCK):
                    layer.gamma.assign(tf.zeros_like(layer.gamma))
        self.trunk = keras.Model(resnet.input, [resnet.get_layer(_SHALLOW).output, resnet.get_layer(_MIDDLE).output,
                                                resnet.output], name="trunk")
        self.batch_statistics = batch_statistics
        self.to_middle = keras.layers.Conv2DTranspose(FEATURES, 4, 2, "same", use_bias=False)
        self.to_fine = keras.layers.Conv2DTranspose(FEATURES, 4, 2, "same", use_bias=False)
        self.from_middle = keras.layers.Conv2D(FEATURES, 1, use_bias=False)
        self.from_shallow = keras.layers.Conv2D(FEATURES, 1, use_bias=False)
        self.join = keras.layers.Conv2D(FEATURES, 3, padding="same", use_bias=False)
        self.normalize_middle, self.normalize_fine, self.normalize_join = (
            keras.layers.BatchNormalization() for _ in range(3))
        self.to_keypoints = keras.layers.Conv2D(KEYPOINTS, 1, bias_initializer=keras.initializers.Constant(_RARE))
        self.to_parts = keras.layers.Conv2D(NUM_PARTS, 1)

    def call(self, crops, training=None):
        if crops.shape.rank != 4 or crops.shape[1] != crops.shape[2] or crops.shape[1] is None or crops.shape[1] % 32:
            raise ValueError(f"`crops` must be [N, S, S, 3] with S a multiple of 32. Received: {crops.shape}.")
        batch = bool(training) and self.batch_statistics
        shallow, middle, coarse = self.trunk(255.0 * crops[..., ::-1] - tf.constant(_IMAGENET_MEAN), training=batch)
        middle = self.normalize_middle(self.to_middle(coarse) + self.from_middle(middle), training=batch)
        fine = self.to_fine(tf.nn.relu(middle)) + self.from_shallow(shallow)
        fine = tf.nn.relu(self.normalize_fine(fine, training=batch))
        features = tf.nn.relu(self.normalize_join(self.join(fine), training=batch))
        return MapLogits(features, self.to_keypoints(features), self.to_parts(features))

    def freeze_trunk(self, stages):
        """Keeps weights and statistics of the trunk's first stages as they are in training; the others learn.

        Call it before `compile`. Nothing is propagated back to frozen stages, whose maps are the largest.

        Args:
            stages: int, how many: 0 none, 4 conv1 to conv4, 5 the whole trunk.

        Raises:
            ValueError: if there are not so many.
        """
        if not 0 <= stages <= TRUNK_STAGES:
            raise ValueError(f"`stages` must be from 0 to {TRUNK_STAGES}. Received: {stages}.")
        for layer in self.trunk.layers:
            layer.trainable = not layer.name.startswith(tuple(f"conv{i}_" for i in range(1, stages + 1)))

    def save_weights(self, *args, **kwargs):
        """As that of `keras.Model`. An .h5 file lists frozen weights last; here it is that of a network without frozen ones."""
        frozen = [layer for layer in self.trunk.layers if not layer.trainable]
        self.freeze_trunk(0)
        try:
            super().save_weights(*args, **kwargs)
        finally:
            for layer in frozen:
                layer.trainable = False

    def get_config(self):
        return {"name": self.name, "batch_statistics": self.batch_statistics}


def new(weights=None, **settings):
    """A built `MultitaskCNN`, with all its weights from a file if given."""
    model = MultitaskCNN(**settings)
    model(tf.zeros([1, 64, 64, 3]))
    if weights is not None:
        model.load_weights(weights)
    return model


class MapDetections(NamedTuple):
    """What the CNN sees in N crops, before it is known where the photo ends.

    Attributes:
        keypoints: `[N, 137, 2]`, OpenPose order, crop pixels, read from K.
        confidence: `[N, 137]`, height of the peaks; set to 0 what must not count.
        features, keypoint_heatmaps, part_maps: F, K and B.
    """

    keypoints: tf.Tensor
    confidence: tf.Tensor
    features: tf.Tensor
    keypoint_heatmaps: tf.Tensor
    part_maps: tf.Tensor


class MultitaskSensing(tf.Module):
    """`MultitaskCNN` in the place of `LandmarkSensing`: the same three calls.

    It knows no 3D: `landmarks3d` are zeros with confidence 0, as where the landmark networks see nothing.

    Args:
        cnn: `MultitaskCNN`, with weights.

    Call arguments:
        crops: `[N, 480, 480, 3]`, uint8, or float32 in [0, 1].
        intrinsics: `[N, 4]`, of the crops, pixels.

    Returns:
        `ImageEvidence`.

    Raises:
        ValueError: if `crops` is not `[N, 480, 480, 3]`.
    """

    def __init__(self, cnn):
        super().__init__(name="multitask_sensing")
        self.cnn = cnn
        size = heatmaps.CROP_SIZE
        self._detect = tf.function(self._detect_eagerly, autograph=False, input_signature=[
            tf.TensorSpec([None, size, size, 3], tf.float32)])
        self.describe = tf.function(describe, autograph=False, reduce_retracing=True)

    def __call__(self, crops, intrinsics):
        return self.describe(self.find_landmarks(crops), intrinsics)

    def find_landmarks(self, crops, first=None):
        """Crops -> `MapDetections`. The CNN sees the whole crop at once: `first`, whom to look at, is of no effect."""
        del first
        crops, size = tf.convert_to_tensor(crops), heatmaps.CROP_SIZE
        if crops.shape.rank != 4 or tuple(crops.shape[1:]) != (size, size, 3):
            raise ValueError(f"`crops` must be [N, {size}, {size}, 3]. Received: {crops.shape}.")
        return self._detect(tf.cast(crops, tf.float32) * (1 / 255 if crops.dtype == tf.uint8 else 1.0))

    def _detect_eagerly(self, crops):
        logits = self.cnn(crops, training=False)
        maps = tf.sigmoid(logits.keypoints)
        return MapDetections(*heatmaps.read_keypoints(maps), features=logits.features, keypoint_heatmaps=maps,
                             part_maps=tf.nn.softmax(logits.parts))


def describe(detections, intrinsics):
    """`MapDetections` and crop intrinsics `[N, 4]`, pixels -> `ImageEvidence`; K is empty where the confidence is 0."""
    seen = tf.cast(detections.confidence > 0, tf.float32)[:, None, None]
    count = tf.shape(intrinsics)[0]
    return ImageEvidence(
        features=detections.features, keypoint_heatmaps=detections.keypoint_heatmaps * seen,
        part_maps=detections.part_maps, landmarks3d=tf.zeros([count, 25, 3]),
        landmarks3d_confidence=tf.zeros([count, 25]), intrinsics=intrinsics)
