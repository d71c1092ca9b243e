"""`hund train average`: the mean of weights, and what cannot be averaged."""

import pathlib
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest

from hund_tf import cli

ROOT = pathlib.Path(__file__).parents[1]


def write(path, **layers):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = list(layers)
        for name, value in layers.items():
            file.create_group(name).create_dataset("kernel:0", data=np.float32(value))
    return str(path)


def test_mean(tmp_path):
    first = write(tmp_path / "a.h5", deep=[[1, 2]], last=[4])
    others = [write(tmp_path / f"{i}.h5", deep=[[i, 2 * i]], last=[1]) for i in (3, 5)]
    assert cli.main(["train", "average", "--weights", first, *others, "--out", str(tmp_path / "mean" / "c.h5")]) == 0
    with h5py.File(tmp_path / "mean" / "c.h5") as file:
        np.testing.assert_array_equal(file["deep/kernel:0"], [[3, 6]])
        np.testing.assert_array_equal(file["last/kernel:0"], [2])
        assert file["deep/kernel:0"].dtype == np.float32 and list(file.attrs["layer_names"]) == ["deep", "last"]
    with h5py.File(first) as file:
        np.testing.assert_array_equal(file["last/kernel:0"], [4])  # as it was


@pytest.mark.parametrize("layers, words", [
    ({"deep": [[1, 2, 3]]}, r"equal names and shapes .* deep/kernel:0: \(1, 3\) in place of \(1, 2\)"),
    ({"other": [[1, 2]]}, "deep/kernel:0: missing in place of"), ({"deep": [[1, np.nan]]}, "must be finite numbers"),
    ({}, "must hold some")])
def test_what_has_no_mean_is_told(tmp_path, capsys, layers, words):
    paths = [write(tmp_path / "a.h5", deep=[[1, 2]]), write(tmp_path / "b.h5", **layers)]
    assert cli.main(["train", "average", "--weights", *paths, "--out", str(tmp_path / "c.h5")]) == 2
    error = capsys.readouterr().err
    assert re.search(words, error), error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def test_files_that_are_no_weights_are_told(tmp_path, capsys):
    path, text = write(tmp_path / "a.h5", deep=[[1, 2]]), tmp_path / "notes.txt"
    text.write_text("no weights")
    for given, words in (([path], "must be two files or more"), ([path, str(text)], "must be HDF5 files (.h5). Received: "),
                         ([path, str(tmp_path / "none.h5")], "--weights must name files that are there")):
        assert cli.main(["train", "average", "--weights", *given, "--out", str(tmp_path / "c.h5")]) == 2
        assert words in capsys.readouterr().err


def test_mean_waits_for_no_tensorflow(tmp_path):
    paths = [write(tmp_path / f"{name}.h5", deep=[[1, 2]]) for name in "ab"]
    code = (f"import sys; from hund_tf import cli\n"
            f"assert cli.main(['train', 'average', '--weights', *{paths}, '--out', {str(tmp_path / 'c.h5')!r}]) == 0\n"
            "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
