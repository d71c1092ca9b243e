"""`hund train sensing`: what it asks for, and what it hands on."""

import argparse
import re

import numpy as np
import pytest

from hund_tf import cli_train_sensing, cli_values
from hund_tf.sensing import part_segmentation
from hund_tf.training import runs, sensing, sensing_records


def run(*arguments):
    parser = argparse.ArgumentParser()
    cli_train_sensing.add_sensing(parser.add_subparsers())
    options = parser.parse_args(["sensing", *arguments])
    return options.run(options)


@pytest.mark.parametrize("arguments, complaint", [
    ([], "needs --images, --renders or --records"),
    (["--records", __file__], "--records alone needs --validation"),
    (["--images", "nowhere"], "--images must be a folder. Received: nowhere"),
    (["--renders", "2", "--parts", "nowhere.h5"], "--parts must name files that are there"),
    (["--renders", "2", "--frozen-stages", "4"], "--frozen-stages needs the weights of --trunk or --start-from"),
    (["--renders", "2", "--trunk", "nowhere.h5"], "--trunk must name files that are there"),
])
def test_bad_input_ends_with_one_sentence(arguments, complaint, tmp_path, capsys):
    assert run(*arguments, "--run", str(tmp_path / "run")) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_learning_rate_must_be_a_rate(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("--renders", "2", "--run", str(tmp_path), "--learning-rate", "2")
    assert "above 0 and below 1" in capsys.readouterr().err


def test_hands_on_what_it_was_told(tmp_path, monkeypatch):
    made, trained = [], {}
    monkeypatch.setattr(sensing_records, "make", lambda *args, **settings: made.append(args) or sensing_records.RecordSets(["a"], ["b"]))
    monkeypatch.setattr(sensing, "train_sensing", lambda *args, **kwargs: trained.update(kwargs, args=args))
    assert run("--images", str(tmp_path), "--renders", "7", "--run", "runs/x", "--batch-size", "4", "--frozen-statistics",
               "--seed", "3", "--epochs", "2", "--frozen-stages", "3", "--trunk", __file__) == 0
    assert trained["frozen_stages"] == 3 and trained["trunk_weights"] == __file__
    assert made[0][0] == "runs/x" and made[0][2:5] == (str(tmp_path), 7, 3)
    assert trained["args"][:3] == (["a"], ["b"], "runs/x")
    assert trained["batch_size"] == 4 and trained["epochs"] == 2 and not trained["batch_statistics"]
    assert trained["segmentation"].count_params() > 1000  # labels photos


def test_a_finished_or_broken_run_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sensing_records, "make", lambda *args, **settings: sensing_records.RecordSets(["a"], ["b"]))
    for error, code in ((FileExistsError("finished"), 2), (FloatingPointError("not finite"), 1)):
        def fail(*args, error=error, **kwargs):
            raise error

        monkeypatch.setattr(sensing, "train_sensing", fail)
        assert run("--renders", "2", "--run", str(tmp_path)) == code
        assert str(error) in capsys.readouterr().err


@pytest.fixture(name="parts", scope="module")
def fixture_parts():
    """A part CNN."""
    return part_segmentation.new()


def check(tmp_path, body, sensing_run, network=None):
    """Checks a preset of runs with these settings."""
    if sensing_run is not None:
        runs.keep_settings(str(tmp_path), sensing_run)
    cli_train_sensing.check_parts("runs/body", body, str(tmp_path / "sensing.h5") if network is None else None, network)


def test_a_preset_has_the_features_that_the_body_network_was_trained_on(tmp_path, parts, capsys):
    own = part_segmentation.weights_sha256(parts)
    check(tmp_path, {"parts_sha256": own}, None, parts)
    check(tmp_path, {"parts_sha256": own}, {sensing.FEATURES_OF: own})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("learned, words", [
    ("b" * 64, "sensing.h5, which gives those of b{64}"), (None, "learned no features")])
def test_features_of_another_part_cnn_are_refused(tmp_path, learned, words):
    with pytest.raises(ValueError, match=f"must have been .* Received: runs/body, trained with that of sha256 a+, .*{words}"):
        check(tmp_path, {"parts_sha256": "a" * 64}, {sensing.FEATURES_OF: learned})


def test_another_part_cnn_is_refused(tmp_path, parts):
    with pytest.raises(ValueError, match="--parts, which gives those of"):
        check(tmp_path, {"parts_sha256": "a" * 64}, None, parts)


@pytest.mark.parametrize("body, beside, silent", [
    ({}, {sensing.FEATURES_OF: "a"}, "runs/body."), ({"parts_sha256": "a"}, {}, "sensing.h5."),
    ({"parts_sha256": "a"}, {"parts_sha256": "b"}, "sensing.h5."),  # beside it lie settings of a body run
    ({}, None, "runs/body and .*sensing.h5.")])
def test_what_nobody_knows_is_said(tmp_path, capsys, body, beside, silent):
    check(tmp_path, body, beside)
    error = capsys.readouterr().err
    assert re.fullmatch(f"hund: warning: .* was not checked, .* for (/.*)?{silent}\n", error)


def test_weights_are_the_same_in_any_file(tmp_path, parts):
    parts.save_weights(tmp_path / "parts.h5")
    same = part_segmentation.new(tmp_path / "parts.h5")
    assert part_segmentation.weights_sha256(same) == part_segmentation.weights_sha256(parts)
    parts.save_weights(tmp_path / "other.h5")
    other = part_segmentation.new(tmp_path / "other.h5")
    other.enter.bias.assign_add(1e-6 * np.ones(32))
    assert part_segmentation.weights_sha256(other) != part_segmentation.weights_sha256(parts)


@pytest.mark.parametrize("files", [(None, None), ("a.h5", "b.h5")])
def test_a_preset_has_one_sensing(files):
    with pytest.raises(cli_values.BadInput, match="--parts or --sensing"):
        cli_train_sensing.network_of(*files)
