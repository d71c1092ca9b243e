"""OpenImages: its box annotations and photos (https://storage.googleapis.com/openimages/web/) in, people's boxes out.

Read are `{train,validation,test}-annotations-bbox.csv` (the train file of V6 and V7 is named
`oidv6-train-annotations-bbox.csv`) and the photos as `{train,validation,test}/IMAGEID.jpg`, as the set's own downloader
and `aws s3 --no-sign-request cp s3://open-images-dataset/...` name them. Photos that were not downloaded are passed
over: few people keep all 9 million. There are no labels of poses.
"""

import csv
import os

import numpy as np

from hund_tf import images
from hund_tf.datasets import layout

SPLITS = ("train", "validation", "test")
# class-descriptions-boxable.csv: Person, Man, Woman, Boy, Girl
PEOPLE = ("/m/01g317", "/m/04yx4", "/m/03bt1vf", "/m/01bl7v", "/m/05r655")
_COLUMNS = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax", "IsGroupOf", "IsDepiction")
_SAME = 0.7  # intersection over union from which two boxes are of one person, who is both Person and Woman
_LEAST_SIDE = 48.0  # pixels


def photos(root, split, every=1, seed=None):
    """Photos with people's boxes; groups, depictions and people under 48 pixels are left out.

    Args:
        root: str, folder with the csv file and a folder of photos named as the split.
        split: "train", "validation" or "test".
        every: int, takes each n-th photo that is there.
        seed: int, order of photos; that of their names if None.

    Yields:
        `LabelledPhoto`, people without labels.

    Raises:
        LayoutError: if a file is not where it is expected or lacks a column, or no photo of it was downloaded.
    """
    folder = layout.folder(root, split)
    there = {name[:-4] for name in os.listdir(folder) if name.endswith(".jpg")}
    names = [f"{split}-annotations-bbox.csv"] + ["oidv6-train-annotations-bbox.csv"] * (split == "train")
    path = layout.first_file(*(os.path.join(root, name) for name in names))
    boxes = _boxes(path, there)
    if not boxes:
        raise layout.LayoutError(f"Photos {os.path.join(folder, 'IMAGEID.jpg')} with people in {path} were expected. "
                                 f"Received: {len(there)} photos, none of them with a person there.")
    for name in layout.shuffled(sorted(boxes), seed)[::every]:
        photo = images.read_photo(os.path.join(folder, name + ".jpg"))
        height, width = photo.pixels.shape[:2]
        kept = []
        for number, (x0, x1, y0, y1) in enumerate(boxes[name]):
            box = layout.cut_box((x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height), height, width)
            if box is None or max(box[2:]) < _LEAST_SIDE:
                continue
            if all(_overlap(box, other.box) < _SAME for other in kept):
                kept.append(layout.LabelledPerson(f"openimages/{split}/{name}.jpg/{number}", box))
        if kept:
            yield layout.LabelledPhoto(photo.pixels, photo.intrinsics, kept)


def _boxes(path, wanted):
    """XMin, XMax, YMin, YMax of the people in photos of `wanted`: dict of lists."""
    found = {}
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise layout.LayoutError(f"{path} must have the columns {', '.join(_COLUMNS)}. Missing: {missing}.")
        for row in reader:
            person = row["LabelName"] in PEOPLE and "1" not in (row["IsGroupOf"], row["IsDepiction"])
            if person and row["ImageID"] in wanted:
                found.setdefault(row["ImageID"], []).append([float(row[name]) for name in _COLUMNS[2:6]])
    return found


def _overlap(first, second):
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(first[:2] + first[2:], second[:2] + second[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(first[2:]) + np.prod(second[2:]) - shared)
