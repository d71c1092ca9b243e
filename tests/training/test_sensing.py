"""The first CNN learns from records with `fit`: renders with exact labels, photos with those of other networks."""

import os
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.geometry import camera
from hund_tf.sensing import heatmaps, multitask_cnn, part_segmentation
from hund_tf.state import ModelState
from hund_tf.training import callbacks, record_files, records, renders, runs, sensing, sensing_records
from tests.sensing import small_trunk

COUNT = 3


@pytest.fixture(scope="module", name="body")
def fixture_body():
    return GenerativeBody.from_asset(pose_prior="gaussian")


@pytest.fixture(scope="module", name="drawn")
def fixture_drawn(body):
    return dict(renders.records_of(body, renders.sample_scenes(body, COUNT, seed=4), seed=4, occluders=0.0))


@pytest.fixture(scope="module", name="paths")
def fixture_paths(drawn, tmp_path_factory):
    with record_files.ShardWriter(str(tmp_path_factory.mktemp("records") / "renders")) as writer:
        for source, values in drawn.items():
            writer.write(records.encode(source, **values))
    return writer.paths


@pytest.fixture(autouse=True)
def fixture_small_trunk(monkeypatch):
    """A trunk of three layers, so that a step takes milliseconds; and a seed that stays in its test.

    Keras' own seed makes Python warn of a float whenever a later test builds a layer.
    """
    monkeypatch.setattr(keras.applications, "ResNet50", small_trunk.make)
    monkeypatch.setattr(keras.utils, "set_random_seed", tf.random.set_seed)


@pytest.fixture(name="model")
def fixture_model():
    model = sensing.TrainableCNN()
    model(tf.zeros([1, 64, 64, 3]))
    return model


def test_renders_say_where_the_body_is(body, drawn):
    """Keypoints are the state's, projected; a point in sight lies on the body's parts or at most a pixel beside."""
    for values in drawn.values():
        state = ModelState(*(tf.constant(values[name])[None] for name in ModelState._fields))
        points = body(state, mesh=None).keypoints
        pixels = camera.project(points, tf.constant(values["intrinsics"])[None])[0].numpy()
        np.testing.assert_allclose(values["keypoints"], pixels, atol=0.01)
        np.testing.assert_allclose(values["landmarks3d"], points[0, :25] - points[0, 8], atol=1e-5)
        seen = values["confidence"] == 1
        near = tf.nn.max_pool2d(np.float32(values["part_labels"] > 0)[None, ..., None], 3, 1, "SAME")[0, ..., 0].numpy()
        cells = np.floor(pixels[seen] / heatmaps.STRIDE).astype(int)
        assert seen.sum() > 10 and near[cells[:, 1], cells[:, 0]].mean() > 0.98


def test_renders_are_black_outside_the_photo(drawn):
    for values in drawn.values():
        image = tf.io.decode_png(values["image"]).numpy()
        pixel = np.arange(480) + 0.5
        outside = ((pixel < values["image_bounds"][1]) | (pixel > values["image_bounds"][3]))[:, None] | (
            (pixel < values["image_bounds"][0]) | (pixel > values["image_bounds"][2]))
        assert not np.any(image[outside]) and np.mean(np.any(image[~outside] > 0, -1)) > 0.95
        off = np.any((values["keypoints"] < np.maximum(values["image_bounds"][:2], 0))
                     | (values["keypoints"] > np.minimum(values["image_bounds"][2:], 480)), -1)
        assert not np.any(values["confidence"][off])


def test_a_box_hides_what_is_behind_it(body, drawn):
    """With the same seed, the same body with a box before it loses parts and sure keypoints and gains none."""
    again = renders.records_of(body, renders.sample_scenes(body, COUNT, seed=4), seed=4, occluders=1.0)
    lost = 0
    for source, values in again:
        free = drawn[source]
        changed = values["part_labels"] != free["part_labels"]
        assert not np.any(values["part_labels"][changed])
        assert np.all(values["confidence"] <= free["confidence"])
        lost += changed.sum()
    assert lost > 0


