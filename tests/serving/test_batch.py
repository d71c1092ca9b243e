"""Apache Beam over a small stand-in of an export: what goes in comes out once, also after a kill."""

import glob
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

pytest.importorskip("apache_beam", reason="Apache Beam is not installed: pip install 'hund-tf[batch]'")

from apache_beam.options.pipeline_options import PipelineOptions  # noqa: E402
from pyarrow import dataset, parquet  # noqa: E402

from hund_tf import images  # noqa: E402
from serving.batch import __main__ as command, model, options, pipeline, plan, reading, writing  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
PEOPLE, FACES = 3, [[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]
TETRAHEDRON = [[0.0, -0.8, 3.0], [0.4, 0.8, 3.0], [-0.4, 0.8, 3.0], [0.0, 0.5, 3.4]]


class StandIn(tf.Module):
    """Finds red // 50 people in a photo whose pixels are all alike; `score` is its green, `keypoints3d` hold its blue."""

    def __init__(self, delay=0):
        super().__init__()
        self._delay = delay

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes):
        pixels = tf.map_fn(lambda one: tf.image.decode_image(one, channels=3, expand_animations=False)[0, 0], image_bytes,
                           fn_output_signature=tf.uint8)
        color = tf.ensure_shape(tf.cast(pixels, tf.float32), [None, 3])
        work = tf.ones([512, 512])
        for _ in tf.range(self._delay * tf.shape(image_bytes)[0]):
            work = tf.linalg.matmul(work, work) / 512.0
        number = tf.cast(color[:, 0] // 50, tf.int32) + tf.cast(work[0, 0] * 0, tf.int32)
        there = tf.sequence_mask(number, PEOPLE, tf.float32)
        keypoints = color[:, 2, None, None, None] + tf.reshape(tf.range(PEOPLE * 6.0), [PEOPLE, 2, 3])
        batch = tf.shape(image_bytes)[0]
        return {"num_people": number, "score": color[:, 1, None] * there, "keypoints3d": keypoints * there[..., None, None],
                "vertices": tf.tile(tf.constant(TETRAHEDRON)[None, None], [batch, PEOPLE, 1, 1]),
                "stage_states": tf.zeros([batch, PEOPLE, 6, 151]), "image_size": tf.tile([[48, 64]], [batch, 1])}

    @tf.function(input_signature=[])
    def describe(self):
        return {"faces": tf.constant(FACES)}


def save(folder, delay=0):
    module = StandIn(delay)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve, "describe": module.describe})
    return str(folder)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return save(tmp_path_factory.mktemp("export") / "hund" / "1")


def encoded(red, green, blue, kind="PNG"):
    content = io.BytesIO()
    Image.new("RGB", (64, 48), (red, green, blue)).save(content, kind)
    return content.getvalue()


def make_photos(folder, number):
    """Photos p00 to p<number>: photo i has i % 4 people, and i is its blue."""
    folder.mkdir()
    for i in range(number):
        (folder / f"p{i:02d}.png").write_bytes(encoded(50 * (i % 4) + 5, 100 + i, i))
    return folder


def run(output, export, **settings):
    given = {"photos": (), "videos": (), "tfrecords": (), "every": 1, "batch_size": 4, "shard_size": 4, **settings}
    return pipeline.run(options.Settings(model=export, output=str(output), **given), ["--runner", options.RUNNER])


def rows(output):
    return dataset.dataset(sorted(map(str, pathlib.Path(output).glob("states-*.parquet")))).to_table().to_pylist()


def dead_letters(output):
    return [json.loads(line) for path in sorted(pathlib.Path(output).glob("dead_letters-*.jsonl"))
            for line in path.read_text(encoding="utf-8").splitlines()]


def expected(folder, number):
    """(source, person) of every person of `make_photos`."""
    return [(str(folder / f"p{i:02d}.png"), person) for i in range(number) for person in range(i % 4)]


def test_reason_of_a_failure_is_a_sentence():
    message = ("Graph execution error:\n\nDetected at node while/DecodeJpeg defined at (most recent call last):\n"
               "<stack traces unavailable>\njpeg::Uncompress failed. Invalid JPEG data or crop window.\n"
               "\t [[{{node DecodeJpeg}}]]")
    assert model._reason(tf.errors.InvalidArgumentError(None, None, message)) == (
        "InvalidArgumentError: jpeg::Uncompress failed. Invalid JPEG data or crop window.")


