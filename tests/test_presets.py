"""Presets are found by name, refuse what is not theirs, and come back as they were saved."""

import json
import os
import shutil

import keras
import numpy as np
import pytest

from hund_tf import presets
from hund_tf.config import HundConfig, ObjectiveConfig
from hund_tf.hund import HundBody
from hund_tf.training import train

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
    assert sorted(os.listdir(tmp_path)) == sorted(presets.files("multitask"))
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