def test_draws_differ_by_seed_and_repeat(body, drawn):
    scenes = renders.sample_scenes(body, COUNT, seed=4)
    same = dict(renders.records_of(body, scenes, seed=4, occluders=0.0))
    other = dict(renders.records_of(body, scenes, seed=5, occluders=0.0))
    for a, b, c in zip(drawn.values(), same.values(), other.values()):
        assert a["image"] == b["image"] and a["image"] != c["image"]
        np.testing.assert_array_equal(a["keypoints"], c["keypoints"])


def test_batches_hold_what_the_records_say(body, drawn, paths):
    (crops, targets), = sensing.dataset(paths, body.coding, COUNT, shuffle=False)
    values = list(drawn.values())[0]
    np.testing.assert_allclose(crops[0], tf.io.decode_png(values["image"]).numpy() / 255, atol=1e-6)
    np.testing.assert_array_equal(targets["keypoints"][0], values["keypoints"])
    np.testing.assert_array_equal(tf.argmax(targets["part_maps"][0], -1), values["part_labels"])
    (small, coarse), = sensing.dataset(paths, body.coding, COUNT, crop_side=96, shuffle=False)
    assert small.shape == (COUNT, 96, 96, 3) and coarse["part_maps"].shape == (COUNT, 12, 12, 15)
    np.testing.assert_allclose(small, tf.nn.avg_pool2d(crops, 5, 5, "VALID"), atol=1e-5)
    np.testing.assert_allclose(tf.reduce_sum(coarse["part_maps"], -1), np.ones([COUNT, 12, 12]), rtol=1e-5)


def test_photos_without_part_labels_take_those_of_the_part_network(drawn):
    """And records with labels keep theirs."""
    values = list(drawn.values())[0]
    record = {name: tf.constant(values[name])[None] for name in ("keypoints", "confidence", "person_mask")}
    record |= {"image": tf.zeros([1, 480, 480, 3]), "part_labels": tf.constant(values["part_labels"], tf.int32)[None],
               "has_evidence": tf.ones([1])}
    says_torso = lambda pooled, mask: (None, 50.0 * tf.one_hot(tf.ones([1, 60, 60], tf.int32), 15))
    for there, expected in ((0.0, np.ones([60, 60])), (1.0, values["part_labels"])):
        _, targets = sensing.examples({**record, "has_part_labels": tf.constant([there])}, says_torso)
        np.testing.assert_array_equal(tf.argmax(targets["part_maps"][0], -1), expected)


def test_records_without_parts_need_the_part_network(body, drawn, tmp_path):
    values = {name: value for name, value in list(drawn.values())[0].items() if name != "part_labels"}
    with record_files.ShardWriter(str(tmp_path / "bare")) as writer:
        writer.write(records.encode("photos/1", **values))
    with pytest.raises(ValueError, match="photos/1 without part_labels"):
        sensing.dataset(writer.paths, body.coding, 1)


def test_perfect_logits_have_no_loss_and_no_error(model, drawn):
    values = list(drawn.values())[0]
    points, confidence = (tf.constant(values[name])[None] for name in ("keypoints", "confidence"))
    parts = tf.one_hot(tf.constant(values["part_labels"], tf.int32)[None], 15)
    maps = tf.clip_by_value(heatmaps.paint_heatmaps(points, confidence), 1e-6, 1 - 1e-6)
    targets = {"keypoints": points, "confidence": confidence, "weight": tf.ones([1, 137]), "part_maps": parts}
    logits = multitask_cnn.MapLogits(None, tf.math.log(maps / (1 - maps)), 30 * parts)
    model.reset_metrics()
    said = model._track({"loss": tf.zeros([1])}, logits, targets)
    assert said["keypoint_error_px"] < 0.5 and said["mean_iou"] == 1.0
    wrong = {**targets, "keypoints": points + [30.0, 40.0]}
    model.reset_metrics()
    assert abs(model._track({"loss": tf.zeros([1])}, logits, wrong)["keypoint_error_px"] - 50.0) < 0.5


