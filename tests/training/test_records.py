"""Training records: what is written is read; order by seed; broken files refused by name; nothing half written."""

import os

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.training import record_files, records

CODING = "toy, flow, vae"
BASE = {"intrinsics": [900.0, 900.0, 240.0, 250.0], "image_bounds": [-10.0, 0.0, 480.0, 490.0]}


def picture(value=128):
    return tf.io.encode_png(np.full((480, 480, 3), value, np.uint8)).numpy()


def full(rng):
    """Every group, with values that float32 and 8 bits hold."""
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in records.FLOATS.items()}
    return {**values, "person_mask": rng.integers(0, 256, (60, 60)) / 255, "coding": CODING,
            "part_labels": rng.integers(0, 15, (60, 60)), "image": picture()}


def write(name, sources, shards=1, seed=0, **values):
    with record_files.ShardWriter(str(name), shards, seed) as writer:
        for source in sources:
            writer.write(records.encode(str(source), **{**BASE, **values}))
    return writer.paths


def sources(dataset):
    return [record["source"].numpy().decode() for record in dataset]


def raw(path, feature):
    """A file of one record with just these features: str, ints or floats."""
    kinds = {str: lambda v: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode()])),
             int: lambda v: tf.train.Feature(int64_list=tf.train.Int64List(value=[v])),
             list: lambda v: tf.train.Feature(float_list=tf.train.FloatList(value=v))}
    example = tf.train.Example(features=tf.train.Features(feature={k: kinds[type(v)](v) for k, v in feature.items()}))
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(example.SerializeToString())
    return str(path)


def test_what_is_written_is_read(tmp_path):
    values = full(np.random.default_rng(0))
    [path] = write(tmp_path / "a", ["one"], **values)
    [record] = records.read(path, CODING, images=True)
    assert os.path.basename(path) == "a-00000-of-00001.tfrecord" and record["source"].numpy() == b"one"
    for name in (*records.FLOATS, "part_labels"):
        np.testing.assert_array_equal(record[name], values[name], err_msg=name)
    np.testing.assert_allclose(record["person_mask"], values["person_mask"], atol=1e-6)
    np.testing.assert_allclose(record["image"], np.full((480, 480, 3), 128 / 255), atol=1e-6)
    assert [float(record[f"has_{flag}"]) for flag in ("image", "evidence", "state", "part_labels")] == [1, 1, 1, 1]


def test_what_is_absent_is_zero_with_flags_of_zero(tmp_path):
    write(tmp_path / "a", "xy")
    [batch] = records.read(str(tmp_path / "a-*.tfrecord"), CODING, batch_size=2)
    assert "image" not in batch
    for name, shape in records.FLOATS.items():
        assert batch[name].shape == (2, *shape)
        if name not in (*BASE, "rotation"):
            assert not np.any(batch[name])
    np.testing.assert_array_equal(batch["rotation"], [[1, 0, 0, 0, -1, 0]] * 2)
    assert not any(np.any(batch[f"has_{flag}"]) for flag in ("image", "evidence", "state", "part_labels"))


def test_records_with_and_without_groups_share_a_batch(tmp_path):
    write(tmp_path / "a", ["bare"])
    write(tmp_path / "b", ["full"], **full(np.random.default_rng(0)))
    [batch] = records.read(str(tmp_path / "*.tfrecord"), CODING, images=True, batch_size=2, shuffle=False)
    np.testing.assert_array_equal(batch["has_state"], [0, 1])
    np.testing.assert_allclose(batch["image"][:, 0, 0, 0], [0, 128 / 255])


