"""Human3.6M (http://vision.imar.ro/human3.6m/): videos, poses and cameras in, labelled straight photos out.

Read are, for each subject S, `S/Videos/ACTION.CAMERA.mp4` and one of
- `S/MyPoseFeatures/D3_Positions_mono/ACTION.CAMERA.cdf`: 32 joints, millimetres, camera frame;
- `S/MyPoseFeatures/D3_Positions/ACTION.cdf`: the same in the world;
and `metadata.xml` of the code package (in the root, or there in Release-v1.1 or Release-v1.2), whose `w0` holds the
cameras: 264 numbers of 4 cameras x 11 subjects (three angles, the place in mm), then 4 x 9 (f, c, k1 k2 k3, p1 p2). Its
camera model lacks OpenCV's factor 2 in tangential terms; it is taken for OpenCV's, which moves a corner by 0.6 pixels at
most. Where `S/MyPoseFeatures/D2_Positions/ACTION.CAMERA.cdf` is there, the projection is checked against it.
"""

import os
import re

import numpy as np

from hund_tf import distortion, images
from hund_tf.datasets import layout

SPLITS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}  # protocol 1
CAMERAS = ("54138969", "55011271", "58860488", "60457274")  # order of metadata.xml
_SUBJECTS, _EXTRINSIC, _INTRINSIC = 11, 6, 9  # numbers in w0
_PIXEL_CENTRE = 0.5  # the calibration counts from the centre of the first pixel
_DAMAGED = ("S11/Directions.54138969",)  # the video as published
_FARTHEST_PX = 5.0  # mean distance of projection and D2_Positions above which the cameras are others
_BOX_MARGIN = 0.1  # of the box of the 32 joints, which end in the head, at toes and finger tips
_PER_METRE = 1000.0
RIGHT_HIP, LEFT_HIP = 1, 6
# OpenPose index -> joint of 32; its thorax stands between the shoulders, as OpenPose's neck does
JOINTS = {1: 13, 2: 25, 3: 26, 4: 27, 5: 17, 6: 18, 7: 19, 8: 0, 9: RIGHT_HIP, 10: 2, 11: 3, 12: LEFT_HIP, 13: 7, 14: 8}
_HIP_WIDTH = 1.14  # its hips stand this much further apart than our joints, see `hund_tf.body.keypoints`


def photos(root, split, every=1, seed=None, labels=True):
    """Frames of all cameras, straightened.

    Args:
        root: str, folder of the subjects' folders.
        split: "train" or "test", subjects of protocol 1; those that are not there are passed over.
        every: int, takes each n-th frame of a video, of 50 a second.
        seed: int, order of the videos; that of their names if None.
        labels: bool; False gives people without labels.

    Yields:
        `LabelledPhoto`.

    Raises:
        LayoutError: if a file is not where the archives put it, or not what it should be.
        ImportError: if the package `cdflib` is missing.
    """
    cameras = read_cameras(layout.first_file(*(
        os.path.join(root, *name, "metadata.xml") for name in ((), ("Release-v1.1",), ("Release-v1.2",)))))
    subjects = [subject for subject in SPLITS[split] if os.path.isdir(os.path.join(root, subject))]
    if not subjects:
        layout.folder(root, SPLITS[split][0])  # says what is expected
    clips = []
    for subject in subjects:
        for path in layout.listed(os.path.join(root, subject, "Videos"), ".mp4"):
            name = os.path.basename(path)[:-4]
            if not name.startswith("_") and f"{subject}/{name}" not in _DAMAGED:  # _ALL: not of one action
                clips.append((subject, name, path))
    for subject, name, path in layout.shuffled(clips, seed):
        yield from _clip(root, subject, name, path, cameras, every, labels)


def read_cameras(path):
    """Cameras of metadata.xml.

    Returns:
        dict of `(subject, camera)`, such as `("S1", "54138969")`: dict of `rotation` `[3, 3]` and `place` `[3]` (mm):
        `camera = rotation @ (world - place)`; `intrinsics` `[4]`, pixels from the corner; `distortion` `[5]`, OpenCV's.
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        found = re.search(r"<w0>\s*\[?([^<\]]*)\]?\s*</w0>", file.read())
    expected = len(CAMERAS) * (_SUBJECTS * _EXTRINSIC + _INTRINSIC)
    try:
        numbers = np.array(found.group(1).replace(",", " ").split(), np.float64) if found else np.zeros(0)
    except ValueError:
        numbers = np.zeros(0)
    if numbers.size != expected:
        raise layout.LayoutError(f"{path} must hold the cameras of Human3.6M, {expected} numbers in <w0>. Received: "
                                 f"{numbers.size} numbers.")
    cameras = {}
    for c, camera in enumerate(CAMERAS):
        start = len(CAMERAS) * _SUBJECTS * _EXTRINSIC + c * _INTRINSIC
        fx, fy, cx, cy, k1, k2, k3, p1, p2 = numbers[start:start + _INTRINSIC]
        for s in range(_SUBJECTS):
            start = (c * _SUBJECTS + s) * _EXTRINSIC
            cameras[f"S{s + 1}", camera] = {
                "rotation": _rotation(*numbers[start:start + 3]), "place": numbers[start + 3:start + 6],
                "intrinsics": np.array([fx, fy, cx + _PIXEL_CENTRE, cy + _PIXEL_CENTRE]),
                "distortion": np.array([k1, k2, p1, p2, k3])}
    return cameras


def read_poses(path, dims):
    """Points `[N, 32, dims]` float64 of a CDF file's variable `Pose`."""
    try:
        import cdflib
    except ImportError as error:
        raise ImportError("The package cdflib must be installed to read Human3.6M's poses: pip install cdflib. "
                          f"Received: {error}.") from error
    try:
        poses = np.asarray(cdflib.CDF(path).varget("Pose"), np.float64)
    except Exception as error:  # a damaged file raises nearly anything
        raise layout.LayoutError(f"{path} must be a CDF file with a variable `Pose`. Received: "
                                 f"{type(error).__name__}: {error}.") from None
    if poses.size == 0 or poses.shape[-1] != 32 * dims:
        raise layout.LayoutError(f"{path} must hold `Pose` of [1, N, {32 * dims}]. Received: {list(poses.shape)}.")
    return poses.reshape(-1, 32, dims)