@pytest.fixture(name="start")
def fixture_start(model, tmp_path):
    """Random weights, the same for all runs of a test."""
    path = str(tmp_path / "start.h5")
    model.save_weights(path)
    return path


def train(body, paths, folder, start, **settings):
    return sensing.train_sensing(paths, paths, str(folder), body.coding, epochs=2, steps_per_epoch=6, batch_size=COUNT,
                                 crop_side=64, learning_rate=3e-3, batch_statistics=False, start_from=start, tensorboard=False, **settings)


@pytest.mark.slow
def test_learns_and_goes_on_where_it_was_cut_off(body, paths, start, tmp_path, monkeypatch):
    """Cut off in its second epoch and started again, a run ends once, and its loss has fallen."""
    steps = []

    def cut(self, batch, logs=None):
        steps.append(batch)
        if len(steps) == 9:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keras.callbacks.CSVLogger, "on_train_batch_end", cut)
        with pytest.raises(KeyboardInterrupt):
            train(body, paths, tmp_path, start)
    assert len(train(body, paths, tmp_path, start).history["loss"]) == 1
    first, second = callbacks.read_curve(str(tmp_path / "curve.csv"))
    assert second["loss"] < 0.7 * first["loss"] and second["part_loss"] < first["part_loss"]
    assert second["gradient_norm"] > 0
    multitask_cnn.new(str(tmp_path / "sensing.h5"))  # as a plain `MultitaskCNN`
    with pytest.raises(FileExistsError, match="new or unfinished"):
        train(body, paths, tmp_path, start)


@pytest.mark.slow
def test_frozen_stages_keep_weights_and_the_others_learn(body, paths, start, tmp_path):
    """Statistics of all stages are those of the first crops."""
    train(body, paths, tmp_path, start, frozen_stages=4)
    before, after = (multitask_cnn.new(path).trunk for path in (start, str(tmp_path / "sensing.h5")))
    for name, frozen in (("conv3_block4", True), ("conv4_block6", True), ("conv5_block3", False)):
        kernels, norms = ([trunk.get_layer(f"{name}_{kind}").get_weights() for trunk in (before, after)] for kind in ("conv", "bn"))
        assert np.array_equal(kernels[0][0], kernels[1][0]) is frozen
        assert np.array_equal(norms[0][0], norms[1][0]) is frozen  # gamma
        assert not np.array_equal(norms[0][2], norms[1][2])  # moving mean


