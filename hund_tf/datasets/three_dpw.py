"""3DPW (https://virtualhumans.mpi-inf.mpg.de/3DPW/): its sequence files and photos in, labelled photos out.

Read are `sequenceFiles/{train,validation,test}/*.pkl` (sequenceFiles.zip; without running anything in them, see
plain_pickle.py) and `imageFiles/SEQUENCE/image_00000.jpg` and so on (imageFiles.zip). By the set's own readme.txt:
`jointPositions` are the 24 SMPL joints in the world, metres; `cam_poses` takes the world to the camera; `poses2d` are
detections in the order of COCO's 18, at image frames like all that is read here. SMPL's hips lie some centimetres below
the joint centres of other bodies (`hund_tf.body.keypoints`), so they count half.
"""

import os

import numpy as np

from hund_tf import images
from hund_tf.datasets import layout, plain_pickle

SPLITS = ("train", "validation", "test")
_PIXEL_CENTRE = 0.5  # intrinsics and detections count from the centre of the first pixel
_BOX_MARGIN = 0.12  # of the box of SMPL's joints, which end at head joint, toes and hands
_LEAST_DEPTH_M = 0.3
# OpenPose index -> SMPL joint
JOINTS = {1: (16, 17), 2: 17, 3: 19, 4: 21, 5: 16, 6: 18, 7: 20, 8: (1, 2), 9: 2, 10: 5, 11: 8, 12: 1, 13: 4, 14: 7}
_HIPS, _HIP_WEIGHT = [8, 9, 12], 0.5
# OpenPose (25) index -> COCO's 18 as OpenPose orders them: the same without the middle of the hips
DETECTIONS = {**{i: i for i in range(8)}, **{i + 1: i for i in range(8, 18)}}
_KEYS = ("sequence", "poses2d", "jointPositions", "cam_poses", "cam_intrinsics", "campose_valid")


def photos(root, split, every=1, seed=None, labels=True):
    """Photos with people of 3DPW; people whose camera was not aligned to the photo are left out.

    Args:
        root: str, folder that the archives were unpacked in.
        split: "train", "validation" or "test".
        every: int, takes each n-th frame of a sequence.
        seed: int, order of the sequences; that of their names if None.
        labels: bool; False gives people without labels.

    Yields:
        `LabelledPhoto`.

    Raises:
        LayoutError: if a file is not where the archives put it, or a sequence file lacks something.
        ValueError: if a sequence file is no pickle of plain data.
    """
    files = layout.listed(os.path.join(root, "sequenceFiles", split), ".pkl")
    layout.folder(root, "imageFiles")
    for path in layout.shuffled(files, seed):
        data = read_sequence(path)
        folder = layout.folder(root, "imageFiles", data["sequence"])
        matrix = data["cam_intrinsics"]
        intrinsics = np.array([matrix[0, 0], matrix[1, 1], matrix[0, 2] + _PIXEL_CENTRE, matrix[1, 2] + _PIXEL_CENTRE])
        size = None
        for frame in range(0, len(data["cam_poses"]), every):
            if not any(valid[frame] for valid in data["campose_valid"]):
                continue
            photo = layout.file(folder, f"image_{frame:05d}.jpg")
            size = size or images.read_image(photo).shape[:2]  # of all photos of a sequence
            people = [_person(data, person, frame, intrinsics, size, labels)
                      for person in range(len(data["jointPositions"])) if data["campose_valid"][person][frame]]
            people = [person for person in people if person is not None]
            if people:
                yield layout.LabelledPhoto(lambda photo=photo: images.read_image(photo), intrinsics, people)


def read_sequence(path):
    """The parts of a sequence file that are used here, checked.

    Returns:
        dict: `sequence` str; `cam_poses` `[N, 4, 4]`; `cam_intrinsics` `[3, 3]`; of each person `jointPositions`
        `[N, 24, 3]`, `poses2d` `[N, 3, 18]` and `campose_valid` `[N]`.
    """
    data = plain_pickle.read(path)
    missing = [key for key in _KEYS if key not in data] if isinstance(data, dict) else list(_KEYS)
    if missing:
        raise layout.LayoutError(f"{path} must be a sequence of 3DPW with {', '.join(_KEYS)}. Missing: {missing}.")
    data = {key: data[key] for key in _KEYS}
    data["sequence"] = str(data["sequence"])
    try:
        data["cam_poses"] = _array(data["cam_poses"], (-1, 4, 4))
        data["cam_intrinsics"] = _array(data["cam_intrinsics"], (3, 3))
        frames = len(data["cam_poses"])
        shapes = {"jointPositions": (frames, 24, 3), "poses2d": (frames, 3, 18), "campose_valid": (frames,)}
        for key, shape in shapes.items():
            data[key] = [_array(value, shape) for value in data[key]]
        if len({len(data[key]) for key in shapes}) != 1:
            raise ValueError("another number of people in one part than in another")
    except (ValueError, TypeError) as error:
        raise layout.LayoutError(f"{path} must hold a pose, detections and validity of each person at each of N frames "
                                 f"of `cam_poses` [N, 4, 4]. Received: {error}.") from None
    if os.path.basename(data["sequence"]) != data["sequence"]:
        raise layout.LayoutError(f"{path}: `sequence` must be a name. Received: {data['sequence']!r}.")
    return data


def _array(value, shape):
    return np.asarray(value, np.float64).reshape(shape)


def _person(data, person, frame, intrinsics, size, labels):
    """`LabelledPerson` of a frame, or None where the person is not in the photo."""
    pose = data["cam_poses"][frame]
    joints = data["jointPositions"][person][frame] @ pose[:3, :3].T + pose[:3, 3]
    if not np.all(joints[:, 2] > _LEAST_DEPTH_M):
        return None
    pixels = joints[:, :2] / joints[:, 2:] * intrinsics[:2] + intrinsics[2:]
    box = layout.box_around(pixels, _BOX_MARGIN, *size)
    if box is None:
        return None
    source = f"3dpw/{data['sequence']}/image_{frame:05d}.jpg/{person}"
    if not labels:
        return layout.LabelledPerson(source, box)
    joints3d, joints3d_weight = layout.at_openpose(joints, JOINTS)
    joints3d_weight[_HIPS] *= _HIP_WEIGHT
    detected = data["poses2d"][person][frame]
    keypoints, weights = layout.at_openpose(
        detected[:2].T + _PIXEL_CENTRE, DETECTIONS, np.clip(detected[2], 0.0, 1.0))
    return layout.LabelledPerson(source, box, keypoints, weights, joints3d, joints3d_weight)
