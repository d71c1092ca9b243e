"""What fails: records become dead letters only by their content, a run that is cut off goes on without loss or double."""

import contextlib
import errno
import glob
import os
import pathlib
import signal
import subprocess
import sys
import time
import types

import psutil
import pytest
import tensorflow as tf

from serving.batch import __main__ as command, model, pipeline, plan, reading, storage, writing
from tests.serving.batch_stand_in import (dead_letters, encoded, example, expected, make_photos, rows, run, save,
                                          write_records)

ROOT = pathlib.Path(__file__).parents[2]
TRANSIENT = [tf.errors.ResourceExhaustedError, tf.errors.InternalError, tf.errors.UnavailableError, tf.errors.UnknownError]


def arguments(tmp_path, export, photos):
    return ["--input", str(photos), "--model", export, "--output", str(tmp_path / "out"), "--shard-size", "2"]


class Loaded:
    """In the place of a loaded SavedModel."""

    def __init__(self, signature):
        self.signatures = {model.SIGNATURE: signature}


def use_signature(monkeypatch, signature):
    monkeypatch.setattr(model.ShardHandler, "load_model", lambda self: Loaded(signature))


@pytest.mark.parametrize("error", TRANSIENT)
def test_a_machine_that_fails_makes_no_dead_letters_and_is_tried_again(tmp_path, batch_export, monkeypatch, caplog, error):
    photos, real = make_photos(tmp_path / "photos", 4), tf.saved_model.load(batch_export)

    def signature(image_bytes):
        if encoded(155, 103, 3) in image_bytes.numpy():  # p03
            raise error(None, None, "the machine's fault")
        return real.signatures[model.SIGNATURE](image_bytes=image_bytes)

    with monkeypatch.context() as patch:
        use_signature(patch, signature)
        assert command.main(arguments(tmp_path, batch_export, photos)) == 1
    assert "the machine's fault" in caplog.text and "the same command does the others" in caplog.text
    assert dead_letters(tmp_path / "out") == [] and not (tmp_path / "out/done/00001-of-00002.json").exists()
    assert command.main(arguments(tmp_path, batch_export, photos)) == 0
    assert [(row["source"], row["person"]) for row in rows(tmp_path / "out")] == expected(photos, 4)


def test_a_batch_without_memory_runs_record_by_record(tmp_path, batch_export, monkeypatch):
    photos, real = make_photos(tmp_path / "photos", 4), tf.saved_model.load(batch_export)

    def signature(image_bytes):
        if len(image_bytes) > 1:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return real.signatures[model.SIGNATURE](image_bytes=image_bytes)

    use_signature(monkeypatch, signature)
    assert run(tmp_path / "out", batch_export, photos=(str(photos),)).dead_letters == 0
    assert [(row["source"], row["person"]) for row in rows(tmp_path / "out")] == expected(photos, 4)


