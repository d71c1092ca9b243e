"""OpenImages and plain folders from tiny files: whose boxes are taken, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from hund_tf.datasets import layout, open_images, photo_folder

HEADER = ("ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,"
          "IsInside\n")


def row(name, label="/m/01g317", box="0.25,0.5,0.1,0.9", group=0, depiction=0):
    return f"{name},xclick,{label},1,{box},0,0,{group},{depiction},0\n"


def dataset(root, rows, split="validation", csv=None, photos=("a", "b")):
    (root / split).mkdir()
    for name in photos:
        Image.new("RGB", (400, 200)).save(root / split / f"{name}.jpg")
    (root / (csv or f"{split}-annotations-bbox.csv")).write_text(HEADER + "".join(rows))
    return str(root)


def test_boxes_by_hand(tmp_path):
    root = dataset(tmp_path, [
        row("a"), row("a", "/m/03bt1vf"), row("a", "/m/04yx4", "0.6,1.0,0.0,1.0"), row("a", "/m/0k4j"),
        row("b", group=1), row("b", depiction=1), row("b", box="0.1,0.15,0.1,0.2"), row("missing")])
    [photo] = open_images.photos(root, "validation")
    assert [person.source for person in photo.people] == [f"openimages/validation/a.jpg/{i}" for i in (0, 2)]
    np.testing.assert_allclose(photo.people[0].box, [100, 20, 100, 160])
    np.testing.assert_allclose(photo.people[1].box, [240, 0, 160, 200])
    assert photo.people[0].keypoints is None and photo.pixels.shape == (200, 400, 3)


def test_the_train_file_of_version_6_has_another_name(tmp_path):
    root = dataset(tmp_path, [row("a"), row("b")], "train", "oidv6-train-annotations-bbox.csv")
    assert len(list(open_images.photos(root, "train"))) == 2
    assert len(list(open_images.photos(root, "train", every=2))) == 1


def test_wrong_layouts_say_the_path(tmp_path):
    with pytest.raises(layout.LayoutError, match="validation was expected"):
        list(open_images.photos(str(tmp_path), "validation"))
    root = dataset(tmp_path, [row("c")])
    with pytest.raises(layout.LayoutError, match="IMAGEID.jpg.* were expected. Received: 2 photos"):
        list(open_images.photos(root, "validation"))
    (tmp_path / "validation-annotations-bbox.csv").write_text("ImageID,LabelName\n")
    with pytest.raises(layout.LayoutError, match=r"columns .* Missing: \['XMin', "):
        list(open_images.photos(root, "validation"))
    (tmp_path / "validation-annotations-bbox.csv").unlink()
    with pytest.raises(layout.LayoutError, match="validation-annotations-bbox.csv. Received"):
        list(open_images.photos(root, "validation"))


def test_a_folder_of_photos(tmp_path):
    for name in ("b", "a", "c"):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_bytes(b"none")
    with pytest.warns(UserWarning, match="Passed over: .*broken.jpg"):
        photos = list(photo_folder.photos(str(tmp_path)))
    assert [photo.source for photo in photos] == ["photos/a.png", "photos/b.png", "photos/c.png"]
    assert all(photo.people is None for photo in photos)


@pytest.mark.parametrize("name, rule", [("none", "A folder .*none was expected"), (".", "must hold photos")])
def test_a_folder_without_photos_is_refused(tmp_path, name, rule):
    with pytest.raises(layout.LayoutError, match=rule):
        list(photo_folder.photos(str(tmp_path / name)))
