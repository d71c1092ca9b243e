"""The conversion command: records of each person, the same twice, codes of errors, nothing left of a failed run."""

import json
import os
import pathlib
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hund_tf.datasets import layout
from hund_tf.training import records

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tools"))
import convert_dataset  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
ARGUMENTS = ["coco", "--split", "val", "--no-evidence", "--shards", "2"]


@pytest.fixture(name="root")
def fixture_root(tmp_path):
    root = tmp_path / "coco"
    for folder in ("annotations", "val2017"):
        (root / folder).mkdir(parents=True)
    keypoints = np.stack([40 + np.arange(17), 30 + 4 * np.arange(17), np.full(17, 2)], -1)
    photos = [{"id": i, "file_name": f"{i:012d}.jpg", "height": 150, "width": 200} for i in range(6)]
    people = [{"id": 50 + i, "image_id": i, "bbox": [30, 20, 50, 100], "iscrowd": 0,
               "keypoints": keypoints.ravel().tolist()} for i in range(6)]
    (root / "annotations" / "person_keypoints_val2017.json").write_text(
        json.dumps({"images": photos, "annotations": people}))
    for photo in photos:
        Image.new("RGB", (200, 150), (0, 40, 0)).save(root / "val2017" / photo["file_name"])
    return root


def convert(root, out, *more):
    convert_dataset.main([*ARGUMENTS, "--root", str(root), "--out", str(out), *more])


def test_records_of_each_person_by_seed(root, tmp_path, capsys):
    for name, more in (("a", ()), ("b", ()), ("c", ("--seed", "1", "--limit", "4", "--no-labels"))):
        convert(root, tmp_path / name, *more)
    assert "6 people in 2 files" in capsys.readouterr().out
    files = {name: [(tmp_path / f"{name}-0000{i}-of-00002.tfrecord").read_bytes() for i in range(2)] for name in "abc"}
    assert files["a"] == files["b"] != files["c"]
    read = {name: list(records.read(str(tmp_path / f"{name}-*"), "any", images=name == "a")) for name in "ac"}
    assert sorted(r["source"].numpy().decode() for r in read["a"]) == [
        f"coco/val2017/{i:012d}.jpg/{50 + i}" for i in range(6)]
    record = read["a"][0]
    # the square has the side 120 and the corner (-5, 10): 4 crop pixels a pixel
    np.testing.assert_allclose(record["intrinsics"], [800, 800, 420, 260])
    np.testing.assert_allclose(record["label_keypoints"][0], [4 * 45.5, 4 * 20.5])
    assert float(record["image"][240, 240, 1]) * 255 == pytest.approx(40, abs=3) and not record["has_evidence"]
    assert len(read["c"]) == 4 and not any(np.any(r["label_keypoints_weight"]) for r in read["c"])


def test_a_photo_missing_in_the_middle_ends_with_code_2_and_leaves_nothing(root, tmp_path, capsys):
    last = layout.shuffled(range(6), seed=0)[-1]
    (root / "val2017" / f"{last:012d}.jpg").unlink()
    with pytest.raises(SystemExit) as error:
        convert(root, tmp_path / "out" / "a")
    assert error.value.code == 2 and f"{last:012d}.jpg was expected" in capsys.readouterr().err
    assert os.listdir(tmp_path / "out") == []


def test_help_waits_for_no_tensorflow():
    code = ("import sys; import convert_dataset\n"
            "try: convert_dataset.main(['coco', '--help'])\n"
            "except SystemExit: pass\n"
            "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tools")])})
    assert done.returncode == 0 and "--whole-body" in done.stdout, done.stderr


@pytest.mark.parametrize("arguments, words", [
    (["human36m", "--split", "test"], "metadata.xml"),
    (["3dpw", "--split", "train"], "sequenceFiles/train was expected"),
    (["coco", "--split", "train"], "person_keypoints_train2017.json was expected"),
    (["openimages", "--split", "test"], "test was expected"), (["photos"], "must hold photos"),
    (["coco"], "--split"), (["photos", "--limit", "0"], "whole number of at least 1"),
])
def test_wrong_layouts_and_arguments_end_with_code_2(tmp_path, capsys, arguments, words):
    with pytest.raises(SystemExit) as error:
        convert_dataset.main([*arguments, "--root", str(tmp_path), "--out", str(tmp_path / "a")])
    assert error.value.code == 2 and words in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_evidence_of_a_real_photo_is_what_the_networks_see(tmp_path, monkeypatch):
    from importlib import resources

    import tensorflow as tf

    from hund_tf import images
    from hund_tf.sensing import crops
    from hund_tf.sensing.landmarks import LandmarkNetworks

    landmarks, box = LandmarkNetworks(), tf.constant([[289.0, 99, 140, 282]])  # one of the detector's
    detector = SimpleNamespace(detect=lambda image: (box, tf.ones(1), tf.zeros([1, 17, 3])))
    monkeypatch.setattr(convert_dataset, "_networks", lambda args: (landmarks, detector))
    sample = resources.files("hund_tf") / "assets" / "samples" / "street.jpg"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "street.jpg").write_bytes(sample.read_bytes())
    convert_dataset.main(["photos", "--root", str(tmp_path / "photos"), "--out", str(tmp_path / "a")])
    [record] = records.read(str(tmp_path / "a-*"), "any")
    crop, _ = crops.crop_images(tf.constant(images.read_image(str(sample))), box)
    seen = landmarks(crop)
    np.testing.assert_allclose(record["keypoints"], seen.keypoints[0], atol=0.1)
    np.testing.assert_allclose(record["person_mask"], seen.person_mask[0], atol=0.01)
    np.testing.assert_allclose(record["landmarks3d"], seen.landmarks3d[0], atol=1e-3)
    assert record["has_evidence"] == 1 and record["confidence"].numpy()[:19].mean() > 0.3
    assert record["source"] == b"photos/street.jpg/0"
