"""Presets are found by name, refuse what is not theirs, and come back as they were saved."""

import json
import os
import shutil

import keras
import numpy as np
import pytest

import hund_tf
from hund_tf import presets, uncertainty
from hund_tf.config import PARTS, HundConfig, ObjectiveConfig, PartConfig
from hund_tf.hund import HundBody
from hund_tf.training import train
from hund_tf.whole_body.hund_part import HundPart

CONFIG = HundConfig(objective=ObjectiveConfig(part_map_size=0))


@pytest.fixture(scope="module", name="saved")
def fixture_saved(tmp_path_factory):
    """A preset of untrained networks: its folder and the model."""
    folder = str(tmp_path_factory.mktemp("presets") / "mine")
    model = HundBody(CONFIG)
    model.build_weights()
    presets.save(folder, model, train.new_segmentation(), {"name": "mine", "licence": "CC0-1.0"})
    return folder, model


def test_paper_size_of_the_trainable_part(saved):
    assert abs(train.trainable_count(saved[1]) - 950_000) < 0.02 * 950_000


def test_comes_back_as_it_was_saved(saved):
    folder, model = saved
    again = HundBody(presets.read_config(folder))
    assert again.config == CONFIG
    again.build_weights()
    again.load_weights(os.path.join(folder, "weights.h5"))
    for a, b in zip(model.weights, again.weights):
        np.testing.assert_array_equal(a, b)
    assert presets.read_metadata(folder)["name"] == "mine"


def test_config_makes_the_same_network(saved):
    again = HundBody.from_config(saved[1].get_config())
    assert again.config == CONFIG and again.name == saved[1].name


def test_missing_preset_lists_every_place(monkeypatch, tmp_path):
    monkeypatch.setenv("HUND_TF_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError) as error:
        presets.find("nobody")
    assert str(tmp_path / "nobody") in str(error.value) and presets.PACKAGED in str(error.value)


def test_found_in_the_home_folder(monkeypatch, saved):
    monkeypatch.setenv("HUND_TF_HOME", os.path.dirname(saved[0]))
    assert presets.find("mine") == saved[0]


def test_changed_weights_are_refused(saved, tmp_path):
    for name in presets.files():
        with open(os.path.join(saved[0], name), "rb") as source, open(tmp_path / name, "wb") as copy:
            copy.write(source.read())
    with open(tmp_path / "parts.h5", "ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="parts.h5 .* must have sha256"):
        presets.read_metadata(str(tmp_path))


def test_unknown_setting_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"stages": 5}), encoding="utf-8")
    with pytest.raises(TypeError, match="stages"):
        presets.read_config(str(tmp_path))


class TinyCNN(keras.Model):
    """Stands for a `MultitaskCNN`."""

    sensing = "multitask"

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.dense(np.zeros([1, 1]))


def test_says_what_looks_at_the_crops(saved, tmp_path):
    assert presets.read_metadata(saved[0])["sensing"] == "landmarks"
    presets.save(str(tmp_path), saved[1], TinyCNN(), {"name": "mine"})
    assert presets.read_metadata(str(tmp_path))["sensing"] == "multitask"
    assert sorted(os.listdir(tmp_path)) == sorted(presets.files(sensing="multitask"))
    (tmp_path / "sensing.h5").write_bytes(b"x")
    with pytest.raises(ValueError, match="sensing.h5 .* must have sha256"):
        presets.read_metadata(str(tmp_path))
    (tmp_path / "sensing.h5").unlink()
    with pytest.raises(FileNotFoundError, match="Missing: .*sensing.h5"):
        presets.read_metadata(str(tmp_path))


def test_presets_of_before_are_looked_at_by_the_landmark_networks():
    """Their metadata do not say."""
    with open(os.path.join(presets.PACKAGED, "body", "metadata.json"), encoding="utf-8") as file:
        said = json.load(file)
    assert said.get("sensing", "landmarks") == presets.read_metadata(presets.find("body"))["sensing"]


def test_unknown_sensing_is_refused(saved, tmp_path):
    for name in presets.files():
        shutil.copy(os.path.join(saved[0], name), tmp_path)
    metadata = presets.read_metadata(saved[0])
    (tmp_path / "metadata.json").write_text(json.dumps({**metadata, "sensing": "sonar"}), encoding="utf-8")
    with pytest.raises(ValueError, match="`sensing` must be one of .*sonar"):
        presets.read_metadata(str(tmp_path))


