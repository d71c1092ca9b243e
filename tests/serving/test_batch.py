"""Apache Beam over a small stand-in of an export: what goes in comes out once, also after a kill."""

import glob
import json
import os
import types

import numpy as np
import pytest
import tensorflow as tf
from pyarrow import parquet

from serving.batch import __main__ as command, model, options, pipeline, plan, reading, storage, writing
from tests.serving.batch_stand_in import (TETRAHEDRON, dead_letters, encoded, example, expected, make_photos, rows, run,
                                          write_records)


def test_reason_of_a_failure_is_a_sentence():
    message = ("Graph execution error:\n\nDetected at node while/DecodeJpeg defined at (most recent call last):\n"
               "<stack traces unavailable>\njpeg::Uncompress failed. Invalid JPEG data or crop window.\n"
               "\t [[{{node DecodeJpeg}}]]")
    assert reading.reason(tf.errors.InvalidArgumentError(None, None, message)) == (
        "InvalidArgumentError: jpeg::Uncompress failed. Invalid JPEG data or crop window.")


def test_photos_become_rows_and_bad_ones_dead_letters(tmp_path, batch_export):
    photos = make_photos(tmp_path / "photos", 10)
    (photos / "p02.png").write_bytes((photos / "p02.png").read_bytes()[:60])  # its header is whole
    (photos / "p04.jpg").write_bytes(b"no photo")
    (photos / "p11.webp").write_bytes(encoded(105, 7, 9, "WEBP"))
    summary = run(tmp_path / "out", batch_export, photos=(str(photos),))
    found = rows(tmp_path / "out")
    assert [(row["source"], row["person"]) for row in found] == [
        *(pair for pair in expected(photos, 10) if "p02" not in pair[0]), *((str(photos / "p11.webp"), i) for i in range(2))]
    assert summary == pipeline.Summary(shards=3, found_done=0, inputs=12, people=13, dead_letters=2)
    row = next(row for row in found if row["name"] == "p07.png" and row["person"] == 2)
    assert (row["frame"], row["num_people"], row["score"], row["image_size"]) == (0, 3, 107, [48, 64])
    np.testing.assert_allclose(row["keypoints3d"], 7 + np.arange(12, 18))
    letters = {os.path.basename(letter["source"]): letter for letter in dead_letters(tmp_path / "out")}
    assert set(letters) == {"p02.png", "p04.jpg"}
    assert letters["p02.png"]["reason"].startswith("InvalidArgumentError: ")
    assert "p04.jpg: a photo must be JPEG, PNG" in letters["p04.jpg"]["reason"]


def test_a_run_again_does_nothing_and_other_inputs_are_refused(tmp_path, batch_export):
    photos = make_photos(tmp_path / "photos", 3)
    first = run(tmp_path / "out", batch_export, photos=(f"{photos}/p00*", f"{photos}/p*"))
    times = {path: os.stat(path).st_mtime_ns for path in glob.glob(f"{tmp_path}/out/**/*", recursive=True)}
    again = run(tmp_path / "out", batch_export, photos=(f"{photos}/*.png",))
    assert again == first._replace(found_done=1)
    assert {path: os.stat(path).st_mtime_ns for path in times} == times
    (photos / "p03.png").write_bytes(encoded(1, 2, 3))
    with pytest.raises(ValueError, match="same inputs and settings.*begun with inputs"):
        run(tmp_path / "out", batch_export, photos=(str(photos),))


def test_a_shard_that_is_not_done_is_written_anew(tmp_path, batch_export):
    photos, output = make_photos(tmp_path / "photos [1]", 7), tmp_path / "out [1]"
    settings = {"photos": (str(photos / "p00.png"), str(photos)), "shard_size": 2, "meshes": "glb"}
    run(output, batch_export, **settings)
    done = sorted((output / "done").iterdir())
    done[1].unlink()  # killed after the data, before the mark
    done[3].unlink()
    (output / "states-00003-of-00004.parquet").unlink()
    (output / "dead_letters-00001-of-00004.jsonl").write_text("{}")  # of a file that could not be read for a while
    (output / "meshes/00001-of-00004/00000-p09-0.glb").write_bytes(b"")
    summary = run(output, batch_export, **settings)
    assert (summary.shards, summary.found_done) == (4, 2)
    assert [(row["source"], row["person"]) for row in rows(output)] == expected(photos, 7)
    assert dead_letters(output) == []
    scenes = sorted(path.name for path in (output / "meshes/00001-of-00004").iterdir())
    assert scenes == ["00000-p02-0.glb", "00001-p03-0.glb"]


