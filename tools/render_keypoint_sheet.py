"""Draws a sheet of the keypoint sets for the eye: every set on a T-pose and a bent pose, from the front and the side.

    python tools/render_keypoint_sheet.py -o docs/images/keypoints.png

Red points are the body's left, blue ones its right, green ones neither. The numbers are explained beside each row;
those of face and hands stand in the second row.
"""

import argparse

import cv2
import numpy as np
from PIL import Image

from hund_tf.body import keypoints
from hund_tf.body.generative_body import GenerativeBody
from hund_tf.visualization import renderer
from render_body_sheet import BENT, SKIN, Artist

SIDE = 460  # pixels of a view before it is cut to its width
FOCAL = 2.05 * SIDE
BOW = {**BENT, "spine2": (0.35, 0, 0), "neck": (0.4, 0, 0)}
# Title, pose, degrees round the body, and the pixels (from, to) that are kept.
VIEWS = (("T-pose", {}, 0, (0, 460)), ("from its right", {}, 90, (150, 300)), ("bent", BOW, 0, (90, 390)),
         ("bent, from its right", BOW, 90, (90, 450)))
# Title, first and last keypoint, the joint in the middle, how much closer, pixels kept.
CLOSE = (("face, 25 to 94", 25, 94, "left_eye", 6.5, (50, 410)),
         ("left hand, 95 to 115", 95, 115, "left_index1", 6.5, (0, 460)),
         ("right hand, 116 to 136", 116, 136, "right_index1", 6.5, (0, 450)))
LEGEND = 200  # pixels
COLORS = {"left": (205, 40, 40), "right": (40, 70, 215), "": (0, 125, 0)}  # RGB
NUMBERED = 25  # of the 137: the body's
TITLES = {"openpose137": "OpenPose, 137", "h36m17": "Human3.6M, 17", "coco17": "COCO, 17", "lsp14": "LSP, 14",
          "smpl24": "SMPL, 24"}
_LIMBS = "shoulder-elbow elbow-wrist hip-knee knee-ankle"
_HAND = " ".join(f"hand_wrist-hand_{finger}1 " + " ".join(f"hand_{finger}{i}-hand_{finger}{i + 1}" for i in (1, 2, 3))
                 for finger in ("thumb", "index", "middle", "ring", "pinky"))
