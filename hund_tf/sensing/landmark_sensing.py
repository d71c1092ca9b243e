"""The first CNN on real photos: crops in, features F, keypoint heatmaps K and part maps B out."""

import tensorflow as tf

from hund_tf.networks.context_encoder import READ_KEYPOINTS, EvidenceSummary
from hund_tf.sensing import heatmaps, part_segmentation
from hund_tf.state import ImageEvidence


class LandmarkSensing(tf.Module):
    """Landmark networks whose points are painted as K, and the part CNN that makes F and B of them.

    Args:
        landmarks: `LandmarkNetworks`.
        segmentation: `PartSegmentation`, with weights.

    Call arguments:
        crops: `[N, 480, 480, 3]`.
        intrinsics: `[N, 4]`, of the crops, pixels.

    Returns:
        `ImageEvidence`.
    """

    def __init__(self, landmarks, segmentation):
        super().__init__(name="landmark_sensing")
        self.find_landmarks, self.segmentation = landmarks, segmentation
        self.describe = tf.function(
            lambda landmarks, intrinsics: describe(segmentation, landmarks, intrinsics), autograph=False, reduce_retracing=True)

    def __call__(self, crops, intrinsics):
        return self.describe(self.find_landmarks(crops), intrinsics)


def describe(segmentation, landmarks, intrinsics):
    """Paints K and runs the part CNN.

    Args:
        segmentation: `PartSegmentation`.
        landmarks: tuple with `keypoints`, `confidence`, `person_mask`, `landmarks3d`, `landmarks3d_confidence`.
        intrinsics: `[N, 4]`, of the crops, pixels.

    Returns:
        `ImageEvidence`.
    """
    maps = heatmaps.paint_heatmaps(landmarks.keypoints, landmarks.confidence)
    features, logits = segmentation(tf.nn.avg_pool2d(maps, 2, 2, "VALID"), landmarks.person_mask)
    return ImageEvidence(
        features=part_segmentation.spread(features), keypoint_heatmaps=maps, part_maps=tf.nn.softmax(logits),
        landmarks3d=landmarks.landmarks3d, landmarks3d_confidence=landmarks.landmarks3d_confidence,
        intrinsics=intrinsics)


def describe_summary(segmentation, landmarks, intrinsics):
    """`summarize(describe(...))`, to the last bits the same, without the large maps: for training.

    F is spread and averaged again, K painted and averaged: both are skipped, and full maps are painted only of the
    keypoints that the context reads.
    """
    pooled = heatmaps.paint_pooled_heatmaps(landmarks.keypoints, landmarks.confidence)
    features, logits = segmentation(pooled, landmarks.person_mask)
    part_maps = tf.nn.softmax(logits)
    read = heatmaps.paint_heatmaps(tf.gather(landmarks.keypoints, READ_KEYPOINTS, axis=1),
                                   tf.gather(landmarks.confidence, READ_KEYPOINTS, axis=1))
    keypoints, confidence = heatmaps.read_keypoints(read)
    return EvidenceSummary(
        feature_maps=features, maps=tf.concat([pooled, tf.nn.avg_pool2d(part_maps, 2, 2, "VALID")], -1),
        keypoints=keypoints, confidence=confidence, landmarks3d=landmarks.landmarks3d,
        landmarks3d_confidence=landmarks.landmarks3d_confidence, part_maps=part_maps, intrinsics=intrinsics)