def test_photos_become_rows_and_bad_ones_dead_letters(tmp_path, export):
    photos = make_photos(tmp_path / "photos", 10)
    (photos / "p02.png").write_bytes((photos / "p02.png").read_bytes()[:60])  # its header is whole
    (photos / "p04.jpg").write_bytes(b"no photo")
    (photos / "p11.webp").write_bytes(encoded(105, 7, 9, "WEBP"))
    summary = run(tmp_path / "out", export, photos=(str(photos),))
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


def test_a_run_again_does_nothing_and_other_inputs_are_refused(tmp_path, export):
    photos = make_photos(tmp_path / "photos", 3)
    first = run(tmp_path / "out", export, photos=(f"{photos}/p00*", f"{photos}/p*"))
    times = {path: os.stat(path).st_mtime_ns for path in glob.glob(f"{tmp_path}/out/**/*", recursive=True)}
    again = run(tmp_path / "out", export, photos=(f"{photos}/*.png",))
    assert again == first._replace(found_done=1)
    assert {path: os.stat(path).st_mtime_ns for path in times} == times
    (photos / "p03.png").write_bytes(encoded(1, 2, 3))
    with pytest.raises(ValueError, match="same inputs and settings.*begun with inputs"):
        run(tmp_path / "out", export, photos=(str(photos),))


def test_a_shard_that_is_not_done_is_written_anew(tmp_path, export):
    photos, output = make_photos(tmp_path / "photos [1]", 7), tmp_path / "out [1]"
    settings = {"photos": (str(photos / "p00.png"), str(photos)), "shard_size": 2, "meshes": "glb"}
    run(output, export, **settings)
    done = sorted((output / "done").iterdir())
    done[1].unlink()  # killed after the data, before the mark
    done[3].unlink()
    (output / "states-00003-of-00004.parquet").unlink()
    (output / "dead_letters-00001-of-00004.jsonl").write_text("{}")  # of a file that could not be read for a while
    (output / "meshes/00001-of-00004/00000-p09-0.glb").write_bytes(b"")
    summary = run(output, export, **settings)
    assert (summary.shards, summary.found_done) == (4, 2)
    assert [(row["source"], row["person"]) for row in rows(output)] == expected(photos, 7)
    assert dead_letters(output) == []
    scenes = sorted(path.name for path in (output / "meshes/00001-of-00004").iterdir())
    assert scenes == ["00000-p02-0.glb", "00001-p03-0.glb"]


@pytest.mark.slow
def test_a_killed_run_goes_on_without_loss_or_double(tmp_path):
    export, photos, output = save(tmp_path / "model", delay=20), make_photos(tmp_path / "photos", 14), tmp_path / "out"
    (photos / "p02.png").write_bytes(b"")
    arguments = ["--input", str(photos), "--model", export, "--output", str(output), "--shard-size", "1"]
    process = subprocess.Popen([sys.executable, "-m", "serving.batch", *arguments], cwd=ROOT, stderr=subprocess.PIPE,
                               env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"})
    deadline = time.monotonic() + 120
    while len(glob.glob(f"{output}/done/*.json")) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.stderr.read().decode()
    process.stderr.close()
    finished = len(glob.glob(f"{output}/done/*.json"))
    assert 3 <= finished < 14
    summary = run(output, export, photos=(str(photos),), shard_size=1)
    assert summary == pipeline.Summary(shards=14, found_done=finished, inputs=14, people=17, dead_letters=1)
    assert [(row["source"], row["person"]) for row in rows(output)] == [
        pair for pair in expected(photos, 14) if "p02" not in pair[0]]
    assert [letter["name"] for letter in dead_letters(output)] == ["p02.png"]


def test_tfrecords_in_and_out(tmp_path, export):
    def example(**features):
        features = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in features.items()}
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    source = str(tmp_path / "in.tfrecord")
    with tf.io.TFRecordWriter(source) as writer:
        writer.write(example(**{reading.ENCODED: encoded(105, 7, 9), reading.NAME: b"first"}))
        writer.write(example(**{reading.NAME: b"no image"}))
        writer.write(b"\xff")
        writer.write(example(**{reading.ENCODED: encoded(55, 8, 9)}))
        writer.write(example(**{reading.ENCODED: encoded(55, 9, 9)}))
    with open(source, "r+b") as file:
        file.truncate(os.path.getsize(source) - 8)
    run(tmp_path / "out", export, tfrecords=(source,), format="tfrecord", shard_size=2)
    made = [tf.train.Example.FromString(record.numpy()).features.feature
            for path in sorted(glob.glob(f"{tmp_path}/out/*.tfrecord")) for record in tf.data.TFRecordDataset(path)]
    assert [(row["frame"].int64_list.value[0], row["name"].bytes_list.value[0], row["score"].float_list.value[0])
            for row in made] == [(0, b"first", 7), (0, b"first", 7), (3, b"in.tfrecord", 8)]
    np.testing.assert_allclose(made[1]["keypoints3d"].float_list.value, 9 + np.arange(6, 12))
    assert [(letter["frame"], letter["reason"].split(".")[0]) for letter in dead_letters(tmp_path / "out")] == [
        (1, "A record must have one image/encoded"), (2, "A record must be a tf"), (4, "A TFRecord file must be whole")]


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


