"""A reconstruction in, files out: `<stem>.json`, `<stem>.glb` (.obj, .ply) and `<stem>.png`, each whole or not at all."""

import json
import math
import os
from importlib.metadata import version

import numpy as np

import hund_tf
from hund_tf.files import write_atomically

FORMATS = ("json", "glb", "obj", "ply", "png")
PARTS = ("left_hand", "right_hand", "head")  # in the order of `part_weights`
SOFTWARE = "hund_tf"  # every file says so near its beginning
_HEAD = 4096  # bytes in which it does

UNITS = {
    "length": "metres",
    "pixels": "pixels of the upright photo (after EXIF rotation)",
    "angle": "rotation matrices and 6D rotations, no unit",
    "codes": "theta, shape and expression are codes with a standard normal prior",
    "part_weights": "0 to 1: how far fingers and wrist, or expression and head, follow the network of that hand or of the face; "
                    "at 0 it was not seen, or asks for a turn that no joint makes, and fingers and face are the prior's mean",
    "uncertainty": "metres: radii, relative to the pelvis, within which the true point lies in 50 and in 90 of 100 cases of "
                   "rendered evidence, fewer on photos; null: not calibrated",
}
FRAMES = {
    "camera": "right-handed: +x right, +y down, +z forward; origin at the camera. keypoints3d, joints3d, vertices and "
              "translation are in this frame",
    "image": "(x, y), origin at the corner of the top-left pixel, whose centre is at (0.5, 0.5); of the photo as it "
             "was given, so with camera.distortion (OpenCV's order; null: none) keypoints2d are bent by the lens",
    "body": "+y up, the person faces +z, its left is +x; origin at the pelvis. "
            "camera_point = R(rotation) @ body_point + translation",
    "rotation": "6 numbers: first column of R, then second column; the third is their cross product",
    "joint_rotations": "3 x 3, of a joint relative to its parent; identity everywhere is the T-pose",
    "mesh files": "the camera scene turned half round its x axis, as viewers expect: +x right, +y up, -z forward",
}


def describe(reconstruction, image, names, preset=None, server=None):
    """The reconstruction as plain lists and words, ready for `json`.

    Args:
        reconstruction: `Reconstruction`.
        image: str, the photo's path as the user gave it.
        names: pair of lists of str, the 137 keypoints and 63 joints.
        preset: str, name of the preset.
        server: dict, where it was reconstructed and by which release, if not here: its TensorFlow is then unknown, None.

    Returns:
        dict, without NaN: a number that is not finite is None. Pixels are rounded to 0.01, metres to 0.00001.
    """
    height, width = reconstruction.image_size
    return {
        "software": f"{SOFTWARE} {hund_tf.__version__}",
        "tensorflow": version("tensorflow") if server is None else None,
        "server": server,
        "preset": preset,
        "image": os.fsencode(image).decode("utf-8", "replace"),
        "width": int(width),
        "height": int(height),
        "camera": {
            "intrinsics": _plain(reconstruction.intrinsics, 3), "source": reconstruction.intrinsics_source,
            "distortion": None if reconstruction.distortion is None else list(map(float, reconstruction.distortion))},
        "refined": int(reconstruction.refined),
        "units": UNITS,
        "frames": FRAMES,
        "timings": {name: _plain(seconds, 4) for name, seconds in reconstruction.timings.items()},
        "people": [_person(person, *names) for person in reconstruction.people],
    }


def write(reconstruction, pixels, folder, stem, image, names, preset=None, formats=("json", "glb", "png"), server=None):
    """Writes the files of one photo; those of an earlier run with the same name are replaced.

    Args:
        reconstruction: `Reconstruction`.
        pixels: uint8 `[H, W, 3]`, RGB, the photo.
        folder: str, made if missing.
        stem: str, file name without suffix.
        image: str, the photo's path as the user gave it.
        names: pair of lists of str, keypoints and joints.
        preset: str, name of the preset.
        formats: some of `FORMATS`.
        server: dict, as for `describe`.

    Returns:
        list of str, the paths written. A photo without people has no mesh file.

    Raises:
        OSError: if a file cannot be written; an old file of that name is then still whole.
    """
    os.makedirs(folder, exist_ok=True)
    written = []
    for kind in formats:
        path = os.path.join(folder, f"{stem}.{kind}")
        if kind == "json":
            _write_json(describe(reconstruction, image, names, preset, server), path)
        elif kind == "png":
            write_atomically(path, lambda temporary: save_png(draw(reconstruction, pixels), temporary))
        elif _finite_meshes(reconstruction):
            _write_mesh(reconstruction, path)
        else:
            if os.path.exists(path) and is_ours(path):
                os.remove(path)  # of an earlier run: it would contradict the JSON beside it
            continue
        written.append(path)
    return written


