"""Draws sheets of what the priors of a body hold: samples and interpolations of pose, hand, shape and face codes.

    python tools/render_prior_sheet.py -o docs/images
"""

import argparse
import os

import cv2
import numpy as np
import tensorflow as tf
from scipy.spatial.transform import Rotation

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.state import THETA, THETA_BODY, THETA_HAND
from render_body_sheet import Artist

COLUMNS = 10
UPRIGHT = np.diag([1.0, -1.0, -1.0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--body", help="name or path of the body")
    parser.add_argument("--pose-prior", choices=("flow", "gaussian"))
    parser.add_argument("--codes", choices=("vae", "linear"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="docs/images", help="folder")
    options = parser.parse_args()
    if not os.path.isdir(options.output):
        parser.error(f"--output must be a folder that exists. Received: {options.output}")
    artist = Artist(GenerativeBody.from_asset(options.body, pose_prior=options.pose_prior, codes=options.codes))
    rng = np.random.default_rng(options.seed)
    for name, pictures in (("prior_poses", poses(artist, rng)), ("prior_hands_faces_shapes", parts(artist, rng))):
        rows = [np.concatenate(pictures[i:i + COLUMNS], axis=1) for i in range(0, len(pictures), COLUMNS)]
        sheet = cv2.resize(np.concatenate(rows)[..., ::-1], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
        cv2.imwrite(os.path.join(options.output, name + ".png"), sheet, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def poses(artist, rng):
    """A hundred poses drawn from N(0, I), then three rows from one drawn pose to another."""
    codes = rng.normal(size=(100, THETA))
    codes[:, THETA_BODY:] = 0
    pictures = [_draw(artist, code, yaw=20) for code in codes]
    for start, end in ((3, 17), (42, 8), (61, 77)):
        pictures += [_draw(artist, code, f"{share:.1f}") for code, share in _between(codes[start], codes[end])]
    return pictures


def parts(artist, rng):
    """Rows of drawn hands, of faces, of shapes, and of shapes between two."""
    hands = rng.normal(size=(20, THETA)) * (np.arange(THETA) >= THETA_BODY) * (np.arange(THETA) < THETA_BODY + THETA_HAND)
    pictures = [_draw(artist, code, pitch=75, near="left_middle1", zoom=7) for code in hands]
    pictures += [_draw(artist, code, near="left_eye", zoom=6, expression=face)
                 for code, face in zip(np.zeros((20, THETA)), rng.normal(size=(20, 20)))]
    shapes = rng.normal(size=(20, 16))
    pictures += [_draw(artist, np.zeros(THETA), shape=shape) for shape in shapes]
    return pictures + [_draw(artist, np.zeros(THETA), f"{share:.1f}", shape=shape)
                       for shape, share in _between(shapes[0], shapes[1])]


def _between(first, second):
    return [((1 - share) * first + share * second, share) for share in np.linspace(0, 1, COLUMNS)]


def _draw(artist, theta, title="", yaw=0, pitch=0, shape=None, expression=None, near=None, zoom=1.0):
    view = UPRIGHT @ Rotation.from_euler("xy", [pitch, yaw], degrees=True).as_matrix()
    state = {"theta": theta, "shape": np.zeros(16) if shape is None else shape,
             "expression": np.zeros(20) if expression is None else expression,
             "rotation": np.concatenate([view[:, 0], view[:, 1]]), "translation": [0.0, 0.0, 4.0]}
    if near:  # hands and faces are seen on a body at rest
        local = artist.body.rotations_from_theta(tf.constant([theta], tf.float32)).numpy()
        local[0, :22] = np.eye(3)
        values = (local, *([state[name]] for name in ("shape", "expression", "rotation", "translation")))
        posed = artist.body.pose_from_rotations(*(tf.constant(np.array(x), tf.float32) for x in values))
    else:
        posed = artist.body({name: tf.constant([value], tf.float32) for name, value in state.items()})
    return artist.draw(posed, title, near=near, zoom=zoom)


if __name__ == "__main__":
    main()
