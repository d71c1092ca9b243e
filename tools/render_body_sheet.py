"""Draws a sheet of the body for the eye: rest pose, bends, fists, faces, people of many shapes, captured poses.

    python tools/render_body_sheet.py --motion body22_permissive.npz -o docs/images/body.png
"""

import argparse
import os

import cv2
import numpy as np
import tensorflow as tf
from scipy.spatial.transform import Rotation

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.visualization import renderer

SIDE = 220  # pixels of a picture
DENSITY = 1010.0  # kg / m^3
SKIN = (0.80, 0.65, 0.55)
PEOPLE = (("tall", 1.90, 84), ("short", 1.52, 50), ("heavy", 1.70, 110), ("thin", 1.72, 50))
CLIPS = (("Walk_Loop", 3), ("Sitting_Idle", 2), ("Crouch_Idle", 2), ("Dance_Loop", 8), ("Punch_Cross", 5))
BENT = {"left_elbow": (0, -1.6, 0), "right_elbow": (0, 2.2, 0), "left_knee": (1.8, 0, 0), "right_hip": (-1.3, 0, 0),
        "right_knee": (1.0, 0, 0), "left_shoulder": (0, 0, -0.6)}
FIST = {f"{side}_{finger}{i}": (0, 0, sign * angle) for side, sign in (("left", -1), ("right", 1))
        for finger in ("index", "middle", "ring", "pinky") for i, angle in ((1, 1.4), (2, 1.6), (3, 1.0))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--body", default=None, help="name or path of the body")
    parser.add_argument("--motion", default=None, help="motion capture to pose, optional")
    parser.add_argument("-o", "--output", default="docs/images/body.png")
    options = parser.parse_args()
    if not os.path.isdir(os.path.dirname(options.output) or "."):
        parser.error(f"--output must lie in a folder that exists. Received: {options.output}")
    artist = Artist(GenerativeBody.from_asset(options.body, codes="linear"))  # faces and people are made by linear algebra
    pictures = artist.rest() + artist.bends() + artist.hands() + artist.faces() + artist.people()
    if options.motion:
        pictures += artist.captured(options.motion)
    columns = 8
    pictures += [np.full_like(pictures[0], 255)] * (-len(pictures) % columns)
    rows = [np.concatenate(pictures[i:i + columns], axis=1) for i in range(0, len(pictures), columns)]
    sheet = np.concatenate(rows)[..., ::-1]
    cv2.imwrite(options.output, sheet, [cv2.IMWRITE_PNG_COMPRESSION, 9])


class Artist:
    """Poses one body and draws it."""

    def __init__(self, body):
        self.body = body

    def rest(self):
        labels, palette = self.body.part_labels(), np.random.default_rng(4).uniform(0.25, 1, (15, 3))
        low_labels = self.body.part_labels("low")
        return [self.draw(self.pose(), "T-pose"), self.draw(self.pose(yaw=90), "from its right"),
                self.draw(self.pose(mesh="low"), "low mesh", mesh="low"), self.draw(self.pose(), "137 keypoints", keypoints=True),
                self.draw(self.pose(), "parts", colors=palette[labels]),
                self.draw(self.pose(mesh="low"), "parts, low", mesh="low", colors=palette[low_labels])]

    def bends(self):
        return [self.draw(self.pose(BENT, yaw=yaw), f"bends, {yaw} deg") for yaw in (0, 50)]

    def hands(self):
        half = {joint: np.array(turn) / 2 for joint, turn in FIST.items()}
        twist = {"left_wrist": (1.5, 0, 0)}
        return [self.draw(self.pose(turns, pitch=pitch), name, near="left_middle1", zoom=7, keypoints=name == "half curl")
                for turns, pitch, name in (({}, 75, "open hand"), (half, 75, "half curl"), (FIST, 75, "fist"),
                                           (FIST, -60, "fist, palm side"), (twist, 75, "wrist twist"))]

    def faces(self):
        names = list(self.body.keypoint_names)
        near = "left_eye" if "left_eye" in self.body.joint_names else "head"
        at = {name: names.index(f"face_mouth_{i}") for name, i in (("upper", 14), ("lower", 18), ("right", 0), ("left", 6))}
        basis = np.stack([self.points(expression=row) - self.points() for row in np.eye(20)])  # [20, 137, 3]
        gap = basis[:, at["upper"], 1] - basis[:, at["lower"], 1]
        corners = [basis[:, at["left"], 1], basis[:, at["right"], 1], basis[:, at["left"], 0], -basis[:, at["right"], 0], gap]
        faces = (("neutral", np.zeros(20)), ("jaw open", _least_code([gap], [0.04])),
                 ("smile", _least_code(corners, [0.010, 0.010, 0.008, 0.008, 0.0])))
        return [self.draw(self.pose(expression=code, yaw=yaw), name, near=near, zoom=6, keypoints=yaw == 0)
                for name, code in faces for yaw in (0, 40)][:6]

    def people(self):
        codes = np.random.default_rng(0).normal(size=(300, 16))
        measures = np.array([self.measure(code) for code in codes])
        zero = self.measure(np.zeros(16))
        slope = np.linalg.lstsq(codes, measures - zero, rcond=None)[0].T  # [2, 16]
        pictures = []
        people = {name: _least_code(slope, np.array([height, np.log(mass)]) - zero) for name, height, mass in PEOPLE}
        for name, code in {**people, "smallest of 300": codes[measures[:, 0].argmin()]}.items():
            tall, log_mass = self.measure(code)
            title = f"{name} {tall:.2f} m {np.exp(log_mass):.0f} kg"
            print(title, "code size", round(float(np.linalg.norm(code)), 1))
            pictures.append(self.draw(self.pose({"left_shoulder": (0, 0, -1.2), "right_shoulder": (0, 0, 1.2)}, shape=code), title))
        return pictures

    def captured(self, path):
        pictures = []
        with np.load(path, allow_pickle=False) as data:
            quaternions, clips, names = data["quat_wxyz_local"].astype(float), data["clip_id"], data["clip_names"]
        for name, frame in CLIPS:
            clip = next(i for i, n in enumerate(names) if name in str(n))
            turns = Rotation.from_quat(quaternions[np.flatnonzero(clips == clip)[frame]][:, [1, 2, 3, 0]]).as_rotvec()
            turns = dict(zip(self.body.joint_names, turns))
            pictures.append(self.draw(self.pose(turns, yaw=30), name))
        return pictures

    def pose(self, turns=(), shape=None, expression=None, yaw=0, pitch=0, mesh="full"):
        local = np.tile(np.eye(3), (1, len(self.body.joint_names), 1, 1))
        for joint, turn in dict(turns).items():
            local[0, self.body.joint_names.index(joint)] = Rotation.from_rotvec(turn).as_matrix()
        view = np.diag([1.0, -1.0, -1.0]) @ Rotation.from_euler("xy", [pitch, yaw], degrees=True).as_matrix()
        values = (local, [np.zeros(16) if shape is None else shape], [np.zeros(20) if expression is None else expression],
                  [np.concatenate([view[:, 0], view[:, 1]])], [[0.0, 0.0, 4.0]])
        return self.body.pose_from_rotations(*(tf.constant(np.array(x), tf.float32) for x in values), mesh=mesh)

    def points(self, expression=None):
        """Keypoints `[137, 3]` of the T-pose in the body frame's axes."""
        return self.pose(expression=expression, mesh=None).keypoints[0].numpy() * [1, -1, -1]

    def measure(self, code):
        """Stature in metres and log of the mass in kilograms."""
        vertices, faces = self.pose(shape=code).vertices[0].numpy().astype(np.float64), self.body.faces()
        a, b, c = np.moveaxis(vertices[faces] - [0, 0, 4.0], 1, 0)
        return np.array([np.ptp(vertices[:, 1]), np.log(DENSITY * (np.cross(a, b) * c).sum() / 6)])

    def draw(self, posed, title, near=None, zoom=1.0, mesh="full", colors=SKIN, keypoints=False):
        """One picture, uint8 `[SIDE, SIDE, 3]`: the whole body, or `zoom` times closer on a joint."""
        vertices, faces = posed.vertices[0].numpy(), self.body.faces(mesh)
        focal = 1.85 * SIDE * zoom
        centre = np.zeros(2)
        if near:
            joint = posed.joints[0, self.body.joint_names.index(near)].numpy()
            centre = joint[:2] / joint[2] * focal * ([0, 1] if near.endswith("eye") else 1)
        intrinsics = (focal, focal, SIDE / 2 - centre[0], SIDE / 2 - centre[1])
        fragments = renderer.render(vertices, faces, intrinsics, SIDE, SIDE)
        lit = renderer.lit_colors(vertices, renderer.vertex_normals(vertices, faces), np.broadcast_to(colors, vertices.shape))
        picture = np.where((fragments.face_index >= 0)[..., None], renderer.shade(fragments, faces, lit), 1.0)
        picture = np.ascontiguousarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
        if keypoints:
            for name, (x, y, z) in zip(self.body.keypoint_names, posed.keypoints[0].numpy()):
                color = (210, 40, 40) if "left" in name else (40, 60, 220) if "right" in name else (0, 130, 0)
                pixel = int(x / z * focal + intrinsics[2]), int(y / z * focal + intrinsics[3])
                cv2.circle(picture, pixel, 1 if zoom == 1 else 2, color, -1, cv2.LINE_AA)
        cv2.putText(picture, title, (6, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (70, 70, 70), 1, cv2.LINE_AA)
        return picture


def _least_code(slopes, targets):
    """The smallest code that meets linear targets: `[M, D]` and `[M]` -> `[D]`."""
    return np.linalg.pinv(np.array(slopes)) @ np.array(targets)


if __name__ == "__main__":
    main()
