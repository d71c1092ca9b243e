"""Inputs and outputs of serving/batch on a file system that only Beam knows."""

import collections
import json
import os
import pathlib

import pyarrow as pa
import pytest
from apache_beam.io.filesystem import BeamIOError
from pyarrow import parquet

from serving.batch import __main__ as command, pipeline, plan, reading, storage
from tests.serving.batch_stand_in import encoded, example, expected, make_photos, run, write_records
from tests.serving.memory_file_system import MemoryFileSystem

VIDEO = pathlib.Path(__file__).parent / "videos" / "edit_list.mp4"


@pytest.fixture(autouse=True)
def files(monkeypatch):
    """The remote files, bytes by path."""
    monkeypatch.setattr(MemoryFileSystem, "files", {})
    return MemoryFileSystem.files


def upload(files, folder, target):
    files.update((f"{target}/{path.name}", path.read_bytes()) for path in folder.iterdir())


def test_a_remote_run_is_as_a_local_one(tmp_path, batch_export, files):
    photos = make_photos(tmp_path / "photos", 6)
    upload(files, photos, "memory://in")
    given = {"photos": ("memory://in/*.png",), "meshes": "glb"}
    assert run("memory://out", batch_export, **given) == pipeline.Summary(2, 0, 6, 7, 0)
    tables = [parquet.read_table(pa.BufferReader(content)) for path, content in sorted(files.items())
              if path.endswith(".parquet")]
    assert [(row["source"], row["person"]) for table in tables for row in table.to_pylist()] == [
        (source.replace(str(photos), "memory://in"), person) for source, person in expected(photos, 6)]
    assert [path for path in files if path.endswith(".glb")] and not [path for path in files if "/.hund-" in path]
    files["memory://out/done/00001-of-00002.json"] = b'{"inputs'
    before = files["memory://out/states-00001-of-00002.parquet"]
    assert run("memory://out", batch_export, **given) == pipeline.Summary(2, 1, 6, 7, 0)
    assert files["memory://out/states-00001-of-00002.parquet"] == before


def test_a_copy_that_fails_leaves_nothing_under_its_name(files, monkeypatch):
    storage.write_bytes("memory://out/done/1.json", b'{"inputs": 5}')

    def copy_half(source, target):
        target.write(source.read(3))
        raise OSError("the line is cut")

    with monkeypatch.context() as patch:
        patch.setattr(storage.shutil, "copyfileobj", copy_half)
        for name in ("1", "2"):
            with pytest.raises(OSError, match="the line is cut"):
                storage.write_bytes(f"memory://out/done/{name}.json", b'{"inputs": 6}')
    assert files == {"memory://out/done/1.json": b'{"inputs": 5}'}
    storage.write_bytes("memory://out/done/1.json", b'{"inputs": 6}')
    assert files == {"memory://out/done/1.json": b'{"inputs": 6}'}


def test_a_process_that_dies_while_it_copies_leaves_no_mark(tmp_path, batch_export, files, monkeypatch):
    upload(files, make_photos(tmp_path / "photos", 2), "memory://in")
    arguments = ["--input", "memory://in/*.png", "--model", batch_export, "--output", "memory://out", "--shard-size", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "rename", lambda *_: (_ for _ in ()).throw(OSError("dead")))
        patch.setattr(MemoryFileSystem, "delete", lambda *_: (_ for _ in ()).throw(OSError("dead, too")))
        assert command.main(arguments) == 1
    left = [path for path in files if path.startswith("memory://out/")]
    assert left and all("/.hund-" in path and path.endswith(".tmp") for path in left)
    assert command.main(arguments) == 0
    assert [json.loads(files[f"memory://out/done/0000{i}-of-00002.json"])["people"] for i in range(2)] == [0, 1]


def test_long_remote_files_are_one_piece_and_copied_once(tmp_path, batch_export, files, monkeypatch):
    write_records(tmp_path / "a.tfrecord", [example(encoded(55, i, 1)) for i in range(5)])
    files.update({"memory://in/a.tfrecord": (tmp_path / "a.tfrecord").read_bytes(), "memory://in/b.mp4": VIDEO.read_bytes()})
    inputs = plan.find((), ("memory://in/*.mp4",), ("memory://in/*.tfrecord",))
    assert [reading.count(source, 1) for source in inputs] == [None, None]
    copies, real = collections.Counter(), storage.local_copy
    monkeypatch.setattr(storage, "local_copy", lambda path: copies.update([path]) or real(path))
    summary = run("memory://out", batch_export, videos=("memory://in/*.mp4",), tfrecords=("memory://in/*.tfrecord",),
                  shard_size=2)
    assert (summary.shards, summary.inputs, summary.dead_letters) == (2, 67 + 5, 0)
    assert copies == {source.path: 1 for source in inputs}


def test_a_folder_that_is_not_there_holds_nothing(files, monkeypatch):
    monkeypatch.setattr(MemoryFileSystem, "has_dirs", lambda self: True)  # as HDFS, which cannot list what is not there
    monkeypatch.setattr(MemoryFileSystem, "_list", lambda self, url: (_ for _ in ()).throw(BeamIOError(f"no {url}")))
    assert storage.inside("memory://out/done") == []


def test_a_remote_file_that_cannot_be_read_is_raised(files):
    for kind in (plan.PHOTO, plan.VIDEO, plan.TFRECORD):
        with pytest.raises(OSError, match="is not there"):
            list(reading.read(plan.Piece(kind, "memory://in/gone")))