def _clip(root, subject, name, path, cameras, every, labels):
    action, _, camera = name.rpartition(".")
    if (subject, camera) not in cameras:
        raise layout.LayoutError(f"A video must be named ACTION.CAMERA.mp4, CAMERA one of {', '.join(CAMERAS)}. "
                                 f"Received: {path}.")
    camera = cameras[subject, camera]
    joints = _joints(os.path.join(root, subject, "MyPoseFeatures"), action, name, camera)
    lens = None
    for frame, pixels in _frames(path, every, len(joints)):
        height, width = pixels.shape[:2]
        if lens is None:
            lens = distortion.LensDistortion(camera["distortion"], camera["intrinsics"], height, width)
            _check_projection(os.path.join(root, subject, "MyPoseFeatures", "D2_Positions", name + ".cdf"), joints[0],
                              camera["intrinsics"], lens)
        source = f"human36m/{subject}/{name}/{frame:06d}"
        person = _person(source, joints[frame], camera["intrinsics"], height, width, labels)
        if person is not None:
            yield layout.LabelledPhoto(lambda pixels=pixels, lens=lens: lens.undistort_photo(pixels),
                                       camera["intrinsics"], [person])


def _joints(folder, action, name, camera):
    """`[N, 32, 3]` metres, camera frame."""
    mono = os.path.join(folder, "D3_Positions_mono", name + ".cdf")
    path = layout.first_file(mono, os.path.join(folder, "D3_Positions", action + ".cdf"))
    points = read_poses(path, 3)
    return (points if path == mono else (points - camera["place"]) @ camera["rotation"].T) / _PER_METRE


def _frames(path, every, count):
    """`(number, pixels)` of each `every`-th frame of a video, of the first `count`."""
    cv2 = images.opencv()
    video = cv2.VideoCapture(path)
    try:
        for frame in range(count):
            if not video.grab():
                if frame == 0:
                    raise layout.LayoutError(f"{path} must be a video. Received: a file without a readable frame.")
                return  # some videos are a few frames shorter than their poses
            if frame % every == 0:
                good, pixels = video.retrieve()
                if good:
                    yield frame, np.ascontiguousarray(pixels[..., ::-1])
    finally:
        video.release()


def _project(points, intrinsics):
    return points[:, :2] / points[:, 2:] * intrinsics[:2] + intrinsics[2:]


def _check_projection(path, joints, intrinsics, lens):
    if not os.path.isfile(path):
        return
    missed = lens.distort_points(_project(joints, intrinsics)) - (read_poses(path, 2)[0] + _PIXEL_CENTRE)
    missed = np.linalg.norm(missed, axis=-1).mean()
    if missed > _FARTHEST_PX:
        raise layout.LayoutError(f"Poses in space must project to those of {path}, to {_FARTHEST_PX:g} pixels. "
                                 f"Received: {missed:.1f} pixels between them; is metadata.xml that of this release?")


def _person(source, joints, intrinsics, height, width, labels):
    if not np.all(joints[:, 2] > 0.3):
        return None
    box = layout.box_around(_project(joints, intrinsics), _BOX_MARGIN, height, width)
    if box is None or not labels:
        return None if box is None else layout.LabelledPerson(source, box)
    joints = joints.copy()
    middle, half = joints[[RIGHT_HIP, LEFT_HIP]].mean(0), (joints[LEFT_HIP] - joints[RIGHT_HIP]) / 2 / _HIP_WIDTH
    joints[RIGHT_HIP], joints[LEFT_HIP] = middle - half, middle + half
    joints3d, weights = layout.at_openpose(joints, JOINTS)
    keypoints = _project(np.where(weights[:, None] > 0, joints3d, 1.0), intrinsics)
    return layout.LabelledPerson(source, box, keypoints, weights, joints3d, weights)


def _rotation(x, y, z):
    """World to camera, `Rx(x) Ry(y) Rz(z)`."""
    (cx, cy, cz), (sx, sy, sz) = np.cos([x, y, z]), np.sin([x, y, z])
    return np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]]) @ np.array(
        [[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
