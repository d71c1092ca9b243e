"""`hund train sensing`: what it asks for, and what it hands on."""

import argparse

import pytest

from hund_tf import cli_train_sensing, cli_values
from hund_tf.training import sensing, sensing_records


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
               "--seed", "3", "--epochs", "2") == 0
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


@pytest.mark.parametrize("files", [(None, None), ("a.h5", "b.h5")])
def test_a_preset_has_one_sensing(files):
    with pytest.raises(cli_values.BadInput, match="--parts or --sensing"):
        cli_train_sensing.network_of(*files)
