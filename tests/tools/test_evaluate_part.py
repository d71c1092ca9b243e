"""Figures of a part's network: none of the errors where the state is the truth, and known ones where it is moved."""

import os
import pathlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))
import evaluate_part  # noqa: E402

from hund_tf.body.generative_body import GenerativeBody  # noqa: E402
from hund_tf.config import PartConfig  # noqa: E402
from hund_tf.training import part_evidence, part_scenes  # noqa: E402
from hund_tf.whole_body.hund_part import HundPart  # noqa: E402


@pytest.fixture(scope="module")
def network():
    return HundPart(PartConfig("hand", num_stages=1), GenerativeBody.from_asset())


@pytest.fixture(scope="module")
def scenes(network):
    rng = np.random.default_rng(0)
    return part_scenes.sample_part_scenes(network.part_shape, rng.normal(0, 0.5, (8, 90)), rng.normal(0, 0.5, (8, 16)), rng)


def knows(network, scenes, moved):
    """A stand-in that answers with the truth, its root so many metres farther."""
    def solve(evidence, num_stages):
        _, truth, _ = part_evidence.detect(
            network.part_shape, {name: tf.constant(values) for name, values in scenes.items()}, tf.constant([0, 0]), 0.0)
        return truth._replace(translation=truth.translation + tf.constant([0.0, 0.0, moved]))

    return SimpleNamespace(solve=solve, config=network.config, part_shape=network.part_shape)


@pytest.mark.parametrize("moved", [0.0, 0.5])
def test_figures(network, scenes, moved):
    figures, drawn = evaluate_part.evaluate(knows(network, scenes, moved), scenes, noise=0.0)
    assert figures["root_aligned_mm"] < 0.01 and figures["root_and_rotation_aligned_mm"] < 0.01 and figures["pa_mm"] < 0.1
    assert figures["root_mm"] == pytest.approx(1000 * moved, abs=0.01)
    assert (figures["image_percent"] < 0.01) == (moved == 0.0) and len(drawn) == 2


def test_command(network, scenes, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    network = HundPart(PartConfig("hand"), network.body)
    network.build_weights()
    network.save_weights(str(tmp_path / "w.h5"))
    np.savez(tmp_path / "a.npz", coding=network.body.coding, kind="hand", **scenes)
    evaluate_part.main(["--kind", "hand", "--weights", str(tmp_path / "w.h5"), "--scenes", str(tmp_path / "*.npz"),
                        "--sheet", str(tmp_path / "sheet.png"), "--json", str(tmp_path / "f.json")])
    assert os.path.getsize(tmp_path / "sheet.png") > 1000 and "under_5_percent" in (tmp_path / "f.json").read_text()
    assert "pa_mm" in capsys.readouterr().out


def test_expressions_are_told_apart():
    rest = np.zeros([1, 70, 3])
    rest[0, 54, 0], rest[0, 48, 0], rest[0, 17:27, 1] = 0.02, -0.02, 0.03
    face = np.tile(rest, [4, 1, 1])
    face[0, [37, 38, 43, 44], 1] -= 0.004  # lids close
    face[1, 66, 1] -= 0.01  # the jaw falls
    face[2, [48, 54], 0] += [-0.003, 0.003]  # the mouth widens
    face[3, 17:27, 1] += 0.005  # brows rise
    change = evaluate_part.expressions(face) - evaluate_part.expressions(rest)
    np.testing.assert_allclose(change, np.diag([-0.004, 0.01, 0.006, 0.005]), atol=1e-9)


def test_shares_of_right_signs():
    truth = np.array([[0.0005, 0.0015, 0.004, 0.005], [-0.0005, 0.0015, -0.004, 0.005]])
    signs = evaluate_part.right_signs(truth * [[1.0, -1.0, 1.0, 1.0], [1.0, 1.0, -1.0, 1.0]], truth)
    assert signs["eyelids"] == {"all": 100.0}
    assert signs["jaw"] == {"all": 50.0, "over_1_mm": [50.0, 2]}
    assert signs["smile"]["over_3_mm"] == [50.0, 2] and signs["brows"]["over_2_mm"] == [100.0, 2]
