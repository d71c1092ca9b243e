"""The protocols against a stand-in whose errors are known."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hund_tf.evaluation import protocols, reports

NAMES = ["RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder",
         "LElbow", "LWrist"]
PLACES = [9, 10, 11, 12, 13, 14, 1, 2, 3, 4, 5, 6, 7]
BOX = [10.0, 5.0, 30.0, 40.0]


class KnownModel:
    """Finds one person with keypoints `truth + error` in the box it is told of."""

    def __init__(self, keypoints3d, box=BOX):
        self.keypoints3d, self.box, self.calls = keypoints3d, np.array(box), []

    def reconstruct(self, image, intrinsics=None, boxes=None, num_stages=None):
        self.calls.append((image, intrinsics, boxes))
        return SimpleNamespace(people=[SimpleNamespace(
            box=self.box if boxes is None else boxes[0], keypoints3d=self.keypoints3d,
            keypoints2d=np.zeros([137, 2]), detected_keypoints2d=np.full([137, 2], 1.0),
            keypoint_confidence=np.ones(137), stage_losses=np.array([5.0, 2.0, 3.0, 1.0]),
            vertices=np.zeros([4, 3]))])


@pytest.fixture
def data(tmp_path):
    """One case on disk; returns its folder and the true keypoints `[137, 3]`."""
    keypoints = np.random.default_rng(0).normal(size=[137, 3]) + [0, 0, 4]
    Image.fromarray(np.full([60, 80, 3], 90, np.uint8)).save(tmp_path / "a.png")
    case = {"id": "one", "image": "a.png", "camera": {"fx": 70.0, "fy": 71.0, "cx": 40.0, "cy": 30.0, "dist": [0.0] * 5},
            "joint_names": NAMES, "joints3d_cam_m": keypoints[PLACES].tolist(), "valid": [True] * len(NAMES),
            "bbox_xywh": BOX}
    (tmp_path / "cases.json").write_text(json.dumps([case]))
    return tmp_path, keypoints


def test_perfect_estimate_has_no_error(data):
    folder, keypoints = data
    model = KnownModel(keypoints)
    record, = protocols.pose_cases(model, str(folder))
    assert not record["missed"] and len(record["joint_errors_mm"]) == 12  # the neck is no limb joint
    for name in ("pa_mpjpe_mm", "mpjpe_mm", "translation_error_mm"):
        assert record[name] == pytest.approx(0.0, abs=1e-6)
    assert record["pck_150mm"] == 1.0
    assert model.calls[0][1] == (70.0, 71.0, 40.5, 30.5)  # OpenCV's pixel centres are whole numbers, ours halves


def test_shift_is_a_translation_error_only(data):
    folder, keypoints = data
    record, = protocols.pose_cases(KnownModel(keypoints + [0.3, 0.0, 0.4]), str(folder / "cases.json"))
    assert record["translation_error_mm"] == pytest.approx(500.0)
    assert record["mpjpe_mm"] == pytest.approx(0.0, abs=1e-6)


def test_scale_is_undone_by_procrustes_only(data):
    folder, keypoints = data
    record, = protocols.pose_cases(KnownModel(keypoints * 1.2), str(folder))
    assert record["pa_mpjpe_mm"] == pytest.approx(0.0, abs=1e-6) and record["mpjpe_mm"] > 100.0


def test_other_person_counts_as_missed(data):
    folder, keypoints = data
    model = KnownModel(keypoints, box=[60.0, 40.0, 10.0, 10.0])
    record, = protocols.pose_cases(model, str(folder))
    assert record["missed"]
    assert "1 people, 1 missed" in reports.pose_table([record])
    record, = protocols.pose_cases(model, str(folder), boxes="truth")
    assert not record["missed"]
    np.testing.assert_allclose(model.calls[1][2], [[10.5, 5.5, 30.0, 40.0]])


def test_boxes_must_be_a_known_word(data):
    with pytest.raises(ValueError, match="must be 'detector' or 'truth'. Received: 'all'"):
        protocols.pose_cases(None, str(data[0]), boxes="all")


def test_lens_distortion_is_taken_out():
    """A dot seen through a lens lands where the same camera without distortion sees it."""
    import cv2

    camera = {"fx": 300.0, "fy": 300.0, "cx": 160.0, "cy": 120.0, "dist": [-0.3, 0.1, 0.0, 0.0, 0.0]}
    matrix = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])
    point = np.array([[0.35, 0.25, 1.0]])
    seen = cv2.projectPoints(point, np.zeros(3), np.zeros(3), matrix, np.array(camera["dist"]))[0][0, 0]
    picture = np.zeros([240, 320, 3], np.uint8)
    cv2.circle(picture, tuple(np.round(seen).astype(int).tolist()), 2, (255, 255, 255), -1)
    pixels, intrinsics, box = protocols.undistorted(picture, camera, (seen[0] - 2, seen[1] - 2, 4, 4))
    rows, columns = np.nonzero(pixels[..., 0] > 128)
    ideal = point[0, :2] * 300 + intrinsics[2:]  # our convention: the centre of pixel (0, 0) is (0.5, 0.5)
    np.testing.assert_allclose([columns.mean() + 0.5, rows.mean() + 0.5], ideal, atol=1.0)
    np.testing.assert_allclose([box[0] + box[2] / 2, box[1] + box[3] / 2], ideal, atol=1.0)


@pytest.mark.parametrize("name", ["RShoulder", "right_shoulder", "R Shoulder", "rshoulder", "Right-Shoulder"])
def test_joint_names_are_recognized(name):
    points, valid = protocols.limb_joints([name, "Nose"], [[1.0, 2.0, 3.0], [0, 0, 0]], [True, True])
    assert valid[2] and valid.sum() == 1
    np.testing.assert_array_equal(points[2], [1.0, 2.0, 3.0])


def test_photos_by_kind(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full([60, 80, 3], 90, np.uint8)).save(tmp_path / name)
    (tmp_path / "index.json").write_text(json.dumps([{"file": "a.png", "kind": "sport"}]))
    records = protocols.photos(KnownModel(np.zeros([137, 3])), str(tmp_path))
    assert [record["kind"] for record in records] == ["sport", "photo"]
    record = records[0]
    assert record["reprojection_share"] == pytest.approx(2**0.5 / 40) and record["close"]
    assert record["loss_fell"] and record["loss_first"] == 2.0 and record["loss_last"] == 1.0 and record["finite"]
    table = reports.photo_table(records + [{"photo": "c.png", "kind": "sport", "person": None}])
    assert "| all | 3 | 2 | 3.5 | 100 % | 100 % | 100 % |" in table


def test_without_stages_no_loss_can_fall():
    person = KnownModel(np.zeros([137, 3])).reconstruct(np.zeros([20, 20, 3], np.uint8)).people[0]
    person.stage_losses = np.zeros(0)
    record = protocols.fit(person)
    assert record["loss_fell"] is None and record["finite"]
    assert "| - | - |" in reports.photo_table([{"photo": "a", "kind": "photo", "person": 0, **record}])
    person.stage_losses = np.array([1.0, 2.0, np.nan])
    assert protocols.fit(person)["loss_fell"] is False and not protocols.fit(person)["finite"]


def test_photo_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    record, = protocols.photos(KnownModel(np.zeros([137, 3])), str(tmp_path))
    assert record["person"] is None and "a.jpg" in record["problem"]


def test_folder_without_photos(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold photos"):
        protocols.photos(None, str(tmp_path))


def test_report_is_valid_json(tmp_path):
    path = tmp_path / "r.json"
    reports.save(str(path), [{"error": float("nan"), "missed": False}], command="x")
    assert json.loads(path.read_text()) == {"command": "x", "records": [{"error": None, "missed": False}]}


def test_tables_of_errors():
    record = {"missed": False, "pa_mpjpe_mm": 70.0, "mpjpe_mm": 100.0, "translation_error_mm": 210.4, "pck_150mm": 0.9,
              "reprojection_share": 0.021, "joint_errors_mm": {"lefthip": 31.0}}
    table = reports.pose_table([record, {"missed": True}])
    assert "| PA-MPJPE, 12 limb joints (mm) | 70.0 | 70.0 | 70.0 |" in table and "2 people, 1 missed" in table
    assert "| lefthip | 31 |" in reports.joint_table([record])