def test_order_is_by_seed_and_every_record_comes_once(tmp_path):
    write(tmp_path / "a", range(60), shards=5)
    pattern = str(tmp_path / "a-*.tfrecord")
    first, again, other = (sources(records.read(pattern, CODING, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other and sorted(first) == sorted(other) == sorted(map(str, range(60)))
    # one pass through the files would give whole shards in a row; here the first six records are of several
    of_shard = {}
    for path in tmp_path.iterdir():
        for record in tf.data.TFRecordDataset(str(path)):
            of_shard[tf.train.Example.FromString(record.numpy()).features.feature["source"].bytes_list.value[0]] = path
    unbuffered = next(iter(records.read(pattern, CODING, buffer=1, batch_size=6)))["source"].numpy()
    assert len({of_shard[source] for source in unbuffered}) > 2


def test_each_pass_is_shuffled_anew_and_repeats_forever(tmp_path):
    write(tmp_path / "a", range(20))
    dataset = records.read(str(tmp_path / "a-*.tfrecord"), CODING, repeat=True)
    names = sources(dataset.take(40))
    assert names[:20] != names[20:]
    assert len(records.read(str(tmp_path / "a-*.tfrecord"), CODING)) == 20


@pytest.mark.parametrize("start", [0, 3, 9])
def test_order_follows_from_seed_and_step_alone(tmp_path, start):
    """A reading that begins at a step goes on as the whole one does, however often it was begun and whatever TensorFlow's seed."""
    write(tmp_path / "a", range(20), shards=3)
    pattern, batch_size = str(tmp_path / "a-*.tfrecord"), 3

    def batches(count, **settings):
        read = records.read(pattern, CODING, batch_size=batch_size, seed=4, repeat=True, **settings).take(count)
        return [[name.decode() for name in batch["source"].numpy()] for batch in read]

    tf.random.set_seed(1)
    whole = batches(11)
    tf.random.set_seed(2)
    assert batches(2, start=start) == whole[start:start + 2]
    assert records.sources_of(pattern, start, batch_size, 4) == whole[start]


def test_windows_are_shuffled_in_themselves(tmp_path):
    write(tmp_path / "a", range(20))
    names = list(map(int, sources(records.read(str(tmp_path / "a-*.tfrecord"), CODING, buffer=8))))
    assert [sorted(names[i:i + 8]) for i in (0, 8, 16)] == [list(range(20))[i:i + 8] for i in (0, 8, 16)]
    assert names != sorted(names)


def test_looking_at_the_first_does_not_use_up_an_order(tmp_path):
    write(tmp_path / "a", range(20))
    dataset = records.read(str(tmp_path / "a-*.tfrecord"), CODING, repeat=True)
    first = sources(dataset.take(1))
    assert sources(dataset.take(20))[:1] == first


def test_what_is_left_out_is_not_decoded(tmp_path):
    [path] = write(tmp_path / "a", "x")
    for name, feature in (("bad", {"version": 3, "source": "bad", **BASE}), ("y", {"version": 1, "source": "y", **BASE})):
        with open(path, "ab") as file, open(raw(tmp_path / name, feature), "rb") as more:
            file.write(more.read())
    [batch] = records.read(path, CODING, batch_size=1, shuffle=False, start=2)
    assert batch["source"].numpy().tolist() == [b"y"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="version 1"):
        list(records.read(path, CODING, batch_size=3, shuffle=False))
    [batch] = records.read(path, CODING, batch_size=3, shuffle=False, rows=slice(2, 3))
    assert batch["source"].numpy().tolist() == [b"y"]


@pytest.mark.parametrize("size, drop, start, count", [(None, False, 0, 7), (3, False, 0, 3), (3, True, 0, 2), (3, True, 1, 1), (3, True, 5, 0)])
def test_batches_are_counted_before_they_are_read(tmp_path, size, drop, start, count):
    write(tmp_path / "a", range(7))
    dataset = records.read(str(tmp_path / "a-*.tfrecord"), CODING, batch_size=size, drop_remainder=drop, start=start)
    assert len(dataset) == count == len(list(dataset))


def test_writing_is_the_same_for_the_same_seed(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, range(30), shards=3, seed=7)
    for i in range(3):
        assert (tmp_path / f"a-0000{i}-of-00003.tfrecord").read_bytes() == (
            tmp_path / f"b-0000{i}-of-00003.tfrecord").read_bytes() != b""


def test_a_failure_in_the_middle_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="in the middle"):
        with record_files.ShardWriter(str(tmp_path / "a"), 3) as writer:
            writer.write(records.encode("one", **BASE))
            raise RuntimeError("in the middle")
    with pytest.raises(ValueError, match="must hold at least one. Received: none for .*a"):
        with record_files.ShardWriter(str(tmp_path / "a"), 3):
            pass
    assert os.listdir(tmp_path) == []


def test_a_failure_while_shards_get_their_names_leaves_nothing(tmp_path, monkeypatch):
    real, calls = os.replace, []

    def replace(*args):
        calls.append(args)
        if len(calls) == 2:
            raise OSError("disk full")
        real(*args)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path / "a", range(5), shards=3)
    assert os.listdir(tmp_path) == []


def test_an_old_set_is_not_written_over(tmp_path):
    write(tmp_path / "a", "x", shards=2)
    with pytest.raises(FileExistsError, match="new name.*a-00000-of-00002"):
        write(tmp_path / "a", "y", shards=3)


@pytest.mark.parametrize("values, rule", [
    ({"intrinsics": [1.0]}, r"`intrinsics` must be \[4\]. Received: \(1,\)"),
    ({"keypoint": [1.0]}, "values must be of .* Received: 'keypoint'"),
    ({"joints3d": np.zeros((137, 3))}, r"groups whole. Missing: \['joints3d_weight'\]. Source: s"),
    ({"label_keypoints": np.full((137, 2), np.nan), "label_keypoints_weight": np.zeros(137)}, "finite numbers"),
    ({"part_labels": np.full((60, 60), 15)}, "0 to 14. Received"),
    ({"person_mask": np.zeros((30, 30))}, r"\[60, 60\]"),
])
def test_a_record_that_breaks_a_rule_is_not_written(values, rule):
    with pytest.raises(ValueError, match=rule):
        records.encode("s", **{**BASE, **values})


def test_files_that_break_a_rule_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="Received: .*none-.*matches none"):
        records.read(str(tmp_path / "none-*.tfrecord"), CODING)
    with pytest.raises(FileNotFoundError, match="empty list"):
        records.read([], CODING)
    path = raw(tmp_path / "old.tfrecord", {"version": 2, "source": "s", **BASE})
    with pytest.raises(ValueError, match=r"old.tfrecord: A record must be of version 1. Received: \[2\]"):
        records.read(path, CODING)
    path = raw(tmp_path / "bare.tfrecord", {"version": 1, "source": "s", "intrinsics": BASE["intrinsics"]})
    with pytest.raises(ValueError, match=r"bare.tfrecord: .*Missing: \['image_bounds'\]"):
        records.read(path, CODING)
    [path] = write(tmp_path / "state", "s", **full(np.random.default_rng(0)))
    with pytest.raises(ValueError, match="state-00000-of-00001.tfrecord: states .*'other'. Received: 'toy, flow, vae'"):
        records.read(path, "other")
    whole = (tmp_path / "state-00000-of-00001.tfrecord").read_bytes()
    (tmp_path / "cut.tfrecord").write_bytes(whole[:-5])
    with pytest.raises(ValueError, match="cut.tfrecord must be a complete TFRecord file. .*end inside record 0"):
        records.read(str(tmp_path / "cut.tfrecord"), CODING)


def test_a_set_that_lacks_a_shard_is_refused_unless_shards_are_named(tmp_path):
    paths = write(tmp_path / "a", range(9), shards=3)
    os.remove(paths[1])
    with pytest.raises(FileNotFoundError, match="all its shards. .* without .*a-00001-of-00003"):
        records.read(str(tmp_path / "a-*.tfrecord"), CODING)
    assert 0 < len(records.read([paths[0], paths[2]], CODING)) < 9


@pytest.mark.parametrize("feature, rule", [
    ({"version": 3, "source": "s", **BASE}, "version 1"),
    ({"version": 1, "source": "s", **BASE, "coding": "other"}, "codes")])
def test_a_later_record_that_breaks_a_rule_names_its_file(tmp_path, feature, rule):
    [path] = write(tmp_path / "a", "x")
    bad = raw(tmp_path / "bad", feature)
    with open(path, "ab") as file, open(bad, "rb") as more:
        file.write(more.read())
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"(?s){rule}.*a-00000-of-00001.tfrecord"):
        list(records.read(path, CODING))