def is_ours(path):
    """Whether a file was written by this package; only those are replaced."""
    with open(path, "rb") as file:
        return SOFTWARE.encode() in file.read(_HEAD)


def draw(reconstruction, pixels):
    """The overlay, uint8 `[H', W', 3]`: meshes over the photo `pixels` `[H, W, 3]`, beside other viewpoints.

    The photo is shown as it was given; with a distorted lens the meshes over it are bent as the lens bends people.
    """
    from hund_tf.visualization import overlay

    meshes = [(person.vertices, person.faces) for person in reconstruction.people]
    lens = None
    if reconstruction.distortion is not None:
        from hund_tf.distortion import LensDistortion

        lens = LensDistortion(reconstruction.distortion, reconstruction.intrinsics, *reconstruction.image_size)
    return overlay.draw_overlay(pixels, meshes, reconstruction.intrinsics, lens=lens)


def save_png(pixels, path):
    """Writes uint8 `[H, W, 3]` RGB as PNG."""
    from PIL import Image, PngImagePlugin

    information = PngImagePlugin.PngInfo()
    information.add_text("Software", SOFTWARE)
    Image.fromarray(pixels).save(path, format="PNG", pnginfo=information)


def output_stems(paths):
    """A file stem for each photo, no two alike: `name`, then `name-2`, `name-3` for later photos of that name.

    Upper and lower case count as the same, as some file systems do.
    """
    own = [os.path.splitext(os.path.basename(path))[0] for path in paths]
    taken, stems = set(), []
    reserved = {stem.lower() for stem in own}
    for stem in own:
        candidate, number = stem, 1
        while candidate.lower() in taken or (number > 1 and candidate.lower() in reserved):
            number += 1
            candidate = f"{stem}-{number}"
        taken.add(candidate.lower())
        stems.append(candidate)
    return stems


def _person(person, keypoint_names, joint_names):
    state = person.state
    return {
        "box": _plain(person.box, 2),
        "score": _plain(person.score, 4),
        "keypoints2d": _plain(person.keypoints2d, 2),
        "keypoints3d": _plain(person.keypoints3d, 5),
        "keypoint_confidence": _plain(person.keypoint_confidence, 4),
        "keypoint_names": list(keypoint_names),
        "detected_keypoints2d": _plain(person.detected_keypoints2d, 2),
        "joints3d": _plain(person.joints3d, 5),
        "joint_names": list(joint_names),
        "joint_rotations": _plain(person.joint_rotations, 6),
        "theta": _plain(state.theta, 5),
        "shape": _plain(state.shape, 5),
        "expression": _plain(state.expression, 5),
        "rotation": _plain(state.rotation, 6),
        "translation": _plain(state.translation, 5),
        "stage_losses": _plain(person.stage_losses, 6),
        "part_weights": dict(zip(PARTS, _plain(person.part_weights, 4))),
        "keypoint_uncertainty": _plain_or_none(person.keypoint_uncertainty),
        "joint_uncertainty": _plain_or_none(person.joint_uncertainty),
        "refined_loss": None if person.refined_loss is None else _plain(float(person.refined_loss), 6),
    }


def _plain_or_none(values):
    return None if values is None else _plain(values, 4)


def _plain(values, digits):
    """Rounded Python numbers in nested lists; None for what is not finite."""
    if isinstance(values, list):
        return [_plain(value, digits) for value in values]
    if isinstance(values, float):
        return round(values, digits) if math.isfinite(values) else None
    return _plain(np.asarray(values, np.float64).tolist(), digits)


def _write_json(content, path):
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)

    def save(temporary):
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text + "\n")

    write_atomically(path, save)


def _write_mesh(reconstruction, path):
    from hund_tf.visualization import mesh_export

    meshes = _finite_meshes(reconstruction)
    mesh_export.export_scene(path, list(meshes.values()), [f"person_{i}" for i in meshes])


def _finite_meshes(reconstruction):
    """`(vertices, faces)` by the person's place in `people`; one with a coordinate that is not finite is left out."""
    return {i: (person.vertices, person.faces) for i, person in enumerate(reconstruction.people)
            if np.all(np.isfinite(person.vertices))}
