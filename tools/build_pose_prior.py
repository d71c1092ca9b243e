"""Fits the pose priors on motion capture: 6D rotations of body and hands in, arrays of the schema out.

The Gaussians: frames are drawn by clip with walking weighted down, and mirrored. The flows learn from these and from the
poses that training makes up (sitting, reaching, recombined bodies), half and half. 15 % of the clips are held out (seed 0).
Both hands have one flow: the right hand is the left one in a mirror.
"""

import os

import numpy as np

import train_pose_flow
from hand_poses import HandPoses
from hund_tf.body import learned_priors, pose_flow
from hund_tf.training.poses import MotionLibrary

STD_FLOOR = 0.05  # of a 6D number along any direction, so that rare poses keep codes of moderate size
FRAMES = 60000
STEPS = 5000


def fit(folder, rng):
    """Arrays `pose_{body, left_hand, right_hand}_{mean, factor}` and `pose_{body, hand}_flow_*` of the schema."""
    body, hand = samplers(folder, rng)
    result = {}
    result["pose_body_mean"], result["pose_body_factor"] = gaussian(body(FRAMES, made_up=False))
    mean, factor = result["pose_left_hand_mean"], result["pose_left_hand_factor"] = gaussian(hand(FRAMES))
    mirror = np.tile(np.float32([1.0, -1.0, -1.0, -1.0, 1.0, 1.0]), len(mean) // 6)
    result["pose_right_hand_mean"], result["pose_right_hand_factor"] = mean * mirror, factor * mirror
    for kind, part, sample in (("body", "body", body), ("hand", "left_hand", hand)):
        affine = pose_flow.AffinePoseFlow(result[f"pose_{part}_mean"], result[f"pose_{part}_factor"])
        result.update(learned_priors.pose_flow_arrays(kind, *train_pose_flow.fit(affine, sample(2 * FRAMES), STEPS, rng)))
    return result


def samplers(folder, rng, split="train"):
    """Two callables, of the body's and of the left hand's poses: `(count, made_up=True)` -> 6D rotations `[count, D]`."""
    motion, hands = MotionLibrary(os.path.join(folder, "body22_permissive.npz")), HandPoses(folder)

    def body(count, made_up=True):
        captured = motion.sample(count, split, rng, made_up=False)
        if made_up:
            captured = np.concatenate([captured[count // 2:], motion.sample(count // 2, split, rng)])
        return six(captured[rng.permutation(count), 1:])

    def hand(count, made_up=True):
        return six(hands.sample(count, split, rng, made_up))

    return body, hand


def gaussian(samples):
    """Mean `[D]` and symmetric factor `[D, D]` of samples `[N, D]`; spread at least `STD_FLOOR` in any direction."""
    mean = samples.mean(0)
    values, vectors = np.linalg.eigh(np.cov((samples - mean).T))
    spread = np.sqrt(np.maximum(values, STD_FLOOR**2))
    return mean.astype(np.float32), ((vectors * spread) @ vectors.T).astype(np.float32)


def six(matrices):
    """Rotations `[N, J, 3, 3]` -> first two columns `[N, 6 J]`."""
    return np.concatenate([matrices[..., 0], matrices[..., 1]], axis=-1).reshape(len(matrices), -1)
