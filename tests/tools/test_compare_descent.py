"""The comparison with L-BFGS, on a toy network: what it measures, writes, adds to and refuses, and the figures drawn of it."""

import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tools"))
import compare_descent  # noqa: E402
import descent_plots  # noqa: E402

from hund_tf.fitting import lbfgs  # noqa: E402
from hund_tf.sensing import part_segmentation  # noqa: E402
from tests.training import toy  # noqa: E402

COUNT, STAGES = 4, 2
COURSE = {"iterations": [0, 1], **{name: [2.0, 1.0] for name in (
    "loss", "loss_median", "loss_one", "joint_angle_deg", "mpjpe_mm", "pa_mpjpe_mm", "loss_each_last")}}
TIMES = {"iterations": [0, 1], "ms_an_image": [3.0, 5.0]}


class Body(toy.LinearBody):
    coding = "toy"
    joint_names = ["left_shoulder", "right_shoulder"]

    def __call__(self, state, mesh):
        turns = tf.broadcast_to(tf.eye(3), [tf.shape(state.theta)[0], 63, 3, 3])
        return super().__call__(state, mesh)._replace(joint_rotations=turns)

    def theta_from_rotations(self, rotations):
        return tf.zeros([len(rotations), 306])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("scenes") / "validation-000.npz")
    np.savez(path, coding="toy", intrinsics=np.tile(np.float32(toy.INTRINSICS), (COUNT, 1)), **toy.truth(COUNT)._asdict(),
             image_bounds=np.tile(np.float32([0, 0, 480, 480]), (COUNT, 1)), part_labels=np.zeros([COUNT, 60, 60], np.uint8))
    return path


@pytest.fixture
def compare(monkeypatch, scenes, tmp_path):
    """Runs the tool on the toy network; gives what the JSON holds then."""
    sensing = SimpleNamespace(segmentation=part_segmentation.new())

    def run(*arguments, part_map_size=15):
        model = SimpleNamespace(hund=toy.make(Body(), STAGES, part_map_size), sensing=sensing)
        monkeypatch.setattr(compare_descent.hund_tf, "load_preset", lambda name: model)
        compare_descent.main([scenes, "--json", str(tmp_path / "descent.json"), "--iterations", "2", *arguments])
        return json.loads((tmp_path / "descent.json").read_text())

    run.path = tmp_path / "descent.json"
    return run


def one_step(objective, start, iterations, scale):
    """Stands in for `lbfgs.minimize`, whose graph takes longer to make than all the rest."""
    loss = objective(start)
    return lbfgs.Minimum(start, loss, iterations, iterations, loss > 0)


@pytest.mark.slow
def test_courses_and_times_of_all_methods(compare, monkeypatch, capsys):
    monkeypatch.setattr(lbfgs, "minimize", one_step)
    names = ["HUND", "L-BFGS, A-pose", "L-BFGS, s_0", "HUND(2) + L-BFGS"]
    found = compare("--objective", "keypoints", "--no-xla", "--hybrids", "2", "--batch", "2", "--timed", "1", "--timed-at", "2")
    measured = found["objectives"]["keypoints"]
    courses, times = measured["courses"], measured["times"]
    assert list(found["objectives"]) == ["keypoints"] and list(courses) == names
    for name in names:
        assert courses[name]["iterations"] == [0, 1, 2] and len(courses[name]["loss_each_last"]) == COUNT
        assert all(np.isfinite(values).all() for values in courses[name].values())
        assert name == "HUND" or courses[name]["loss"][-1] < courses[name]["loss"][0]
    assert courses["L-BFGS, s_0"]["loss"][0] == pytest.approx(courses["HUND"]["loss"][0], rel=1e-4)
    assert courses["HUND(2) + L-BFGS"]["loss"][0] == pytest.approx(courses["HUND"]["loss"][-1], rel=1e-4)
    assert list(times) == ["batch 1"] and list(times["batch 1"]) == names  # four poses make no batch of 32
    assert times["batch 1"]["HUND"]["iterations"] == [0, 1, 2] and times["batch 1"][names[1]]["iterations"] == [0, 2]
    assert all((np.diff(line["ms_an_image"]) > 0).all() for line in times["batch 1"].values())
    assert "| HUND, 2 |" in capsys.readouterr().out


def test_what_was_measured_is_kept_and_added_to(compare, monkeypatch):
    """A run that is cut off loses only the method it was at; another adds its own."""
    def courses(methods, *arguments):
        yield "HUND", COURSE
        raise KeyboardInterrupt

    monkeypatch.setattr(compare_descent, "evidence", lambda model, options: (SimpleNamespace(intrinsics=np.zeros([1, 4])), None))
    monkeypatch.setattr(compare_descent.Methods, "courses", courses)
    monkeypatch.setattr(compare_descent.Methods, "times", lambda methods, *arguments: iter([("HUND", TIMES)]))
    with pytest.raises(KeyboardInterrupt):
        compare("--objective", "keypoints")
    assert json.loads(compare.path.read_text())["objectives"]["keypoints"]["courses"] == {"HUND": COURSE}
    compare("--objective", "full", "--part", "times")
    found = compare("--objective", "keypoints", "--part", "times")
    assert len(found["runs"]) == 3 and found["objectives"] == {
        "keypoints": {"title": "keypoints + priors", "courses": {"HUND": COURSE}, "times": {"batch 1": {"HUND": TIMES}}},
        "full": {"title": compare_descent.TITLES["full"], "times": {"batch 1": {"HUND": TIMES}}}}


@pytest.mark.parametrize("arguments, part_map_size, words", [
    (["--seed", "1"], 15, "--json must be"), (["--objective", "full"], 0, "--objective full"),
    (["--hybrids", "9"], 15, "--hybrids must be")])
def test_what_cannot_be_measured_is_refused(compare, capsys, arguments, part_map_size, words):
    if words == "--json must be":
        compare.path.write_text(json.dumps({"scenes": "validation-000.npz", "preset": "body", "poses": 100, "seed": 0,
                                            "runs": [], "objectives": {}}))
    with pytest.raises(SystemExit):
        compare(*arguments, part_map_size=part_map_size)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("lack", ["courses", "times", "batch 1", "nothing"])
def test_figures_of_whatever_there_is(tmp_path, lack):
    pytest.importorskip("matplotlib")
    measured = {"title": "all", "courses": {"HUND": COURSE}, "times": {"batch 1": {"HUND": TIMES}, "batch 32": {"HUND": TIMES}}}
    measured.pop(lack, None)
    measured.get("times", {}).pop(lack, None)
    paths = descent_plots.draw({"poses": 1, "objectives": {"full": measured}}, str(tmp_path))
    assert [os.path.basename(path) for path in paths] == ["descent_one_full.png", "descent_all_full.png"]
    assert all(os.path.getsize(path) > 1000 for path in paths)
