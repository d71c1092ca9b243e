"""COCO 2017 people: the keypoint annotations and photos of https://cocodataset.org in, labelled photos out.

Read are `annotations/person_keypoints_{train,val}2017.json` (annotations_trainval2017.zip) and `{train,val}2017/*.jpg`
(train2017.zip, val2017.zip); with `whole_body` instead `annotations/coco_wholebody_{train,val}_v1.0.json` of
https://github.com/jin-s13/COCO-WholeBody, which adds feet, face and hands. Keypoints are whole numbers of pixels, so
half a pixel is added; boxes are measured from the photo's corner. Neck and mid-hip are the middles of a pair.
"""

import json
import os

import numpy as np

from hund_tf import images
from hund_tf.datasets import layout

SPLITS = ("train", "val")
_PIXEL_CENTRE = 0.5
_LEAST_KEYPOINTS, _LEAST_SIDE = 6, 48  # a person with fewer, or smaller (pixels of the longer side), teaches little
_WEIGHTS = np.array([0.0, 0.5, 1.0])  # by COCO's v: not labelled, labelled but hidden, visible
# OpenPose index -> COCO's 17
BODY = {0: 0, 1: (5, 6), 2: 6, 3: 8, 4: 10, 5: 5, 6: 7, 7: 9, 8: (11, 12), 9: 12, 10: 14, 11: 16, 12: 11, 13: 13,
        14: 15, 15: 2, 16: 1, 17: 4, 18: 3}
# COCO-WholeBody: key, first OpenPose index, points; feet, 68 face points and 21 of a hand are in OpenPose's order
_PARTS = (("foot", 19, 6), ("face", 25, 68), ("lefthand", 95, 21), ("righthand", 116, 21))


def photos(root, split, every=1, seed=None, labels=True, whole_body=False):
    """Photos with people of COCO 2017.

    People in crowds, of fewer than 6 labelled keypoints or under 48 pixels are left out.

    Args:
        root: str, folder that the archives were unpacked in.
        split: "train" or "val".
        every: int, takes each n-th photo.
        seed: int, order of photos; that of the file if None.
        labels: bool; False gives people without labels.
        whole_body: bool, reads COCO-WholeBody.

    Yields:
        `LabelledPhoto`.

    Raises:
        LayoutError: if a file is not where the archives put it, or not what it should be.
    """
    name = f"coco_wholebody_{split}_v1.0.json" if whole_body else f"person_keypoints_{split}2017.json"
    path = layout.file(root, "annotations", name)
    folder = layout.folder(root, f"{split}2017")
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        names = {entry["id"]: (entry["file_name"], entry["height"], entry["width"]) for entry in data["images"]}
        by_photo = {}
        for entry in data["annotations"]:
            by_photo.setdefault(entry["image_id"], []).append(entry)
    except (ValueError, KeyError, TypeError) as error:
        raise layout.LayoutError(f"{path} must be COCO's keypoint annotations, with `images` and `annotations`. "
                                 f"Received: {type(error).__name__}: {error}.") from None
    for photo_id in layout.shuffled(sorted(by_photo), seed)[::every]:
        file_name, height, width = names[photo_id]
        source = f"coco/{split}2017/{file_name}"
        people = [_person(entry, source, height, width, labels, whole_body) for entry in by_photo[photo_id]]
        people = [person for person in people if person is not None]
        if people:
            photo = layout.file(folder, os.path.basename(file_name))
            yield layout.LabelledPhoto(lambda photo=photo: images.read_image(photo), None, people)


def _person(entry, source, height, width, labels, whole_body):
    points = np.reshape(np.asarray(entry["keypoints"], np.float64), [17, 3])
    box = layout.cut_box(entry["bbox"], height, width)
    if entry.get("iscrowd") or box is None or max(box[2:]) < _LEAST_SIDE or np.sum(points[:, 2] > 0) < _LEAST_KEYPOINTS:
        return None
    source = f"{source}/{entry['id']}"
    if not labels:
        return layout.LabelledPerson(source, box)
    placed, weights = layout.at_openpose(
        points[:, :2] + _PIXEL_CENTRE, BODY, _WEIGHTS[np.clip(points[:, 2], 0, 2).astype(int)])
    for part, first, count in _PARTS if whole_body else ():
        if entry[f"{part}_valid"]:
            found = np.reshape(np.asarray(entry[f"{part}_kpts"], np.float64), [count, 3])
            known = (found[:, 2] > 0) & np.any(found[:, :2] != 0, -1)
            rows = slice(first, first + count)
            placed[rows] = np.where(known[:, None], found[:, :2] + _PIXEL_CENTRE, 0.0)
            weights[rows] = np.where(known, np.clip(found[:, 2], 0.0, 1.0), 0.0)
    return layout.LabelledPerson(source, box, placed, weights)