# Lines by names: first those of both sides, without "left_" and "right_", then the others.
LINES = {
    "openpose137": (f"{_LIMBS} ankle-big_toe big_toe-small_toe ankle-heel eye-ear {_HAND}",
                    "nose-neck neck-mid_hip neck-left_shoulder neck-right_shoulder mid_hip-left_hip mid_hip-right_hip "
                    "nose-left_eye nose-right_eye"),
    "h36m17": (_LIMBS, "pelvis-spine spine-thorax thorax-neck_nose neck_nose-head thorax-left_shoulder "
                       "thorax-right_shoulder pelvis-left_hip pelvis-right_hip"),
    "coco17": (f"{_LIMBS} shoulder-hip eye-ear",
               "left_shoulder-right_shoulder left_hip-right_hip nose-left_eye nose-right_eye"),
    "lsp14": (_LIMBS, "head_top-neck neck-left_shoulder neck-right_shoulder left_hip-right_hip neck-left_hip "
                      "neck-right_hip"),
    "smpl24": (f"{_LIMBS} ankle-foot wrist-hand collar-shoulder",
               "pelvis-spine1 spine1-spine2 spine2-spine3 spine3-neck neck-head spine3-left_collar spine3-right_collar "
               "pelvis-left_hip pelvis-right_hip")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--body", default=None, help="name or path of the body")
    parser.add_argument("-o", "--output", default="docs/images/keypoints.png")
    options = parser.parse_args()
    artist = Artist(GenerativeBody.from_asset(options.body))
    poses = [artist.pose(turns, yaw=yaw) for _, turns, yaw, _ in VIEWS]
    renders = [_render(artist.body, posed) for posed in poses]
    rows = []
    for name in TITLES:
        names, points = _points(artist.body, name, poses)
        lines = _lines(name, names)
        rows.append([_draw(picture, names[:NUMBERED], names, at, lines, title, kept)
                     for picture, at, (title, _, _, kept) in zip(renders, points, VIEWS)])
        rows[-1].insert(0, _legend(TITLES[name], names))
        if len(names) > 100:
            rows.append([np.full([SIDE, LEGEND, 3], 255, np.uint8), *(_close_up(artist, *view) for view in CLOSE)])
    rows = [np.concatenate(row, axis=1) for row in rows]
    rule = np.full([2, rows[0].shape[1], 3], 225, np.uint8)
    sheet = Image.fromarray(np.concatenate([part for row in rows for part in (rule, row)]))
    sheet.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(options.output, optimize=True)


def _close_up(artist, title, first, last, joint, zoom, kept):
    posed = artist.pose(pitch=0 if joint.endswith("eye") else 75)
    middle = posed.joints[0, artist.body.joint_names.index(joint)].numpy()
    offset = middle[:2] / middle[2] * FOCAL * zoom * ([0, 1] if joint.endswith("eye") else [1, 1])
    names, points = artist.body.keypoint_names, posed.keypoints[0].numpy()
    lines = [line for line in _lines("openpose137", names) if min(line) >= first and max(line) <= last]
    picture = _render(artist.body, posed, zoom, offset)
    return _draw(picture, names[first:last + 1], names, points, lines, title, kept, zoom, offset, first, last)


def _points(body, name, poses):
    """Names, and the points `[P, 3]` of each pose in metres."""
    if name == "openpose137":
        return body.keypoint_names, [posed.keypoints[0].numpy() for posed in poses]
    names, weights = keypoints.regressor(body, name)
    return names, [keypoints.regress(weights, posed)[0].numpy() for posed in poses]


def _lines(name, names):
    """Pairs of indices."""
    sides, middle = (text.split() for text in LINES[name])
    pairs = [tuple(f"{side}_{end}" for end in line.split("-")) for line in sides for side in ("left", "right")]
    pairs += [tuple(line.split("-")) for line in middle]
    return [(names.index(first), names.index(second)) for first, second in pairs]


def _render(body, posed, zoom=1.0, offset=(0, 0)):
    """The body pale, so that points inside it show: uint8 `[SIDE, SIDE, 3]`."""
    vertices, faces = posed.vertices[0].numpy(), body.faces()
    intrinsics = FOCAL * zoom, FOCAL * zoom, SIDE / 2 - offset[0], SIDE / 2 - offset[1]
    fragments = renderer.render(vertices, faces, intrinsics, SIDE, SIDE)
    lit = renderer.lit_colors(vertices, renderer.vertex_normals(vertices, faces), np.broadcast_to(SKIN, vertices.shape))
    picture = np.where((fragments.face_index >= 0)[..., None], 0.45 * renderer.shade(fragments, faces, lit) + 0.55, 1.0)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _draw(picture, numbered, names, points, lines, title, kept, zoom=1.0, offset=(0, 0), first=0, last=1000):
    picture = picture.copy()
    # cv2 counts from the centre of the first pixel, and in sixteenths with shift=4
    pixels = points[:, :2] / points[:, 2:] * FOCAL * zoom + SIDE / 2 - 0.5 - offset
    fixed = np.round(pixels * 16).astype(int).tolist()
    for start, end in lines:
        cv2.line(picture, fixed[start], fixed[end], (120, 120, 120), 1, cv2.LINE_AA, shift=4)
    for i, name in list(enumerate(names))[first:last + 1]:
        cv2.circle(picture, fixed[i], 44 if name in numbered else 16, COLORS[_side(name)], -1, cv2.LINE_AA, shift=4)
        if name in numbered:
            place = int(pixels[i, 0]) + 4, int(pixels[i, 1]) - 3
            cv2.putText(picture, str(i), place, 0, 0.33, (30, 30, 30), 1, cv2.LINE_AA)
    picture = np.ascontiguousarray(picture[:, kept[0]:kept[1]])
    cv2.putText(picture, title, (6, 14), 0, 0.38, (110, 110, 110), 1, cv2.LINE_AA)
    return picture


def _legend(title, names):
    picture = np.full([SIDE, LEGEND, 3], 255, np.uint8)
    cv2.putText(picture, title, (10, 20), 0, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
    listed = names[:NUMBERED] if len(names) > 100 else names
    for i, name in enumerate(listed):
        cv2.putText(picture, f"{i}  {name}", (10, 42 + 16 * i), 0, 0.38, COLORS[_side(name)], 1, cv2.LINE_AA)
    return picture


def _side(name):
    return next((side for side in ("left", "right") if side in name), "")


if __name__ == "__main__":
    main()