def test_a_run_goes_on_with_the_settings_it_began_with(body, paths, tmp_path, monkeypatch):
    """And with its records, which may have moved with it."""
    def cut(model, *args, **settings):
        (tmp_path / "run" / callbacks.CURVE).touch()
        raise TimeoutError

    def train(folder, **change):
        own = folder / "records"
        own.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths[0], own)
        settings = dict(paths=[str(own / os.path.basename(paths[0]))], epochs=2, batch_size=COUNT, crop_side=64)
        sensing.train_sensing(validation=paths, run_dir=str(folder), coding=body.coding, tensorboard=False,
                              **{**settings, **change})

    monkeypatch.setattr(sensing.TrainableCNN, "fit", cut)
    with pytest.raises(TimeoutError):
        train(tmp_path / "run")
    for change, words in (({"epochs": 3}, "'epochs': 2.* Received: {'epochs': 3}"),
                          ({"batch_statistics": False}, "'batch_statistics': True"), ({"paths": paths}, "'records': ")):
        with pytest.raises(ValueError, match=f"go on with the settings it began with, .*{words}"):
            train(tmp_path / "run", **change)
    (tmp_path / "run").rename(tmp_path / "moved")
    monkeypatch.setattr(sensing.TrainableCNN, "fit", lambda *args, **settings: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # it came to its first step
        train(tmp_path / "moved")


def test_a_run_keeps_whose_features_it_learns(paths, tmp_path, monkeypatch):
    def fail(**settings):
        raise TimeoutError

    monkeypatch.setattr(sensing, "TrainableCNN", fail)
    parts = part_segmentation.new()
    for segmentation, crop_side, expected in (
            (parts, 480, part_segmentation.weights_sha256(parts)), (None, 480, None), (parts, 64, None)):  # F is of another scale
        with pytest.raises(TimeoutError):
            sensing.train_sensing(paths, paths, str(tmp_path), "coding", segmentation=segmentation, crop_side=crop_side)
        assert runs.read_settings(str(tmp_path))[sensing.FEATURES_OF] == expected


def test_a_run_goes_on_with_the_batches_it_would_have_had(body, paths):
    whole, rest = (sensing.dataset(paths, body.coding, 1, seed=5, crop_side=32, start=start) for start in (0, 2))
    for (a, _), (b, _) in zip(whole.skip(2).take(3), rest.take(3)):
        np.testing.assert_array_equal(a, b)


def test_what_is_not_finite_names_its_records(body, paths, start, tmp_path, monkeypatch):
    monkeypatch.setattr(sensing.heatmaps, "paint_heatmaps", lambda keypoints, *args: tf.fill([COUNT, 8, 8, 137], np.nan))
    names = ", ".join(records.sources_of(paths, 0, COUNT))
    with pytest.raises(FloatingPointError, match=f"in epoch 1, batch 1, step 0 of the run, which holds records {names}. The last"):
        train(body, paths, tmp_path, start)


def test_features_of_the_part_network_are_learned_at_full_size_only(drawn):
    values = list(drawn.values())[0]
    record = {name: tf.constant(values[name])[None] for name in ("keypoints", "confidence", "person_mask")}
    record |= {"image": tf.zeros([1, 480, 480, 3]), "part_labels": tf.constant(values["part_labels"], tf.int32)[None],
               "has_evidence": tf.ones([1]), "has_part_labels": tf.ones([1])}
    part_network = lambda pooled, mask: (tf.ones([1, 15, 15, 256]), tf.zeros([1, 60, 60, 15]))
    assert sensing.examples(record, part_network)[1]["features"].shape == (1, 15, 15, 256)
    assert "features" not in sensing.examples(record, part_network, crop_side=96)[1]
    assert "features" not in sensing.examples(record)[1]


def test_statistics_are_those_of_the_batches(model):
    """After the estimate, evaluation says of a batch nearly what training says, and before it does not."""
    crops = tf.random.stateless_uniform([4, 128, 128, 3], [1, 2])

    def apart():
        other = model.normalize_join.get_weights()
        wanted = model(crops, training=True).parts
        model.normalize_join.set_weights(other)
        return np.abs(model(crops, training=False).parts - wanted).mean()

    before = apart()
    sensing.estimate_statistics(model, [crops[:2], crops[2:]])
    assert apart() < 0.1 * before
    assert model.batch_statistics and model.normalize_join.momentum == 0.99


class FakeDetector:
    """Finds one person in every photo but the black ones."""

    def detect(self, image):
        count = int(tf.reduce_max(image) > 0)
        return tf.constant([[20.0, 10.0, 60.0, 80.0]][:count]), tf.ones([count]), tf.ones([count, 17, 3])


def fake_landmarks(images):
    """Sees every keypoint in the middle."""
    count = len(images)
    return SimpleNamespace(
        keypoints=tf.fill([count, 137, 2], 240.0), confidence=tf.fill([count, 137], 0.9),
        person_mask=tf.fill([count, 60, 60], 0.5), landmarks3d=tf.zeros([count, 25, 3]),
        landmarks3d_confidence=tf.zeros([count, 25]))


def write_photos(folder, count):
    folder.mkdir()
    for i in range(count):
        shade = 0 if i == 1 else 20 + 10 * i  # nobody on the second
        (folder / f"{i}.png").write_bytes(tf.io.encode_png(np.full([100, 100, 3], shade, np.uint8)).numpy())


def make_of_photos(tmp_path, body, photos="photos", **networks):
    return sensing_records.make(str(tmp_path / "run"), body, str(tmp_path / photos), held_out=3,
                                **(networks or dict(landmarks=fake_landmarks, detector=FakeDetector())))


NOBODY = dict(landmarks=SimpleNamespace(), detector=SimpleNamespace())  # neither network may be asked


def test_photos_become_records_once_and_some_are_held_out(body, tmp_path):
    write_photos(tmp_path / "photos", 5)
    made = make_of_photos(tmp_path, body)
    assert [sum(map(record_files.count, paths)) for paths in made] == [3, 1]
    assert make_of_photos(tmp_path, body, **NOBODY) == made


def test_photos_may_move(body, tmp_path):
    write_photos(tmp_path / "photos", 4)
    made = make_of_photos(tmp_path, body)
    (tmp_path / "photos").rename(tmp_path / "holiday")
    assert make_of_photos(tmp_path, body, "holiday", **NOBODY) == made


def test_records_of_other_photos_are_not_taken_for_these(body, tmp_path):
    write_photos(tmp_path / "photos", 4)
    shutil.copytree(tmp_path / "photos", tmp_path / "others")
    photo = tmp_path / "others" / "2.png"
    shade = next(shade for shade in range(41, 99) if len(tf.io.encode_png(np.full([100, 100, 3], shade, np.uint8)).numpy())
                 == photo.stat().st_size)
    photo.write_bytes(tf.io.encode_png(np.full([100, 100, 3], shade, np.uint8)).numpy())  # of the same name and size
    make_of_photos(tmp_path, body)
    with pytest.raises(ValueError, match="must go on with the settings it began with, .*photos.* Received: .*others"):
        make_of_photos(tmp_path, body, "others", **NOBODY)
    (tmp_path / "photos" / "new.png").write_bytes(tf.io.encode_png(np.full([90, 90, 3], 99, np.uint8)).numpy())
    with pytest.raises(ValueError, match="'count': 4.* Received: .*'count': 5"):
        make_of_photos(tmp_path, body, **NOBODY)


@pytest.mark.parametrize("lost", ["photos-train.json", "photos-train-00000-of-00001.tfrecord"])
def test_half_made_records_are_made_again(body, tmp_path, lost):
    write_photos(tmp_path / "photos", 4)
    made = make_of_photos(tmp_path, body)
    (tmp_path / "run" / "records" / lost).unlink()
    assert make_of_photos(tmp_path, body) == made
    assert make_of_photos(tmp_path, body, **NOBODY) == made


def test_one_photo_is_not_enough(body, tmp_path):
    write_photos(tmp_path / "photos", 1)
    with pytest.raises(ValueError, match="at least two photos that show people"):
        sensing_records.make(str(tmp_path / "run"), body, str(tmp_path / "photos"), landmarks=fake_landmarks,
                             detector=FakeDetector())


def test_renders_alone_are_validated_on_other_renders(body, tmp_path):
    made = sensing_records.make(str(tmp_path), body, num_renders=2)
    assert [sum(map(record_files.count, paths)) for paths in made] == [2, 1]
    (a, _), (b, _) = (next(iter(sensing.dataset(paths, body.coding, 1, shuffle=False))) for paths in made)
    assert not np.allclose(a, b)
    other = SimpleNamespace(coding="another body")
    with pytest.raises(ValueError, match="Received: .*another body"):
        sensing_records.make(str(tmp_path), other, num_renders=2)


def test_renders_are_not_held_out_where_others_validate(body, tmp_path):
    made = sensing_records.make(str(tmp_path), body, num_renders=1, hold_renders=False)
    assert made.validation == [] and not list(tmp_path.glob("records/renders-held-out*"))
