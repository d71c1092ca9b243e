"""The benchmark's report: names, ratios, what happens without peers, and wrong arguments. Nothing is timed here."""

import json
import os
import sys
import types

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


@pytest.mark.parametrize("arguments, words", [
    (["--export", "nowhere"], "--export must be a folder of a version, with saved_model.pb. Received: nowhere"),
    (["--export", "here", "--part", "photo"], "--export must go with --part export")])
def test_exports_that_are_none_are_refused(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(SystemExit) as ended:
        benchmark.main(arguments)
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_export_is_timed_beside_the_same_networks(monkeypatch):
    """With stand-ins for the server's model, the networks and the clock: what is asked, and what each line compares."""
    import benchmark_export

    asked = []

    class Served:
        def __init__(self, folder, version):
            assert (folder, version) == ("models/hund/1", 1)

        def signature(self, name):
            return types.SimpleNamespace(name=name, completed=dict, wanted=tuple)

        def run(self, signature, feeds, wanted):
            asked.append((signature.name, {name: len(values) for name, values in feeds.items()}, wanted))
            return {"vertices": np.zeros([1, 1, 3], np.float32)}

    def medians(calls, repeats):
        for call in calls.values():
            call()
        return {name: float(place + 2) for place, name in enumerate(calls)}

    crops = {"crops": np.zeros([1, 2, 2, 3]), "intrinsics": np.ones([1, 4])}
    rows = {"serving_default": {"image_bytes": [b""]}, "reconstruct_crops": crops, "describe": {}}
    monkeypatch.setattr(benchmark_export, "Servable", Served)
    monkeypatch.setattr(benchmark_export.warmup, "replay", lambda servable: 3)
    monkeypatch.setattr(benchmark_export.saved_model, "warmup_inputs", lambda: rows)
    monkeypatch.setattr(benchmark_export.hund_tf, "load_preset", lambda preset: None)
    monkeypatch.setattr(benchmark_export, "Whole", lambda model: Whole())
    monkeypatch.setattr(benchmark_export, "medians", medians)
    lines = benchmark_export.measure("models/hund/1", "body", 1)
    names = [line["name"] for line in lines]
    assert names[:2] == ["export: load", "export: warm-up"] and "export: describe, first after warm-up" not in names
    assert [(line["peer"], line["ratio"]) for line in lines[-2:]] == [("Python eager", 1.5), ("model.predict", 2.0)]
    assert lines[-1]["people_per_second"] == [16_000.0, 8000.0]
    assert "export: reconstruct_crops, batch 32: 16000.0 people/s, model.predict 8000.0" in benchmark.table(lines)
    assert asked[-1] == ("reconstruct_crops", {"crops": 32, "intrinsics": 32}, ("keypoints3d", "vertices"))


def test_an_export_of_other_networks_is_not_compared():
    import benchmark_export

    benchmark_export.check_same(lambda: np.zeros([1, 2, 3]), lambda: np.full([1, 2, 3], 9e-4))
    with pytest.raises(RuntimeError, match="must be one of the preset.*Received: 0.12 m"):
        benchmark_export.check_same(lambda: np.zeros([1, 2, 3]), lambda: np.full([1, 2, 3], 0.12))
    with pytest.raises(RuntimeError, match="Received: nan"):
        benchmark_export.check_same(lambda: np.zeros([1, 2, 3]), lambda: np.full([1, 2, 3], np.nan))


class Whole:
    """Stands in for the networks."""

    def __call__(self, pair):
        return {"vertices": tf.zeros([len(pair[0]), 1, 3])}

    def predict(self, pair, batch_size, verbose):
        assert len(pair[0]) == batch_size