def test_every_fifth_frame_of_a_video(tmp_path, export, video):
    summary = run(tmp_path / "out", export, videos=(video,), every=5, shard_size=2)
    found = rows(tmp_path / "out")
    assert [row["frame"] for row in found] == [0, 5, 10, 15, 20]
    np.testing.assert_allclose([row["score"] for row in found], [0, 50, 100, 150, 200], atol=8)
    assert (summary.shards, summary.dead_letters) == (3, 0)


def test_a_video_cut_short_is_told(tmp_path, video):
    short = tmp_path / "short.avi"
    content = pathlib.Path(video).read_bytes()
    short.write_bytes(content[:len(content) * 4 // 5])
    bad = tmp_path / "bad.avi"
    bad.write_bytes(b"no video")
    pieces = [reading.read(plan.Piece(plan.VIDEO, str(path), 0, None)) for path in (short, bad)]
    first, second = [list(piece) for piece in pieces]
    assert [type(one) for one in first] == [reading.Record] * (len(first) - 1) + [reading.DeadLetter]
    assert 5 < len(first) < 23 and first[-1].frame == len(first) - 1
    assert [type(one) for one in second] == [reading.DeadLetter]
    assert "must hold the frames" in second[0].reason


def test_meshes_are_scenes_or_a_column(tmp_path, export):
    import trimesh

    photos = make_photos(tmp_path / "photos", 3)
    run(tmp_path / "glb", export, photos=(str(photos),), meshes="glb")
    found = sorted(glob.glob(f"{tmp_path}/glb/meshes/*/*"))
    assert [os.path.basename(path) for path in found] == ["00001-p01-0.glb", "00002-p02-0.glb"]
    assert len(trimesh.load(found[1]).geometry) == 2
    run(tmp_path / "column", export, photos=(str(photos),), meshes="vertices")
    np.testing.assert_allclose(rows(tmp_path / "column")[0]["vertices"], np.ravel(TETRAHEDRON))
    assert "vertices" not in rows(tmp_path / "glb")[0]


def test_columns_tell_shapes_units_and_frames(export, tmp_path):
    columns = model.columns(export)
    assert columns == [("image_size", "int32", (2,)), ("keypoints3d", "float32", (2, 3)), ("score", "float32", ())]
    made = writing.schema(columns)
    assert json.loads(made.field("keypoints3d").metadata[b"shape"]) == [2, 3]
    assert {b"software", b"units", b"frames"} == set(made.metadata)
    run(tmp_path / "out", export, photos=(str(make_photos(tmp_path / "photos", 1)),))  # nobody in it
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


def test_rules_are_told(tmp_path, export, capsys):
    with pytest.raises(FileNotFoundError, match="folder of one version.*hund export"):
        run(tmp_path / "out", str(tmp_path), photos=("x",))
    with pytest.raises(FileNotFoundError, match="A pattern must name a file. Received: '.*/none-\\*'"):
        run(tmp_path / "out", export, photos=(f"{tmp_path}/none-*",))
    (tmp_path / "saved_model.pb").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="must have the signature serving_default\\(image_bytes\\)"):
        run(tmp_path / "out", str(tmp_path), photos=("x",))
    assert command.main(["--input", "x", "--model", str(tmp_path), "--output", str(tmp_path)]) == 2
    assert "must have the signature" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        options.parse(["--model", "m", "--output", "o"])


def test_the_command_says_what_it_did_and_passes_options_on(tmp_path, export, capsys):
    photos = make_photos(tmp_path / "photos", 4)
    arguments = ["--input", f"{photos}/p00.png", "--input", f"{photos}/p0[12].png", "--model", export, "--shards", "2"]
    assert command.main([*arguments, "--output", str(tmp_path / "out")]) == 0
    assert "3 records, 3 people, 0 dead letters in 2 shards (0 of them done before)" in capsys.readouterr().out
    settings, others = options.parse([*arguments, "--output", "o", "--meshes", "--runner=FlinkRunner", "--parallelism", "4"])
    assert (settings.photos, settings.meshes) == ((f"{photos}/p00.png", f"{photos}/p0[12].png"), "glb")
    assert PipelineOptions(others).get_all_options()["runner"] == "FlinkRunner"
