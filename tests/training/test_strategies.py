"""One device, two devices and two workers learn the same; strategies by name."""

import json
import os
import pathlib
import socket
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from hund_tf.training import callbacks, examples, runs, strategies

HERE = pathlib.Path(__file__).parent


def start(kind, out, cluster=None, index=0):
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    if cluster:
        env["TF_CONFIG"] = json.dumps({"cluster": {"worker": cluster}, "task": {"type": "worker", "index": index}})
    return subprocess.Popen([sys.executable, HERE / "replicated.py", HERE.parents[1], kind, out], env=env,
                            stderr=subprocess.PIPE, text=True)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.mark.slow
def test_devices_and_workers_learn_the_same(tmp_path):
    cluster = [f"localhost:{port}" for port in free_ports(2)]
    runs = [start("devices", tmp_path / "devices"), *(start("worker", tmp_path / f"worker{i}", cluster, i) for i in (0, 1))]
    try:
        for process in runs:
            _, problem = process.communicate(timeout=600)
            assert process.returncode == 0, problem[-3000:]
    finally:
        for process in runs:
            process.kill()
            process.communicate()
    one, two, first, second = (list(np.load(tmp_path / f"{name}.npz").values())
                               for name in ("devices_one", "devices_two", "worker0", "worker1"))
    assert len(callbacks.read_curve(tmp_path / "run" / "curve.csv")) == 1
    assert (tmp_path / "run" / "weights.h5").exists() and not (tmp_path / "run" / "backup").exists()
    for expected, *found in zip(one, two, first, second):
        for values in found:
            np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(found[1], found[2])


@pytest.mark.parametrize("chief", [True, False])
def test_the_checkpoint_stays_until_all_workers_are_through(tmp_path, monkeypatch, chief):
    (tmp_path / callbacks.BACKUP).mkdir()
    there = []
    monkeypatch.setattr(strategies, "several_workers", lambda strategy: strategy == "workers")
    monkeypatch.setattr(strategies, "wait_for_all", lambda strategy: there.extend(path.name for path in tmp_path.iterdir()))
    monkeypatch.setattr(strategies, "is_chief", lambda: chief)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.build([None, 1])
    runs.save_finished(model, SimpleNamespace(history={}), str(tmp_path), "weights.h5", strategy="workers")
    assert there == [callbacks.BACKUP]
    assert [path.name for path in tmp_path.iterdir()] == (["weights.h5"] if chief else [callbacks.BACKUP])


def test_one_process_waits_for_nobody():
    strategies.wait_for_all(tf.distribute.get_strategy())
    strategies.wait_for_all(tf.distribute.MirroredStrategy(["CPU:0"]))
    assert not strategies.several_workers(tf.distribute.get_strategy()) and not strategies.several_workers(None)


def test_unknown_strategies_and_clusters_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="`strategy` must be one of .*'multi_worker'.* Received: 'horovod'"):
        strategies.make("horovod")
    for text, received in (("", "nothing"), ("{}", "{}"), ("nonsense", "nonsense")):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(ValueError, match=f"TF_CONFIG, such as .* Received: {received}"):
            strategies.make("multi_worker")


def test_the_widest_at_hand_is_taken(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one"])
    assert strategies.make("auto") is tf.distribute.get_strategy() and strategies.make("none") is tf.distribute.get_strategy()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one", "two"])
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: "mirrored")
    assert strategies.make("auto") == "mirrored"


@pytest.mark.parametrize("text, chief", [
    (None, True), ('{"cluster": {"worker": ["a", "b"]}, "task": {"type": "worker", "index": 0}}', True),
    ('{"cluster": {"worker": ["a", "b"]}, "task": {"type": "worker", "index": 1}}', False),
    ('{"cluster": {"chief": ["a"], "worker": ["b"]}, "task": {"type": "worker", "index": 0}}', False),
    ('{"cluster": {"chief": ["a"], "worker": ["b"]}, "task": {"type": "chief", "index": 0}}', True)])
def test_one_process_writes(monkeypatch, text, chief):
    if text is None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
    else:
        monkeypatch.setenv("TF_CONFIG", text)
    assert strategies.is_chief() == chief


def test_a_batch_must_divide_among_the_replicas():
    class Three:
        num_replicas_in_sync = 3

    with pytest.raises(ValueError, match="divide among 3 replicas. Received: 32 examples"):
        examples.for_workers(None, Three(), 32)
