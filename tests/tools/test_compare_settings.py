"""The comparison of settings, with a toy body and small networks: what it measures and accepts, and that a seed repeats it."""

import functools
import json
import os
import random
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tools"))
import compare_settings  # noqa: E402

from hund_tf.sensing import part_segmentation  # noqa: E402
from hund_tf.training import regimes  # noqa: E402
from tests.training import toy  # noqa: E402

COUNT = 4


class Body(toy.LinearBody):
    coding, pose_prior = "toy", "gaussian"


def batches(scenes, body, segmentation, batch_size, seed, shuffle):
    """Stands in for `synthetic.body_dataset`, whose graph takes longer to make than all the rest: F as there, made-up maps."""
    assert len(scenes["theta"]) == COUNT
    summary, labels = toy.batch(body, batch_size, seed)
    features, _ = segmentation(tf.random.stateless_uniform([batch_size, 30, 30, 137], [seed, 0]), summary.part_maps[..., 0])
    return tf.data.Dataset.from_tensors((summary._replace(feature_maps=features), labels)).repeat(2)


@pytest.fixture(name="files", scope="module")
def fixture_files(tmp_path_factory):
    """Arguments that name scenes and a part CNN."""
    folder = tmp_path_factory.mktemp("settings")
    np.savez(folder / "scenes.npz", coding="toy", intrinsics=np.tile(np.float32(toy.INTRINSICS), (COUNT, 1)),
             **toy.truth(COUNT)._asdict(), image_bounds=np.tile(np.float32([0, 0, 480, 480]), (COUNT, 1)),
             part_labels=np.zeros([COUNT, 60, 60], np.uint8))
    part_segmentation.new().save_weights(folder / "parts.h5")
    return ["--scenes", str(folder / "scenes.npz"), "--validation", str(folder / "scenes.npz"),
            "--parts", str(folder / "parts.h5")]


@pytest.fixture(name="compare")
def fixture_compare(files, monkeypatch, tmp_path):
    """Runs the tool; gives what the JSON holds then."""
    init = regimes.TrainableHund.__init__
    monkeypatch.setattr(regimes.TrainableHund, "__init__",
                        lambda *args, **settings: init(*args, compile_geometry=False, **settings))
    monkeypatch.setattr(compare_settings, "HundConfig", functools.partial(compare_settings.HundConfig, units=8, context_dim=8))
    monkeypatch.setattr(compare_settings, "GenerativeBody", SimpleNamespace(from_asset=lambda pose_prior: Body()))
    monkeypatch.setattr(compare_settings.synthetic, "body_dataset", batches)
    # Keras' own seed outlasts the test and makes Python warn of a float whenever a later one builds a layer.
    monkeypatch.setattr(keras.utils, "set_random_seed", lambda seed: (random.seed(seed), tf.random.set_seed(seed)))

    def run(*arguments):
        path = tmp_path / "settings.json"
        compare_settings.main([*files, "--json", str(path), "--steps", "2", "--batch-size", "2", "--held-out", "2", *arguments])
        return json.loads(path.read_text())

    return run


@pytest.fixture(name="eagerly")
def fixture_eagerly():
    """Without graphs, whose tracing takes longer than two steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.slow
def test_variants_are_measured_and_a_seed_repeats_them(compare, eagerly, capsys):
    found = compare("--only", "3 stages", "without F")
    assert (found["steps"], found["batch_size"]) == (2, 2) and list(found["results"]) == ["3 stages", "without F"]
    for figures in found["results"].values():
        assert set(figures) == {"mpjpe_mm", "pa_mpjpe_mm", "ms_a_step"} and np.isfinite(list(figures.values())).all()
        assert 0 < figures["pa_mpjpe_mm"] < figures["mpjpe_mm"] and figures["ms_a_step"] > 0
    assert "| 3 stages | " in capsys.readouterr().out
    again, other = (compare("--only", "3 stages", "--seed", seed)["results"]["3 stages"] for seed in "01")  # without the second
    for name in ("mpjpe_mm", "pa_mpjpe_mm"):
        assert again[name] == pytest.approx(found["results"]["3 stages"][name], rel=1e-5)
        assert other[name] != pytest.approx(again[name], rel=1e-4)


def test_all_names_are_accepted_and_others_refused(compare, capsys):
    """What is refused of the first is the last option, after the names were read."""
    for arguments, words in (
            (["--only", *compare_settings.variants(), "--held-out", "1"], "--held-out must be at least --batch-size"),
            (["--only", "without a body"], "argument --only: invalid choice: 'without a body'")):
        with pytest.raises(SystemExit):
            compare(*arguments)
        assert words in capsys.readouterr().err
