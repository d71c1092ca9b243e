"""The folder that `hund export` writes: whole or not at all, with what a server needs; and what is in it runs alone."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

import hund_tf
from hund_tf import cli
from hund_tf.config import HundConfig, PartConfig
from hund_tf.export import saved_model
from tests.export.test_signatures import assert_same

ALONE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "load_alone.py")
BODY_JOINTS, BODY_KEYPOINTS = slice(0, 22), slice(0, 25)  # the others are hands' and the face's
LOOSE = "theta", "keypoints2d", "joint_rotations"  # of hands
SIGNATURES = {"serving_default", "reconstruct", "reconstruct_boxes", "reconstruct_crops", "describe"}


@pytest.fixture(name="made")
def fixture_made(monkeypatch, served, tmp_path):
    """A folder to export the stand-ins to."""
    monkeypatch.setattr(hund_tf, "load_preset", lambda preset: None, raising=False)
    monkeypatch.setattr(saved_model.signatures, "ServedReconstructor", lambda reconstructor, names, most: served)
    return tmp_path / "out"


def test_a_folder_that_serves(made, capsys):
    assert cli.main(["export", "--out", str(made), "--name", "people"]) == 0
    folder = made / "people" / "1"
    assert str(folder) in capsys.readouterr().out
    definitions = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0].signature_def
    assert SIGNATURES <= set(definitions)
    assert set(definitions["reconstruct"].defaults) == {"intrinsics", "max_people", "num_stages"}
    config = text_format.Parse((made / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    assert [(c.name, c.base_path) for c in config.model_config_list.config] == [("people", str(made / "people"))]
    logs = [prediction_log_pb2.PredictionLog.FromString(log.numpy()) for log in tf.data.TFRecordDataset(
        str(folder / "assets.extra" / "tf_serving_warmup_requests"))]
    requests = {log.predict_log.request.model_spec.signature_name: log.predict_log.request for log in logs}
    assert set(requests) == SIGNATURES and all(request.model_spec.name == "people" for request in requests.values())
    for name, request in requests.items():
        given, known = set(request.inputs), set(definitions[name].inputs)
        assert known - set(definitions[name].defaults) <= given <= known
    extra = folder / "assets.extra"
    members = json.loads((extra / "preset" / "config.json").read_text())
    assert set(members) == {"body", "hand", "face"}
    assert HundConfig.from_dict(json.loads((extra / "preset" / "body" / "config.json").read_text()))
    assert PartConfig.from_dict(json.loads((extra / "preset" / "hand" / "config.json").read_text())).kind == "hand"
    assert {"body.md", "sensing.md", "presets.md", "body_CC0.txt"} <= set(os.listdir(extra / "licences"))
    assert "Apache License" in (extra / "licences" / "hund_tf_Apache-2.0.txt").read_text()
    assert os.listdir(made / "people") == ["1"]  # nothing half-made beside it


def test_versions_go_up_and_are_never_replaced(made, capsys, monkeypatch):
    monkeypatch.setattr(tf.saved_model, "save", lambda module, folder, **settings: os.makedirs(folder))
    run = lambda *more: cli.main(["export", "--out", str(made), *more])
    assert run() == run() == run("--version", "7") == run() == 0
    assert sorted(os.listdir(made / "hund")) == ["1", "2", "7", "8"]
    assert run("--version", "7") == 2
    assert "A version must be new" in capsys.readouterr().err


def test_a_model_config_keeps_what_is_in_it(made, monkeypatch):
    monkeypatch.setattr(tf.saved_model, "save", lambda module, folder, **settings: os.makedirs(folder))
    for name in ("a", "b", "a"):
        saved_model.export("body", str(made), name=name)
    path = made / "models.config"
    config = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    assert [c.name for c in config.model_config_list.config] == ["a", "b"]
    config.model_config_list.config[0].version_labels["stable"] = 1  # as a user may
    path.write_text(text_format.MessageToString(config))
    saved_model.export("body", str(made), name="a")
    assert text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig()) == config


def test_what_fails_leaves_nothing(made, monkeypatch):
    def fail(module, folder, **settings):
        os.makedirs(folder)
        raise OSError("disk full")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        saved_model.export("body", str(made))
    assert os.listdir(made / "hund") == []


@pytest.mark.parametrize("arguments, words", [
    (["--preset", "nothing"], "No preset 'nothing'"), (["--name", "a/b"], "`name` must be of letters")])
def test_bad_input_ends_with_one_sentence(made, capsys, arguments, words):
    assert cli.main(["export", "--out", str(made), *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--version", "0"], ["--max-people", "51"]])
def test_numbers_have_limits(made, arguments):
    with pytest.raises(SystemExit) as error:
        cli.main(["export", "--out", str(made), *arguments])
    assert error.value.code == 2


@pytest.mark.slow
def test_the_preset_runs_without_hund_tf_and_says_the_same(person_export, tmp_path):
    """In a fresh process, on the sample photo and on its upper half: as `Reconstructor` does, bodies to 1e-4.

    A hand whose points hardly tell its pose takes a difference in the last bits of what is seen further: on some machines to
    0.1 mm of its vertices, and more of its codes.
    """
    subprocess.run([sys.executable, ALONE, person_export, cli.SAMPLE, str(tmp_path / "answers.npz")], check=True, cwd=tmp_path,
                   timeout=900)
    answers = np.load(tmp_path / "answers.npz")
    model = hund_tf.load_preset("person")
    for image, row in ((answers["image"], 0), (answers["image"][:300], 1)):
        outputs = {key.split("/")[1]: answers[key][row] for key in answers.files if key.startswith("serving_default")}
        people = model.reconstruct(image, max_people=8).people
        assert outputs["num_people"] == len(people) > 0
        assert_same_person(outputs, people)
    outputs = {key.split("/")[1]: answers[key] for key in answers.files if key.startswith("reconstruct")}
    assert_same_person(outputs, model.reconstruct(answers["image"], max_people=2, num_stages=3).people)
    assert answers["describe/preset"] == b"person"


def assert_same_person(outputs, people):
    assert_same(outputs, people, atol=5e-4, loose=LOOSE)
    for i, person in enumerate(people):
        for name, of_body in (("joints3d", BODY_JOINTS), ("keypoints3d", BODY_KEYPOINTS)):
            np.testing.assert_allclose(outputs[name][i, of_body], getattr(person, name)[of_body], atol=1e-4, err_msg=name)
