"""`hund train`: options reach the run, bad ones are told in a sentence, and nothing loads TensorFlow too early."""

import json
import subprocess
import sys

import pytest

from hund_tf import cli, cli_train_preset
from hund_tf.config import BodyConfig, HundConfig, PartConfig, TrainingConfig
from hund_tf.training.runs import keep_settings, read_settings


@pytest.fixture(autouse=True)
def in_folder_with_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("train-0.npz", "held-out.npz", "photos-00000-of-00001.tfrecord", "parts.h5"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture(name="runs")
def fixture_runs(monkeypatch):
    """Runs that would have been started: name, arguments, settings."""
    from hund_tf.training import train

    started = []
    for name in ("train_parts", "train_body"):
        monkeypatch.setattr(train, name, lambda *args, name=name, **settings: started.append((name, args, settings)))
    return started


BODY = "train body --scenes train-*.npz --validation held-out.npz --parts parts.h5 --run r".split()


def test_parts(runs):
    assert cli.main("train parts --scenes train-*.npz --validation held-out.npz --run r --epochs 3 --ema 0.99".split()) == 0
    (name, args, settings), = runs
    assert (name, args) == ("train_parts", ("train-*.npz", "held-out.npz", "r"))
    assert (settings["epochs"], settings["steps_per_epoch"], settings["learning_rate"]) == (3, 400, 1.5e-3)
    assert settings["ema"] == 0.99 and settings["body"] == BodyConfig()


def test_body(runs):
    options = ("--regime fs+ss --meta-loss last --stage-weights 1,1,2,2,3.5 --mixed-precision bfloat16 --records photos-*.tfrecord "
               "--strategy mirrored --patience 4 --part-map-size 15 --pose-prior gaussian")
    assert cli.main(BODY + options.split()) == 0
    (name, args, settings), = runs
    assert (name, args) == ("train_body", ("train-*.npz", "held-out.npz", "parts.h5", "r"))
    assert settings["training"] == TrainingConfig(
        regime="fs+ss", meta_loss="last", stage_weights=(1, 1, 2, 2, 3.5), precision="mixed_bfloat16")
    assert settings["config"].objective.part_map_size == 15 and settings["config"].body.pose_prior == "gaussian"
    assert (settings["records"], settings["strategy"], settings["patience"]) == ("photos-*.tfrecord", "mirrored", 4)


@pytest.mark.parametrize("kind", ["hand", "face"])
def test_parts_of_a_person(monkeypatch, kind, capsys):
    from hund_tf.training import part_learning
    
    started = []
    monkeypatch.setattr(part_learning, "train_part", lambda *args, **settings: started.append((args, settings)))
    assert cli.main(f"train {kind} --scenes train-*.npz --validation held-out.npz --run r --steps-per-epoch 7".split()) == 0
    (args, settings), = started
    assert args == ("train-*.npz", "held-out.npz", "r") and settings["config"] == PartConfig(kind)
    assert (settings["epochs"], settings["steps_per_epoch"], settings["learning_rate"]) == (20, 7, 1e-3)
    assert cli.main(f"train {kind} --scenes nothing-*.npz --validation held-out.npz --run r".split()) == 2
    assert "--scenes must name files that are there" in capsys.readouterr().err


def test_defaults_are_those_of_the_settings(runs):
    assert cli.main(BODY) == 0
    (_, _, settings), = runs
    assert settings["training"] == TrainingConfig() and settings["strategy"] == "auto" and settings["ema"] is None


@pytest.mark.parametrize("change, words", [
    ("--scenes nowhere-*.npz", "--scenes must name files that are there. Received: 'nowhere-*.npz'"),
    ("--parts no.h5", "--parts must name files that are there. Received: 'no.h5'"),
    ("--start-from no.h5", "--start-from must name files"), ("--part-map-size 17", "must be 0, 15, 20, 30 or 60. Received: 17"),
    ("--stage-weights 1,2", "--stage-weights must be 5 numbers, one for each stage. Received: (1.0, 2.0)")])
def test_what_cannot_be_trained_on_is_told(capsys, runs, change, words):
    assert cli.main(BODY + change.split()) == 2
    assert words in capsys.readouterr().err and not runs


@pytest.mark.parametrize("change, words", [
    ("--regime full", "invalid choice: 'full'"), ("--epochs 0", "must be a whole number of at least 1. Received: '0'"),
    ("--stage-weights 1,-2", "must be comma-separated numbers of at least 0. Received: '1,-2'"),
    ("--ema 1.5", "must be a number above 0 and below 1. Received: '1.5'"), ("--strategy horovod", "invalid choice: 'horovod'")])
def test_impossible_values_are_told(capsys, change, words):
    with pytest.raises(SystemExit) as end:
        cli.main(BODY + change.split())
    assert end.value.code == 2 and words in capsys.readouterr().err


def test_neither_scenes_nor_records(capsys):
    assert cli.main("train body --validation held-out.npz --parts parts.h5 --run r".split()) == 2
    assert "needs --scenes or --records. Received: neither" in capsys.readouterr().err


def test_what_a_run_complains_of_ends_it(monkeypatch, capsys):
    from hund_tf.training import train

    def fail(error):
        def run(*args, **settings):
            raise error
        return run

    for error, code in ((FileExistsError("A run must be new."), 2), (ValueError("labels"), 2), (FloatingPointError("nan in step 3"), 1)):
        monkeypatch.setattr(train, "train_body", fail(error))
        assert cli.main(BODY) == code
        assert capsys.readouterr().err == f"hund: {error}\n"


@pytest.mark.parametrize("kind, there, missing", [
    ("parts", ["--validation PATTERN held-out scene files ", "weights of a part CNN to start from"], ["device", "records"]),
    ("body", ["held-out scene files or records", "of all devices together", "weights of a body network to start"], []),
    ("sensing", ["held-out records", "weights of a whole MultitaskCNN to start from", "must be that of the body"], ["device"])])
def test_help_is_of_what_the_command_takes(capsys, kind, there, missing):
    with pytest.raises(SystemExit):
        cli.main(["train", kind, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert all(words in said for words in there) and not any(word in said for word in missing)


def test_train_alone_shows_help(capsys):
    assert cli.main(["train"]) == 2
    assert "hund train body" in capsys.readouterr().out


def test_help_waits_for_no_tensorflow():
    code = ("import sys; from hund_tf import cli\n"
            "try: cli.main(['train', 'body', '--help'])\n"
            "except SystemExit: pass\n"
            "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=pytest_root())
    assert done.returncode == 0, done.stderr
    assert "--meta-loss" in done.stdout


def pytest_root():
    """Where the package lies."""
    import pathlib

    return pathlib.Path(__file__).parents[1]


def test_preset(monkeypatch, capsys, in_folder_with_files):
    from hund_tf import hund, presets
    from hund_tf.sensing import part_segmentation
    from hund_tf.training import train

    saved = []
    keep_settings("r", {"network": HundConfig(body=BodyConfig(pose_prior="gaussian")).to_dict()})
    (in_folder_with_files / "r" / "weights.h5").touch()
    (in_folder_with_files / "r" / "curve.csv").write_text("epoch,loss,val_loss\n0,2,3.5\n1,1,2.25\n")
    monkeypatch.setattr(hund.HundBody, "build_weights", lambda self: None)
    monkeypatch.setattr(hund.HundBody, "load_weights", lambda self, path: saved.append((path, self.config)))
    monkeypatch.setattr(train, "new_segmentation", lambda path: path)
    monkeypatch.setattr(presets, "save", lambda *arguments: saved.append(arguments))
    assert cli.main("train preset --parts parts.h5 --run r --out mine --part-map-size 0 --licence CC0-1.0".split()) == 0
    (weights, config), (out, _, parts, metadata, radii) = saved
    assert (weights, out, parts, radii) == ("r/weights.h5", "mine", "parts.h5", None)
    assert config.body.pose_prior == "gaussian"  # as the run's: weights mean something else under another prior
    assert config.objective.part_map_size == 0
    assert metadata["validation"] == {"loss": 2.25} and metadata["command"].startswith("hund ")
    assert (metadata["name"], metadata["licence"], metadata["data"]) == ("mine", "CC0-1.0", "not stated")
    json.dumps(metadata)
    keep_settings("r", {"network": HundConfig().to_dict(), "parts_sha256": "a"}, begun=False)
    monkeypatch.setattr(part_segmentation, "weights_sha256", lambda network: {"parts.h5": "b"}[network])
    assert cli.main("train preset --parts parts.h5 --run r --out other".split()) == 2
    assert "trained with that of sha256 a, and --parts, which gives those of b" in capsys.readouterr().err


def test_preset_of_a_part_and_of_a_person(monkeypatch, capsys, in_folder_with_files):
    from hund_tf import presets
    from hund_tf.whole_body import hund_part

    saved = []
    keep_settings("r", {"network": PartConfig("face").to_dict()})
    (in_folder_with_files / "r" / "weights.h5").touch()
    monkeypatch.setattr(hund_part.HundPart, "build_weights", lambda self: None)
    monkeypatch.setattr(hund_part.HundPart, "load_weights", lambda self, path: saved.append((path, self.config.kind)))
    monkeypatch.setattr(presets, "save_part", lambda *arguments: saved.append(arguments))
    monkeypatch.setattr(presets, "save_person", lambda *arguments: saved.append(arguments))
    assert cli.main("train preset --run r --out mine --licence CC0-1.0".split()) == 0
    assert saved[0] == ("r/weights.h5", "face") and saved[1][0] == "mine" and saved[1][2]["licence"] == "CC0-1.0"
    assert cli.main("train preset --run r --out mine --parts parts.h5".split()) == 2
    assert "--parts must go with the run of a body. Received: with that of a face" in capsys.readouterr().err
    assert cli.main("train person --body a --hand b --face c --out who".split()) == 0
    assert saved[2][:2] == ("who", {"body": "a", "hand": "b", "face": "c"}) and saved[2][3] is None
    assert cli.main("train person --body a --hand b --face c --uncertainty parts.h5 --out who".split()) == 2 and len(saved) == 3
    assert "parts.h5 must be an .npz file" in capsys.readouterr().err
    assert cli.main("train person --body a --hand b --face c --uncertainty nowhere.npz --out who".split()) == 2
    assert "nowhere.npz" in capsys.readouterr().err


@pytest.mark.parametrize("best, loss", [(b"finished", 2.25), (b"others", 3.5), (None, 3.5)])
def test_validation_is_that_of_the_weights(tmp_path, best, loss):
    """A run that ended early left a copy of its best weights, others left those of their last epoch."""
    (tmp_path / "weights.h5").write_bytes(b"finished")
    (tmp_path / "curve.csv").write_text("epoch,loss,val_loss\n0,2,2.25\n1,1,3.5\n")
    if best is not None:
        (tmp_path / "best.h5").write_bytes(best)
    assert cli_train_preset._validation(str(tmp_path)) == {"loss": loss}


def test_a_mean_has_no_validation(tmp_path):
    assert cli_train_preset._validation(str(tmp_path)) == {}


def test_a_run_goes_on_with_the_settings_it_began_with(tmp_path):
    keep_settings(str(tmp_path), {"a": (1, 2)})
    keep_settings(str(tmp_path), {"a": (1, 2)})
    with pytest.raises(ValueError, match=r"settings it began with, \{'a': \[1, 2\]\}.* Received: \{'a': \[1, 3\]\}"):
        keep_settings(str(tmp_path), {"a": (1, 3)})
    assert read_settings(str(tmp_path)) == {"a": [1, 2]}
    keep_settings(str(tmp_path), {"a": (1, 3)}, begun=False)  # of a run that never began, such as one with a wrong option
    assert read_settings(str(tmp_path)) == {"a": [1, 3]}


def test_only_settings_that_differ_are_told_and_unkept_ones_are_not_compared(tmp_path):
    keep_settings(str(tmp_path), {"same": 1, "network": {"units": 8, "stages": 5}, "gone": 2})
    with pytest.raises(ValueError, match=r"with, \{'network.units': 8, 'gone': 2\}; .* Received: \{'network.units': 9\}"):
        keep_settings(str(tmp_path), {"same": 1, "network": {"units": 9, "stages": 5}})
    keep_settings(str(tmp_path), {"same": 1, "network": {"units": 8, "stages": 5}, "gone": 2, "of a later version": 3})
    assert "of a later version" not in read_settings(str(tmp_path))
