"""Frames of videos: each that is shown comes out once, under its own number, however the work is cut."""

import os
import pathlib
import shutil

import numpy as np
import pytest

from hund_tf import images
from serving.batch import plan, reading
from tests.serving.batch_stand_in import rows, run

VIDEOS = pathlib.Path(__file__).parent / "videos"
SHOWN = {"variable_rate.mp4": range(90), "edit_list.mp4": range(23, 90), "mpeg2.mpg": range(90)}  # numbers in the pixels


def number_in(encoded):
    """The number that a frame of `VIDEOS` shows as bars."""
    gray = images.opencv().imdecode(np.frombuffer(encoded, np.uint8), images.opencv().IMREAD_GRAYSCALE)
    return sum(1 << bit for bit in range(8) if gray[24, 8 * bit + 4] > 128)


def read_in_shards(path, every, shard_size):
    source = plan.Input(plan.VIDEO, str(path), os.path.getsize(path))
    shards = plan.cut([source], [reading.count(source, every)], shard_size)
    return [record for shard in shards for piece in shard.pieces for record in reading.read(piece, every)]


@pytest.mark.parametrize("every, shard_size", [(1, 16), (1, 1000), (7, 4)])
@pytest.mark.parametrize("name", SHOWN)
def test_each_frame_comes_out_once_under_its_number(name, every, shard_size):
    found = [(record.frame, number_in(record.encoded)) for record in read_in_shards(VIDEOS / name, every, shard_size)]
    assert found == list(enumerate(SHOWN[name]))[::every]


def test_headers_of_these_videos_count_other_frames_or_another_rate():
    cv2 = images.opencv()
    told = {}
    for name in SHOWN:
        capture = cv2.VideoCapture(str(VIDEOS / name))
        told[name] = round(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
        capture.release()
    assert told["variable_rate.mp4"][1] < 13 and told["edit_list.mp4"][0] > 67 and told["mpeg2.mpg"][0] < 90


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """23 frames; frame i has one person and a green of about 10 i."""
    cv2 = images.opencv()
    path = str(tmp_path_factory.mktemp("video") / "walk.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for i in range(23):
        writer.write(np.full([48, 64, 3], [0, 10 * i, 75], np.uint8))
    writer.release()
    return path


def test_every_fifth_frame_of_a_video(tmp_path, batch_export, video):
    summary = run(tmp_path / "out", batch_export, videos=(video,), every=5, shard_size=2)
    found = rows(tmp_path / "out")
    assert [row["frame"] for row in found] == [0, 5, 10, 15, 20]
    np.testing.assert_allclose([row["score"] for row in found], [0, 50, 100, 150, 200], atol=8)
    assert (summary.shards, summary.dead_letters) == (3, 0)


def test_a_video_ends_where_its_reader_does_and_one_without_frames_is_told(tmp_path, video):
    content = pathlib.Path(video).read_bytes()
    (tmp_path / "short.avi").write_bytes(content[:len(content) * 4 // 5])
    (tmp_path / "bad.avi").write_bytes(b"no video")
    frames = [record.frame for record in read_in_shards(tmp_path / "short.avi", 1, 4)]
    assert 5 < len(frames) < 23 and frames == list(range(len(frames)))
    [letter] = read_in_shards(tmp_path / "bad.avi", 1, 4)
    assert letter == (str(tmp_path / "bad.avi"), 0, "bad.avi",
                      "A video must have frames that OpenCV reads. Received: a file without one.")


def test_frames_that_were_there_at_planning_are_no_dead_letters(video):
    records = reading.read(plan.Piece(plan.VIDEO, video, 20, 25))
    assert [next(records).frame for _ in range(3)] == [20, 21, 22]
    with pytest.raises(OSError, match="must hold the frames that were counted.*frame 23 cannot be read now"):
        next(records)


def test_a_frame_that_cannot_be_decoded_is_told_and_the_others_come(monkeypatch):
    class Capture:
        """Five frames, the third of which is there but has no pixels."""

        def __init__(self, path):
            self._frame = -1

        def grab(self):
            self._frame += 1
            return self._frame < 5

        def retrieve(self):
            return (False, None) if self._frame == 2 else (True, np.full([48, 64, 3], self._frame, np.uint8))

        def release(self):
            pass

    monkeypatch.setattr(images.opencv(), "VideoCapture", Capture)
    records = read_in_shards(VIDEOS / "mpeg2.mpg", 1, 2)
    assert [(type(record), record.frame) for record in records] == [
        (reading.DeadLetter if frame == 2 else reading.Record, frame) for frame in range(5)]
    assert records[2].reason.startswith("A frame must be one that OpenCV can decode")


def test_a_video_may_have_a_name_that_is_no_utf8(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"\xff.mp4")
    shutil.copy(VIDEOS / "edit_list.mp4", path)
    records = read_in_shards(os.fsdecode(path), 30, 2)
    assert [(record.source, record.name, number_in(record.encoded)) for record in records] == [
        (f"{tmp_path}/\\xff.mp4", "\\xff.mp4", number) for number in (23, 53, 83)]