@pytest.fixture(scope="module", name="family")
def fixture_family(saved, tmp_path_factory):
    """Presets of a body, a hand and a face, and of the person they are: folder of all, by their kinds."""
    folder = str(tmp_path_factory.mktemp("family"))
    shutil.copytree(saved[0], os.path.join(folder, "body"))
    for kind in PARTS:
        model = HundPart(PartConfig(kind, num_stages=1), saved[1].body)
        model.build_weights()
        presets.save_part(os.path.join(folder, kind), model, {"name": kind})
    names = {kind: os.path.join(folder, kind) for kind in presets.MEMBERS}
    joints, rng = saved[1].body.joint_names, np.random.default_rng(0)
    uncertainty.calibrate(joints, rng.random((40, 137)), np.ones(40), np.zeros((40, 3)), 0.01 + rng.random((40, 200))).save(
        os.path.join(folder, "radii.npz"))
    presets.save_person(os.path.join(folder, "person"), names, {"name": "person"}, os.path.join(folder, "radii.npz"))
    return folder


def test_a_part_comes_back_as_it_was_saved(family):
    again = hund_tf.load_part(os.path.join(family, "hand"))
    assert again.config == PartConfig("hand", num_stages=1)
    metadata = presets.read_metadata(os.path.join(family, "hand"))
    assert metadata["kind"] == "hand" and sorted(metadata["sha256"]) == ["config.json", "weights.h5"]


def test_a_person_is_put_together(family):
    model = hund_tf.load_preset(os.path.join(family, "person"))
    assert model.parts.hand.config.num_stages == 1 and model.parts.face.config.kind == "face"
    assert model.parts.body is model.hund.body and model.metadata["kind"] == "person"
    radii = model.judge_uncertainty(np.ones([2, 137]), np.ones(2), np.zeros([2, 3]))
    assert radii["keypoint_uncertainty"].shape == (2, 137, 2) and radii["joint_uncertainty"].shape == (2, 63, 2)
    alone = hund_tf.load_preset(os.path.join(family, "body"))
    assert alone.parts is None and alone.judge_uncertainty(None, None, None) == {}


def test_each_kind_has_its_own_loader(family):
    with pytest.raises(ValueError, match="load_part loads that of a part. Received: .*hand', a hand's"):
        hund_tf.load_preset(os.path.join(family, "hand"))
    with pytest.raises(ValueError, match="preset of one of .* a person's"):
        hund_tf.load_part(os.path.join(family, "person"))


@pytest.mark.parametrize("change, words", [
    ({"hand": "face"}, "must be a hand's. Received: a face's"), ({"face": "nobody"}, "No preset"),
    ({"feet": "face"}, "must name body, hand, face. Received")])
def test_a_person_of_wrong_parts_is_refused(family, tmp_path, change, words):
    shutil.copytree(os.path.join(family, "person"), tmp_path / "person")
    config = json.loads((tmp_path / "person" / "config.json").read_text())
    config.update({kind: os.path.join(family, name) for kind, name in change.items()})
    (tmp_path / "person" / "config.json").write_text(json.dumps(config))
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        presets.read_members(str(tmp_path / "person"))


def test_a_person_knows_the_weights_it_was_made_with(saved, family, tmp_path):
    shutil.copytree(family, tmp_path / "family")
    model = HundPart(PartConfig("hand", num_stages=1), saved[1].body)
    model.build_weights()
    presets.save_part(str(tmp_path / "family" / "hand"), model, {"name": "another"})
    config = {kind: str(tmp_path / "family" / kind) for kind in presets.MEMBERS}
    (tmp_path / "family" / "person" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="was made with a hand's weights of sha256 .*`hund train person`"):
        presets.read_members(str(tmp_path / "family" / "person"))


def test_a_calibration_that_was_changed_is_refused(family, tmp_path):
    shutil.copytree(os.path.join(family, "person"), tmp_path / "person")
    with open(tmp_path / "person" / "uncertainty.npz", "ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="uncertainty.npz .* must have sha256"):
        presets.read_metadata(str(tmp_path / "person"))
    (tmp_path / "person" / "uncertainty.npz").unlink()
    with pytest.raises(FileNotFoundError, match="Missing: .*uncertainty.npz"):
        presets.read_metadata(str(tmp_path / "person"))
