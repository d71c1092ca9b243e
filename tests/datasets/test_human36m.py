"""Human3.6M from tiny files of its layout: cameras, joints and frames by hand, wrong layouts."""

import sys

import cv2
import numpy as np
import pytest

from hund_tf.datasets import human36m, layout

FOCAL, CENTRE, SIZE = 300.0, 159.5, 320
LENS = (-0.2, 0.24, -0.002, -0.0009, -0.0014)  # k1 k2 k3 p1 p2: of the size of the real ones
NAME = "Walking 1.55011271"


def write_metadata(root, angles=(0.0, 0.0, 0.0), place=(0.0, 0.0, 0.0), lens=LENS):
    numbers = np.zeros(300)
    numbers[:264] = np.tile([*angles, *place], 44)
    numbers[264:] = np.tile([FOCAL, FOCAL, CENTRE, CENTRE, *lens], 4)
    root.mkdir(parents=True, exist_ok=True)
    text = " ".join(f"{number:.9g}" for number in numbers)
    (root / "metadata.xml").write_text(f"<metadata><other>1</other><w0>[{text}]</w0></metadata>")
    return str(root / "metadata.xml")


def joints_mm(frames):
    """Joint j of frame f at (20 j - 300, 30 j - 450, 4000 + 10 j + f) in the camera."""
    j, f = np.meshgrid(np.arange(32.0), np.arange(frames))
    return np.stack([20 * j - 300, 30 * j - 450, 4000 + 10 * j + f], -1)


def write_cdf(path, poses):
    cdfwrite = pytest.importorskip("cdflib.cdfwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    frames, dims = len(poses), poses[0].size
    with cdfwrite.CDF(str(path)) as file:
        file.write_var({"Variable": "Pose", "Data_Type": file.CDF_FLOAT, "Num_Elements": 1, "Rec_Vary": True,
                        "Dim_Sizes": [frames, dims]}, var_data=np.float32(poses).reshape(1, frames, dims))


def write_video(path, frames):
    """Frame f is gray of 20 + 20 f."""
    path.parent.mkdir(parents=True, exist_ok=True)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 50, (SIZE, SIZE))
    for f in range(frames):
        video.write(np.full((SIZE, SIZE, 3), 20 + 20 * f, np.uint8))
    video.release()


@pytest.fixture(name="root")
def fixture_root(tmp_path):
    write_metadata(tmp_path)
    write_video(tmp_path / "S9" / "Videos" / f"{NAME}.mp4", 6)
    write_video(tmp_path / "S9" / "Videos" / "_ALL 1.55011271.mp4", 1)
    write_cdf(tmp_path / "S9" / "MyPoseFeatures" / "D3_Positions_mono" / f"{NAME}.cdf", joints_mm(7))
    return tmp_path


