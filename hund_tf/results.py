"""What `reconstruct` gives back, here or through a server: named tuples of NumPy arrays; TensorFlow is not loaded for them."""

from typing import List, NamedTuple, Optional

import numpy as np


class Person(NamedTuple):
    """One reconstructed person; NumPy arrays, camera frame, metres.

    What is in pixels falls on the photo as it was given, distorted or not. `keypoints2d` are computed from
    `keypoints3d` and the photo's intrinsics in float64, exact to 1e-4 pixels; float32 holds no pixel of a large photo
    so well.

    Attributes:
        box: `[4]`, x, y, width, height, pixels of the photo.
        score: float, the detector's, 0 to 1.
        state: `ModelState`, or a named tuple of its fields, of vectors: theta `[306]`, shape `[16]`, expression `[20]`,
            rotation `[6]`, translation `[3]`.
        vertices: `[V, 3]`.
        faces: `[F, 3]`, vertex indices.
        joints3d: `[63, 3]`.
        keypoints3d: `[137, 3]`, OpenPose order.
        keypoints2d: `[137, 2]` float64, their projection, pixels of the photo.
        keypoint_confidence: `[137]`, of the detections, 0 where unseen.
        detected_keypoints2d: `[137, 2]` float64, pixels of the photo.
        joint_rotations: `[63, 3, 3]`, local, relative to the T-pose.
        stage_losses: `[M + 1]`, L_u of the body's network, that of s_0 first.
        stage_states: `[M + 1, S]`, packed, of the same.
        refined_loss: float, L_u after `refine` iterations of L-BFGS, which gave the body; None without.
        part_weights: `[3]`, how far left hand, right hand and head follow the networks of hands and face, 0 to 1: fingers and
            wrists, expression and the turn of the head. At 0 (not seen, a turn that no joint makes, or a preset without those
            networks) wrist and head stand as the body's network has them, fingers and face as the prior's mean.
        keypoint_uncertainty: `[137, 2]`, metres: radii about each point of `keypoints3d`, relative to the pelvis, within which
            the true one lies in 50 and in 90 of 100 cases of rendered evidence; on photos it is fewer
            (docs/whole_body.md). None if the preset was not calibrated.
        joint_uncertainty: `[63, 2]`, as that, of `joints3d`.
    """

    box: np.ndarray
    score: float
    state: NamedTuple
    vertices: np.ndarray
    faces: np.ndarray
    joints3d: np.ndarray
    keypoints3d: np.ndarray
    keypoints2d: np.ndarray
    keypoint_confidence: np.ndarray
    detected_keypoints2d: np.ndarray
    joint_rotations: np.ndarray
    stage_losses: np.ndarray
    stage_states: np.ndarray
    refined_loss: Optional[float] = None
    part_weights: np.ndarray = np.zeros(3, np.float32)
    keypoint_uncertainty: Optional[np.ndarray] = None
    joint_uncertainty: Optional[np.ndarray] = None


class Reconstruction(NamedTuple):
    """All people of one photo, in one camera space.

    Attributes:
        image_size: (H, W).
        intrinsics: `[4]` float64, fx, fy, cx, cy, pixels; one camera for all people.
        intrinsics_source: str, "given" or "default (fx = fy = max(H, W))".
        people: list of `Person`, by score.
        timings: dict, seconds of each part.
        distortion: `[K]` float64, the lens' coefficients as given, OpenCV's order; None without.
        refined: int, iterations of L-BFGS asked for after the descent.
    """

    image_size: tuple
    intrinsics: np.ndarray
    intrinsics_source: str
    people: List[Person]
    timings: dict
    distortion: Optional[np.ndarray] = None
    refined: int = 0