def test_tfrecords_in_and_out(tmp_path, batch_export):
    source = write_records(tmp_path / "in.tfrecord", [
        example(encoded(105, 7, 9), b"first"), example(None, b"no image"), b"\xff", example(encoded(55, 8, 9)),
        example(encoded(55, 9, 9))])
    with open(source, "r+b") as file:
        file.truncate(os.path.getsize(source) - 8)
    run(tmp_path / "out", batch_export, tfrecords=(source,), format="tfrecord", shard_size=2)
    made = [tf.train.Example.FromString(record.numpy()).features.feature
            for path in sorted(glob.glob(f"{tmp_path}/out/*.tfrecord")) for record in tf.data.TFRecordDataset(path)]
    assert [(row["frame"].int64_list.value[0], row["name"].bytes_list.value[0], row["score"].float_list.value[0])
            for row in made] == [(0, b"first", 7), (0, b"first", 7), (3, b"in.tfrecord", 8)]
    np.testing.assert_allclose(made[1]["keypoints3d"].float_list.value, 9 + np.arange(6, 12))
    assert [(letter["frame"], letter["reason"].split(".")[0]) for letter in dead_letters(tmp_path / "out")] == [
        (1, "A record must have one image/encoded"), (2, "A record must be a tf"), (4, "A TFRecord file must be whole")]


def test_meshes_are_scenes_or_a_column(tmp_path, batch_export, monkeypatch):
    import trimesh

    monkeypatch.chdir(tmp_path)
    photos = make_photos(tmp_path / "photos", 3)
    run("./glb", batch_export, photos=(str(photos),), meshes="glb")
    found = sorted(glob.glob(f"{tmp_path}/glb/meshes/*/*"))
    assert [os.path.basename(path) for path in found] == ["00001-p01-0.glb", "00002-p02-0.glb"]
    assert len(trimesh.load(found[1]).geometry) == 2
    run(tmp_path / "column", batch_export, photos=(str(photos),), meshes="vertices")
    np.testing.assert_allclose(rows(tmp_path / "column")[0]["vertices"], np.ravel(TETRAHEDRON))
    assert "vertices" not in rows(tmp_path / "glb")[0]


def test_columns_tell_shapes_units_and_frames(batch_export, tmp_path):
    columns = model.columns(batch_export)
    assert columns == [("image_size", "int32", (2,)), ("keypoints3d", "float32", (2, 3)), ("score", "float32", ())]
    made = writing.schema(columns)
    assert json.loads(made.field("keypoints3d").metadata[b"shape"]) == [2, 3]
    assert {b"software", b"units", b"frames"} == set(made.metadata)
    run(tmp_path / "out", batch_export, photos=(str(make_photos(tmp_path / "photos", 1)),))  # nobody in it
    [path] = glob.glob(f"{tmp_path}/out/*.parquet")
    assert parquet.read_schema(path).equals(made, check_metadata=True) and not rows(tmp_path / "out")


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_shards_hold_every_record_once(size):
    inputs = [plan.Input(plan.PHOTO, "a", 1), plan.Input(plan.PHOTO, "b", 1), plan.Input(plan.VIDEO, "c", 1),
              plan.Input(plan.TFRECORD, "d", 1), plan.Input(plan.TFRECORD, "e", 1), plan.Input(plan.TFRECORD, "f", 1)]
    counts = [1, 1, 8, 5, None, 2]
    shards = plan.cut(inputs, counts, size)
    held = {}
    for shard in shards:
        for piece in shard.pieces:
            stop = piece.stop if piece.stop is not None else dict(c=8, e=piece.start + 1)[piece.path]
            held.setdefault(piece.path, []).extend(range(piece.start, stop))
    assert held == {source.path: list(range(count or 1)) for source, count in zip(inputs, counts)}
    assert [shard.index for shard in shards] == list(range(len(shards))) and {shard.total for shard in shards} == {len(shards)}
    assert [plan.Shard.from_json(shard.to_json()) for shard in shards] == shards


def test_rules_are_told(tmp_path, batch_export, capsys):
    with pytest.raises(FileNotFoundError, match="folder of one version.*hund export"):
        run(tmp_path / "out", str(tmp_path), photos=("x",))
    with pytest.raises(FileNotFoundError, match="A pattern must name a file. Received: '.*/none-\\*'"):
        run(tmp_path / "out", batch_export, photos=(f"{tmp_path}/none-*",))
    (tmp_path / "saved_model.pb").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="must have the signature serving_default\\(image_bytes\\)"):
        run(tmp_path / "out", str(tmp_path), photos=("x",))
    assert command.main(["--input", "x", "--model", str(tmp_path), "--output", str(tmp_path)]) == 2
    assert "must have the signature" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        options.parse(["--model", "m", "--output", "o"])