def test_cameras_by_hand(tmp_path):
    cameras = human36m.read_cameras(write_metadata(tmp_path, (np.pi / 2, 0, 0), (10.0, 20.0, 30.0)))
    assert len(cameras) == 44
    camera = cameras["S11", "60457274"]
    np.testing.assert_allclose(camera["rotation"], [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-8)
    np.testing.assert_array_equal(camera["place"], [10, 20, 30])
    np.testing.assert_allclose(camera["intrinsics"], [300, 300, 160, 160])
    np.testing.assert_allclose(camera["distortion"], [-0.2, 0.24, -0.0009, -0.0014, -0.002])


def test_rotations_turn_about_z_first_then_y_then_x(tmp_path):
    angles = (0.3, -0.5, 0.7)
    turn = np.eye(3)
    for axis, angle in zip(np.eye(3), angles):
        turn = turn @ cv2.Rodrigues(axis * angle)[0]
    camera = human36m.read_cameras(write_metadata(tmp_path, angles))["S1", "54138969"]
    np.testing.assert_allclose(camera["rotation"], turn, atol=1e-8)


def test_labels_by_hand(root):
    photos = list(human36m.photos(str(root), "test", every=2))
    assert [photo.people[0].source for photo in photos] == [f"human36m/S9/{NAME}/{f:06d}" for f in (0, 2, 4)]
    person = photos[1].people[0]
    np.testing.assert_allclose(person.joints3d[11], [-0.24, -0.36, 4.032], atol=1e-6)  # right ankle: joint 3, frame 2
    np.testing.assert_allclose(person.joints3d[4], [0.24, 0.36, 4.272], atol=1e-6)  # right wrist: joint 27
    np.testing.assert_allclose(person.keypoints[4], 160 + 300 * np.array([0.24, 0.36]) / 4.272, atol=1e-4)
    # hips: joints 1 and 6, drawn in to their middle at 3.5
    np.testing.assert_allclose(person.joints3d[12, 0], (20 * (3.5 + 2.5 / 1.14) - 300) / 1000, atol=1e-6)
    assert person.joints3d_weight.sum() == 14 and person.joints3d_weight[[0, 15]].sum() == 0
    np.testing.assert_array_equal(person.keypoints_weight, person.joints3d_weight)
    # the video's lens is taken out: a gray frame stays gray where the photo shows something
    pixels = photos[1].pixels()
    assert pixels.shape == (SIZE, SIZE, 3) and abs(int(pixels[160, 160, 0]) - 60) < 6


def test_poses_in_the_world_give_the_same_labels(root):
    [mono, *_] = human36m.photos(str(root), "test", every=9)
    angles, place = (0.3, -0.5, 0.7), np.array([100.0, -200, 300])
    camera = human36m.read_cameras(write_metadata(root, angles, place))["S9", "55011271"]
    features = root / "S9" / "MyPoseFeatures"
    (features / "D3_Positions_mono" / f"{NAME}.cdf").unlink()
    write_cdf(features / "D3_Positions" / "Walking 1.cdf", joints_mm(7) @ camera["rotation"] + place)
    [world, *_] = human36m.photos(str(root), "test", every=9)
    np.testing.assert_allclose(world.people[0].joints3d, mono.people[0].joints3d, atol=1e-5)
    np.testing.assert_allclose(world.people[0].keypoints, mono.people[0].keypoints, atol=1e-2)


def test_projection_is_checked_against_2d_poses(root):
    matrix = np.array([[FOCAL, 0, CENTRE], [0, FOCAL, CENTRE], [0, 0, 1]])
    lens = np.array(LENS)[[0, 1, 3, 4, 2]]
    still = np.zeros(3)
    pixels = np.stack([cv2.projectPoints(points, still, still, matrix, lens)[0][:, 0] for points in joints_mm(7)])
    path = root / "S9" / "MyPoseFeatures" / "D2_Positions" / f"{NAME}.cdf"
    write_cdf(path, pixels)
    assert len(list(human36m.photos(str(root), "test"))) == 6
    path.unlink()
    write_cdf(path, pixels + [6.0, 0.0])
    with pytest.raises(layout.LayoutError, match="to 5 pixels. Received: 6.0 pixels"):
        list(human36m.photos(str(root), "test"))


def test_wrong_layouts_say_the_path(root, tmp_path):
    with pytest.raises(layout.LayoutError, match="metadata.xml, .*Release-v1.2/metadata.xml"):
        list(human36m.photos(str(tmp_path / "none"), "test"))
    with pytest.raises(layout.LayoutError, match="A folder .*S1 was expected"):
        list(human36m.photos(str(root), "train"))
    (root / "S9" / "MyPoseFeatures" / "D3_Positions_mono" / f"{NAME}.cdf").write_bytes(b"no CDF")
    with pytest.raises(layout.LayoutError, match="must be a CDF file with a variable `Pose`"):
        list(human36m.photos(str(root), "test"))
    (root / "S9" / "MyPoseFeatures" / "D3_Positions_mono" / f"{NAME}.cdf").unlink()
    with pytest.raises(layout.LayoutError, match="mono/Walking 1.55011271.cdf, .*D3_Positions/Walking 1.cdf"):
        list(human36m.photos(str(root), "test"))
    (root / "metadata.xml").write_text("<w0>[1 2 3]</w0>")
    with pytest.raises(layout.LayoutError, match="300 numbers in <w0>. Received: 3 numbers"):
        list(human36m.photos(str(root), "test"))


def test_a_file_that_is_no_video_is_refused(root):
    (root / "S9" / "Videos" / f"{NAME}.mp4").write_bytes(b"none")
    with pytest.raises(layout.LayoutError, match="55011271.mp4 must be a video"):
        list(human36m.photos(str(root), "test"))


def test_without_cdflib_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cdflib", None)
    with pytest.raises(ImportError, match="pip install cdflib"):
        human36m.read_poses("a.cdf", 3)
