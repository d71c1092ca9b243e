"""The fitting tool: what it reads, what it refuses, what it writes. The fit itself has its own tests."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tools"))
import fit_body  # noqa: E402

from hund_tf.fitting import points  # noqa: E402
from hund_tf.state import ModelState  # noqa: E402


class Fitter:
    """Stands in for `PointFitter`: the shape is how many frames came, the translation the first point."""

    def __init__(self, body, mesh=None, hands=False):
        self.body = body

    def fit(self, targets, sites, iterations):
        count = len(targets)
        state = ModelState(np.zeros([count, 306]), np.full([count, 16], count), np.zeros([count, 20]),
                           np.tile([1.0, 0, 0, 0, 1, 0], [count, 1]), targets[:, 0])
        return points.Fit(state, targets, np.full(count, 2.5))


@pytest.fixture
def tool(monkeypatch, tmp_path):
    monkeypatch.setattr(points, "PointFitter", Fitter)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: fit_body.main([str(a) for a in arguments])


def test_frames_keep_their_order_and_people_their_shape(tool):
    targets = np.random.default_rng(0).normal(size=(5, 17, 3))
    np.savez("joints.npz", points=targets, person=[7, 2, 7, 7, 2])
    tool("joints", "joints.npz", "--set", "h36m17", "--out", "fitted.npz")
    with np.load("fitted.npz", allow_pickle=False) as data:
        np.testing.assert_allclose(data["translation"], targets[:, 0], rtol=1e-6)
        np.testing.assert_array_equal(data["shape"][:, 0], [3, 2, 3, 3, 2])
        np.testing.assert_array_equal(data["residual_mm"], 2.5)
        assert data["theta"].shape == (5, 306) and str(data["coding"]) == "makehuman, gaussian, vae"


def test_markers_are_mixed_of_joints_and_keypoints():
    body = SimpleNamespace(joint_names=["a"] * 63, keypoint_names=["b"] * 137)
    sites = fit_body.sites_of_joints(body, None, np.eye(4, 200))
    np.testing.assert_array_equal(sites.corners[:, 0], range(4))
    with pytest.raises(ValueError, match=r"must be \[P, 200\]"):
        fit_body.sites_of_joints(body, None, np.ones([4, 200]))


@pytest.mark.parametrize("arrays, arguments, words", [
    ({"vertices": np.zeros([2, 5, 3])}, ("joints", "--set", "smpl24"), "must hold `points`"),
    ({"points": np.zeros([2, 5])}, ("joints", "--set", "smpl24"), "must hold `points` [N, P, 3]"),
    ({"points": np.zeros([2, 24, 3]), "person": [0]}, ("joints", "--set", "smpl24"), "`person` must be [2]"),
    ({"points": np.zeros([2, 24, 3])}, ("joints",), "Received: neither"),
    ({"vertices": np.zeros([2, 5, 3])}, ("mesh",), "Meshes need --model")])
def test_bad_input_exits_with_2_and_says_why(tool, capsys, arrays, arguments, words):
    np.savez("given.npz", **arrays)
    with pytest.raises(SystemExit) as stop:
        tool(arguments[0], "given.npz", *arguments[1:], "--out", "out.npz")
    assert stop.value.code == 2 and words in capsys.readouterr().err and not os.path.exists("out.npz")