@pytest.mark.parametrize("kind", ["photos", "tfrecords"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_file_that_cannot_be_read_for_now_is_no_dead_letter(tmp_path, batch_export, monkeypatch, kind, number):
    make_photos(tmp_path / "photos", 2)
    write_records(tmp_path / "photos/a.tfrecord", [example(encoded(55, 1, 1))])
    given, bad = ({"photos": (f"{tmp_path}/photos",)}, "p01.png") if kind == "photos" else (
        {"tfrecords": (f"{tmp_path}/photos/a.tfrecord",)}, "a.tfrecord")
    real = storage.opened

    def opened(path):
        if path.endswith(bad):
            raise OSError(number, os.strerror(number), path)
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "opened", opened)
        with pytest.raises(Exception, match=os.strerror(number)):  # Beam raises what it likes
            run(tmp_path / "out", batch_export, **given)
    assert run(tmp_path / "out", batch_export, **given) == pipeline.Summary(1, 0, 2 if kind == "photos" else 1, 1, 0)


@pytest.mark.parametrize("error, told", [(tf.errors.UnavailableError, False), (tf.errors.DataLossError, True)])
def test_a_tfrecord_is_a_dead_letter_only_by_its_content(tmp_path, monkeypatch, error, told):
    def contents():
        raise error(None, None, "{{function_node __wrapped__IteratorGetNext}} said [Op:IteratorGetNext] name: ")
        yield

    dataset = types.SimpleNamespace(skip=lambda _: dataset, take=lambda _: dataset, as_numpy_iterator=contents)
    path = write_records(tmp_path / "a.tfrecord", [example(encoded(55, 1, 1))])
    monkeypatch.setattr(reading.tf.data, "TFRecordDataset", lambda *_: dataset)
    with contextlib.nullcontext() if told else pytest.raises(error):
        [letter] = reading.read(plan.Piece(plan.TFRECORD, path, 0, 1))
        assert letter.reason == ("A TFRecord file must be whole. Received: DataLossError: said; the records from here on are "
                                 "lost.")


def test_files_that_are_gone_are_told(tmp_path):
    for kind in (plan.PHOTO, plan.VIDEO, plan.TFRECORD):
        [letter] = reading.read(plan.Piece(kind, str(tmp_path / "gone"), 3, 5))
        assert letter == (str(tmp_path / "gone"), 3, "gone", "A file must be there. Received: No such file or directory.")


def test_records_that_were_there_at_planning_are_no_dead_letters(tmp_path):
    path = write_records(tmp_path / "a.tfrecord", [example(encoded(55, 1, 1))] * 3)
    records = reading.read(plan.Piece(plan.TFRECORD, path, 2, 5))
    assert next(records).frame == 2
    with pytest.raises(OSError, match="must hold the records that were counted.*which ends before record 3"):
        next(records)


def test_a_fault_of_the_pipeline_is_no_wrong_argument(tmp_path, batch_export, monkeypatch, caplog):
    def write(*_):
        raise ValueError("a fault in a step")

    monkeypatch.setattr(writing, "write", write)
    assert command.main(arguments(tmp_path, batch_export, make_photos(tmp_path / "photos", 1))) == 1
    assert "a fault in a step" in caplog.text and "Traceback" in caplog.text


def test_a_mark_that_is_cut_short_marks_nothing(tmp_path, batch_export):
    photos = make_photos(tmp_path / "photos", 3)
    run(tmp_path / "out", batch_export, photos=(str(photos),), shard_size=1)
    (tmp_path / "out/done/00001-of-00003.json").write_text('{"inpu')
    (tmp_path / "out/done/00002-of-00003.json").write_bytes(b"3")
    summary = run(tmp_path / "out", batch_export, photos=(str(photos),), shard_size=1)
    assert summary == pipeline.Summary(shards=3, found_done=1, inputs=3, people=3, dead_letters=0)


def lives(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on_without_loss_or_double(tmp_path, workers):
    export, photos, output = save(tmp_path / "model", delay=20), make_photos(tmp_path / "photos", 14), tmp_path / "out"
    (photos / "p02.png").write_bytes(b"")
    line = [sys.executable, "-m", "serving.batch", "--input", str(photos), "--model", export, "--output", str(output),
            "--shard-size", "1"]
    if workers > 1:
        line += ["--direct_num_workers", str(workers), "--direct_running_mode", "multi_processing"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(line, cwd=ROOT, stderr=log, env=environment)
        deadline = time.monotonic() + 120
        while len(glob.glob(f"{output}/done/*.json")) < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        started = psutil.Process(process.pid).children(recursive=True)
        killed = process.pid if workers == 1 else next(
            child.pid for child in started if child.exe() == os.path.realpath(sys.executable))
        os.kill(killed, signal.SIGKILL)
        code = process.wait(60)
    assert code == (-signal.SIGKILL if workers == 1 else 1), (tmp_path / "log").read_text()
    left = [child for child in started if lives(child)]
    for child in left:
        child.kill()
    assert not left and (workers == 1 or len(started) >= workers)
    finished = len(glob.glob(f"{output}/done/*.json"))
    assert 3 <= finished < 14
    again = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert again.returncode == 2 and f"14 records, 17 people, 1 dead letters in 14 shards ({finished} of them" in again.stdout
    assert [(row["source"], row["person"]) for row in rows(output)] == [
        pair for pair in expected(photos, 14) if "p02" not in pair[0]]
    assert [letter["name"] for letter in dead_letters(output)] == ["p02.png"]
