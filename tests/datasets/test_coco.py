"""COCO 2017 from tiny files of its layout: labels at their OpenPose places, who is left out, wrong layouts."""

import json

import numpy as np
import pytest
from PIL import Image

from hund_tf.datasets import coco, layout


def entry(number, photo, keypoints, **changes):
    return {"id": number, "image_id": photo, "bbox": [10.0, 20.0, 60.0, 100.0], "iscrowd": 0, "category_id": 1,
            "keypoints": np.ravel(keypoints).tolist(), "num_keypoints": 17, **changes}


def seventeen():
    """Point i at (10 + i, 30 + 2 i), visible; the left eye hidden, the right ear not labelled."""
    points = np.stack([10 + np.arange(17), 30 + 2 * np.arange(17), np.full(17, 2)], -1)
    points[1, 2], points[4] = 1, 0
    return points


@pytest.fixture(name="root")
def fixture_root(tmp_path):
    photos = [{"id": i, "file_name": f"{i:012d}.jpg", "height": 150, "width": 200} for i in range(1, 6)]
    few = seventeen()
    few[5:] = 0
    people = [entry(100 + i, i, seventeen()) for i in range(1, 6)]
    people += [entry(7, 1, seventeen(), iscrowd=1), entry(8, 1, few), entry(9, 2, seventeen(), bbox=[10, 20, 20, 30])]
    write(tmp_path, "person_keypoints_val2017.json", {"images": photos, "annotations": people})
    (tmp_path / "val2017").mkdir()
    for photo in photos:
        Image.new("RGB", (200, 150), (photo["id"] * 40, 0, 0)).save(tmp_path / "val2017" / photo["file_name"])
    return tmp_path


def write(root, name, data):
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / name).write_text(json.dumps(data))


def test_labels_by_hand(root):
    photos = list(coco.photos(str(root), "val"))
    assert [[p.source for p in photo.people] for photo in photos] == [
        [f"coco/val2017/{i:012d}.jpg/{100 + i}"] for i in range(1, 6)]  # crowd, few keypoints and small are left out
    person = photos[2].people[0]
    assert photos[2].pixels()[0, 0, 0] == pytest.approx(120, abs=3) and photos[2].intrinsics is None
    np.testing.assert_allclose(person.box, [10, 20, 60, 100])
    np.testing.assert_allclose(person.keypoints[0], [10.5, 30.5])  # nose
    np.testing.assert_allclose(person.keypoints[4], [20.5, 50.5])  # right wrist: COCO 10
    np.testing.assert_allclose(person.keypoints[1], [16, 41.5])  # neck: middle of 5 and 6
    np.testing.assert_allclose(person.keypoints[14], [25.5, 60.5])  # left ankle: COCO 15
    weights = np.ones(19)
    weights[16], weights[17] = 0.5, 0.0  # left eye hidden, right ear not labelled
    np.testing.assert_array_equal(person.keypoints_weight, np.concatenate([weights, np.zeros(118)]))
    assert person.joints3d is None


def test_no_labels_every_and_seed(root):
    photos = list(coco.photos(str(root), "val", labels=False, every=2))
    assert len(photos) == 3 and all(photo.people[0].keypoints is None for photo in photos)
    orders = [[photo.people[0].source for photo in coco.photos(str(root), "val", seed=seed)] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == sorted(orders[2])


def test_whole_body(root):
    def part(count, first):
        return [value for i in range(count) for value in (first + i, 50.0, 0.5)]

    parts = {"foot_kpts": [11, 12, 2, 0, 0, 0] + [13, 14, 1] * 4, "foot_valid": True, "face_kpts": part(68, 100.25),
             "face_valid": True, "lefthand_kpts": part(21, 5), "lefthand_valid": False,
             "righthand_kpts": part(21, 30.0), "righthand_valid": True}
    write(root, "coco_wholebody_val_v1.0.json", {
        "images": [{"id": 1, "file_name": "000000000001.jpg", "height": 150, "width": 200}],
        "annotations": [entry(1, 1, seventeen(), **parts)]})
    [photo] = coco.photos(str(root), "val", whole_body=True)
    person = photo.people[0]
    np.testing.assert_allclose(person.keypoints[19], [11.5, 12.5])  # left big toe
    np.testing.assert_allclose(person.keypoints[25 + 67], [167.75, 50.5])
    np.testing.assert_allclose(person.keypoints[136], [50.5, 50.5])
    np.testing.assert_array_equal(person.keypoints_weight[[19, 20, 21, 25, 92, 93, 94, 95, 116]],
                                  [1, 0, 1, 0.5, 0.5, 0, 0, 0, 0.5])


def test_wrong_layouts_say_the_path(root, tmp_path):
    with pytest.raises(layout.LayoutError, match="train2017.json was expected. Received: .*annotations holding"):
        list(coco.photos(str(root), "train"))
    with pytest.raises(layout.LayoutError, match="coco_wholebody_val_v1.0.json was expected"):
        list(coco.photos(str(root), "val", whole_body=True))
    (root / "val2017" / "000000000003.jpg").unlink()
    with pytest.raises(layout.LayoutError, match="000000000003.jpg was expected"):
        list(coco.photos(str(root), "val"))
    write(root, "person_keypoints_val2017.json", {"images": []})
    with pytest.raises(layout.LayoutError, match="keypoint annotations.*KeyError: 'annotations'"):
        list(coco.photos(str(root), "val"))
