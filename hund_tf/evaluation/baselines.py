"""What to beat: the landmark network's own 3D points, placed in the camera by their 2D detections."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hund_tf.geometry.camera import default_intrinsics

KEYPOINTS = 137


class BaselinePerson(NamedTuple):
    """The fields of `reconstruct.Person` that the protocols read."""

    box: np.ndarray
    keypoints3d: np.ndarray
    keypoints2d: np.ndarray
    keypoint_confidence: np.ndarray
    detected_keypoints2d: np.ndarray
    stage_losses: np.ndarray  # empty: it has no stages
    vertices: np.ndarray


class BaselineResult(NamedTuple):
    """The part of `reconstruct.Reconstruction` that the protocols read."""

    people: list


class LandmarkBaseline:
    """Detector and landmark networks alone, behind the interface of a `Reconstructor`.

    The 25 world landmarks keep the network's orientation and size; their shift is the least-squares one that makes
    them project onto the detected keypoints.

    Args:
        detector: `PersonDetector`; the packaged one if None.
        landmarks: `LandmarkNetworks`; the packaged ones if None.
    """

    def __init__(self, detector=None, landmarks=None):
        from hund_tf.sensing.detector import PersonDetector
        from hund_tf.sensing.landmarks import LandmarkNetworks

        self.detector = PersonDetector() if detector is None else detector
        self.landmarks = LandmarkNetworks() if landmarks is None else landmarks

    def reconstruct(self, image, intrinsics=None, boxes=None, num_stages=None, max_people=None):
        """As `Reconstructor.reconstruct`; `num_stages` is of no effect."""
        from hund_tf.sensing import crops

        del num_stages
        if intrinsics is None:
            intrinsics = default_intrinsics(*image.shape[:2])
        if boxes is None:
            boxes = self.detector(tf.constant(image))[0].numpy()
        boxes = np.asarray(boxes, np.float32)[:max_people]
        if not len(boxes):
            return BaselineResult([])
        pixels, crop_from_image = crops.crop_images(tf.constant(image), tf.constant(boxes))
        found = self.landmarks(pixels)
        detected = crops.to_image(found.keypoints, crop_from_image).numpy()
        people = []
        for box, points, seen, confidence, sure in zip(
                boxes, found.landmarks3d.numpy(), detected, found.confidence.numpy(),
                found.landmarks3d_confidence.numpy()):
            shift = place(points, seen[:25], confidence[:25] * sure, intrinsics)
            keypoints3d = np.full([KEYPOINTS, 3], shift, np.float64)
            keypoints3d[:25] = points + shift
            keypoints2d = keypoints3d[:, :2] / np.maximum(keypoints3d[:, 2:], 0.05) * intrinsics[:2] + intrinsics[2:]
            people.append(BaselinePerson(
                box, keypoints3d, keypoints2d, np.where(np.arange(KEYPOINTS) < 25, confidence, 0.0), seen,
                np.zeros(0), keypoints3d[:25]))
        return BaselineResult(people)


def place(points, pixels, weights, intrinsics):
    """Shift that makes points project onto pixels, by weighted linear least squares.

    Args:
        points: `[J, 3]`, metres, camera axes.
        pixels: `[J, 2]`.
        weights: `[J]`, not negative.
        intrinsics: fx, fy, cx, cy.

    Returns:
        `[3]`, metres. Source: `fx (X + tx) = (u - cx)(Z + tz)`, which is linear in the shift.
    """
    fx, fy, cx, cy = intrinsics
    rays = (np.asarray(pixels, np.float64) - (cx, cy)) / (fx, fy)
    points, weights = np.asarray(points, np.float64), np.asarray(weights, np.float64)
    zero, one = np.zeros(len(points)), np.ones(len(points))
    rows = np.concatenate([np.stack([one, zero, -rays[:, 0]], 1), np.stack([zero, one, -rays[:, 1]], 1)])
    target = np.concatenate([rays[:, axis] * points[:, 2] - points[:, axis] for axis in (0, 1)])
    both = np.tile(weights, 2)
    return np.linalg.lstsq(rows * both[:, None], target * both, rcond=None)[0]
