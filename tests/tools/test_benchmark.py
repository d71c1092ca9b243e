"""The benchmark's report: names, ratios, what happens without peers, and wrong arguments. Nothing is timed here."""

import json
import os
import sys

import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tools"))
import benchmark  # noqa: E402
import benchmark_peers  # noqa: E402
import benchmark_timing  # noqa: E402

NAMES = ["body_forward_b32", "body_forward_b1", "body_gradient_b32", "keypoints_gradient_b32", "raster60_forward_b32",
         "raster60_gradient_b32", "raster240_b1"]


class Recorder:
    """Stands in for `medians`: keeps the names of the calls of each round, every call takes its place in ms."""

    def __init__(self):
        self.rounds = []

    def __call__(self, calls, repeats):
        self.rounds.append(list(calls))
        return {name: float(i + 1) for i, name in enumerate(calls)}


@pytest.fixture
def geometry(monkeypatch):
    """The geometry benchmark with a recorder for a clock and a body and a rasterizer that do nothing."""
    stub = type(sys)("dense_soft_rasterizer")
    stub.dense_soft_rasterize = None
    monkeypatch.setitem(sys.modules, "dense_soft_rasterizer", stub)
    monkeypatch.delitem(sys.modules, "benchmark_geometry", raising=False)
    import benchmark_geometry

    monkeypatch.setattr(benchmark_geometry, "medians", Recorder())
    monkeypatch.setattr(benchmark_geometry, "dense_rasterizer", lambda *arguments: (None, 0.5))
    yield benchmark_geometry
    sys.modules.pop("benchmark_geometry")


@pytest.fixture
def stubs(monkeypatch):
    lines = [benchmark_timing.entry(name, 2.0, "peer", 10.0) for name in NAMES]
    monkeypatch.setattr(benchmark, "measure_geometry", lambda repeats: lines)
    photo = [benchmark_timing.entry("photo: detection", 5.0)]
    monkeypatch.setattr(benchmark, "measure_photo", lambda *arguments: photo)
    export = [benchmark_timing.entry("export: load", 5.0)]
    monkeypatch.setattr(benchmark, "measure_export", lambda *arguments: export)


def small_body():
    class Body:
        asset = None

        def __call__(self, state, mesh):
            class Posed:
                vertices = tf.zeros([state.theta.shape[0], 3, 3])

            return Posed

        def faces(self, mesh):
            return np.array([[0, 1, 2]])

        def part_labels(self, mesh):
            return np.array([1, 1, 1])

    return Body()


def test_json_is_a_list_of_times_and_ratios(stubs, tmp_path, capsys):
    benchmark.main(["--json", str(tmp_path / "times.json")])
    lines = json.loads((tmp_path / "times.json").read_text())
    assert [line["name"] for line in lines] == [*NAMES, "photo: detection", "export: load"]
    assert lines[0] == {"name": "body_forward_b32", "ours_ms": 2.0, "peer": "peer", "peer_ms": 10.0, "ratio": 5.0}
    assert lines[-1]["peer_ms"] is None and lines[-1]["ratio"] is None
    printed = capsys.readouterr().out
    assert "| body_forward_b32 | 2.0 | peer | 10.0 | 5.0 |" in printed
    assert "recorded, not measured in this run" in printed


def test_one_part_alone(stubs, tmp_path):
    for part, expected in (("geometry", NAMES), ("photo", ["photo: detection"]), ("export", ["export: load"])):
        benchmark.main(["--part", part, "--json", str(tmp_path / "times.json")])
        assert [line["name"] for line in json.loads((tmp_path / "times.json").read_text())] == expected


def test_the_seven_names_come_once_each(geometry, monkeypatch):
    monkeypatch.setattr(benchmark_peers, "missing_packages", lambda: [])
    monkeypatch.setattr(benchmark_peers, "anny_body", lambda *arguments: (None, None))
    monkeypatch.setattr(benchmark_peers, "dense_body", lambda *arguments: (None, None))
    lines = geometry.measure_body(small_body(), 1) + geometry.measure_rasterizer(small_body(), 1)
    names = [line["name"] for line in lines]
    assert len(set(names)) == len(names) and [name for name in names if name in NAMES] == NAMES
    by_name = {line["name"]: line for line in lines}
    assert by_name["body_forward_b32"]["ratio"] == 4.0  # calls: XLA 1 ms, graph 2, dense 3, anny 4
    assert by_name["body_forward_b32_dense"]["ratio"] == 3.0
    assert by_name["raster240_b1"]["peer_ms"] == 4.0  # half of the strips took 2 ms
    assert geometry.medians.rounds[2] == ["xla", "graph", "dense", "anny", "keypoints"]  # in turns, in one round


@pytest.mark.parametrize("missing", [["torch", "anny"], ["anny"]])
def test_absent_peers_leave_ratios_empty(geometry, monkeypatch, missing):
    monkeypatch.setattr(benchmark_peers, "missing_packages", lambda: missing)
    monkeypatch.setattr(benchmark_peers, "dense_body", lambda *arguments: (None, None))
    lines = {line["name"]: line for line in geometry.measure_body(small_body(), 1)}
    assert lines["body_forward_b32"]["peer"] == benchmark_peers.ANNY
    assert lines["body_forward_b32"]["peer_ms"] is None and lines["body_forward_b32"]["ratio"] is None
    assert (lines["body_forward_b32_dense"]["ratio"] is None) == ("torch" in missing)


def test_says_which_extra_is_missing(stubs, monkeypatch, capsys):
    monkeypatch.setattr(benchmark_peers, "missing_packages", lambda: ["anny"])
    benchmark.main(["--part", "geometry"])
    assert "Not installed: anny" in (printed := capsys.readouterr().out) and "hund-tf[benchmark]" in printed


@pytest.mark.parametrize("arguments", [["--repeats", "0"], ["--repeats", "x"], ["--max-people", "-1"],
                                       ["--part", "hands"], ["no_such_photo.jpg"], ["--nothing"]])
def test_wrong_arguments_exit_2(stubs, arguments, capsys):
    with pytest.raises(SystemExit) as end:
        benchmark.main(arguments)
    assert end.value.code == 2 and "error" in capsys.readouterr().err


def test_calls_take_turns_and_slow_ones_stop_early(monkeypatch):
    clock, order = [0.0], []
    monkeypatch.setattr(benchmark_timing.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(benchmark_timing.time, "sleep", lambda seconds: None)

    def call(name, seconds):
        def run():
            order.append(name)
            clock[0] += seconds
        return run

    ms = benchmark_timing.medians({"quick": call("quick", 0.001), "slow": call("slow", 5.0)}, repeats=3, seconds=6.0)
    assert order == ["quick", "quick", "slow", "slow", "quick", "slow", "quick", "slow", "quick"]
    assert ms == pytest.approx({"quick": 1.0, "slow": 5000.0})