def test_a_tfrecord_compressed_by_gzip_is_read(tmp_path, batch_export):
    records = [example(encoded(55, i, 9)) for i in range(3)]
    whole, short = (write_records(tmp_path / name, records, "GZIP") for name in ("a.tfrecord.gz", "b.tfrecord"))
    os.truncate(short, os.path.getsize(short) - 20)
    summary = run(tmp_path / "out", batch_export, tfrecords=(whole, short), shard_size=2)
    assert [row["score"] for row in rows(tmp_path / "out") if row["source"] == whole] == [0, 1, 2]
    [letter] = dead_letters(tmp_path / "out")
    assert letter["source"] == short and summary.dead_letters == 1
    assert letter["reason"].startswith("A TFRecord file must be whole. Received: DataLossError: ")
    assert not any(word in letter["reason"] for word in ("{{", "[Op", "device:"))


def test_a_plain_tfrecord_may_begin_as_gzip_does(tmp_path):
    path = write_records(tmp_path / "a.tfrecord", [example(b"\x00" * 559_868)])  # its length, written first, is 0x088b1f
    assert (tmp_path / "a.tfrecord").read_bytes()[:3] == b"\x1f\x8b\x08"
    [letter] = reading.read(plan.Piece(plan.TFRECORD, path, 0, 1))
    assert letter.reason.startswith("a.tfrecord: a photo must be JPEG, PNG")


def test_file_names_that_are_no_utf8_are_written_with_replacements(tmp_path, batch_export):
    folder = os.fsencode(make_photos(tmp_path / "photos", 2))
    for name, content in ((b"caf\xe9.png", encoded(55, 1, 2)), (b"caf\xe9.jpg", b"no photo")):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    records = os.path.join(os.fsencode(tmp_path), b"r\xff.tfrecord")
    os.rename(write_records(tmp_path / "r", [example(encoded(55, 3, 3), b"\xe9"), b"\xff"]), records)
    given = {"photos": (os.fsdecode(folder),), "tfrecords": (os.fsdecode(records),), "meshes": "glb"}
    summary = run(tmp_path / "out", batch_export, **given)
    assert summary == run(tmp_path / "out", batch_export, **given)._replace(found_done=0)
    assert [(row["source"], row["name"]) for row in rows(tmp_path / "out")] == [
        (f"{tmp_path}/photos/caf\\xe9.png", "caf\\xe9.png"), (f"{tmp_path}/photos/p01.png", "p01.png"),
        (f"{tmp_path}/r\\xff.tfrecord", "\\xe9")]
    assert [(letter["name"], letter["frame"]) for letter in dead_letters(tmp_path / "out")] == [
        ("caf\\xe9.jpg", 0), ("r\\xff.tfrecord", 1)]
    run(tmp_path / "out2", batch_export, **given, format="tfrecord")
    first = next(tf.data.TFRecordDataset(sorted(glob.glob(f"{tmp_path}/out2/*.tfrecord"))).as_numpy_iterator())
    assert tf.train.Example.FromString(first).features.feature["name"].bytes_list.value[0] == b"caf\\xe9.png"


def test_records_of_odd_names_get_meshes(tmp_path, batch_export):
    names = [b"n" * 300, b"a\0b", b"../../x/..", "写真".encode() * 60, b"con:<>|*?.png", b""]
    source = write_records(tmp_path / "in.tfrecord", [example(encoded(55, 7, 9), name) for name in names])
    run(tmp_path / "out", batch_export, tfrecords=(source,), meshes="glb", shard_size=10)
    assert [row["name"] for row in rows(tmp_path / "out")] == [name.decode() for name in names]
    found = sorted(os.listdir(tmp_path / "out/meshes/00000-of-00001"))
    assert found == [f"00000-{'n' * 80}-0.glb", "00001-a_b-1.glb", "00002-..-2.glb", f"00003-{'写真' * 13}-3.glb",
                     "00004-con______-4.glb", "00005--5.glb"]


def test_records_are_read_as_the_model_takes_them(tmp_path, monkeypatch):
    taken, real = [], reading.read
    monkeypatch.setattr(reading, "read", lambda piece, every: (taken.append(one) or one for one in real(piece, every)))
    seen = []

    def signature(image_bytes):
        seen.append(len(image_bytes))
        assert len(taken) == sum(seen)
        return {model.NUMBER: tf.zeros(len(image_bytes), tf.int32)}

    path = write_records(tmp_path / "in.tfrecord", [example(encoded(55, 7, 9))] * 8)
    shard = plan.Shard(0, 1, (plan.Piece(plan.TFRECORD, path, 0, 8),))
    handler, loaded = model.ShardHandler("", 3, ()), types.SimpleNamespace(signatures={model.SIGNATURE: signature})
    [result] = handler.run_inference([shard.to_json()], loaded)
    assert (seen, len(result.results)) == ([3, 3, 2], 8)


def test_names_of_remote_files_are_left_as_they_are():
    assert storage.as_text("gs://bucket/é 写.png") == "gs://bucket/é 写.png"
