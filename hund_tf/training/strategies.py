"""On which devices a run trains: a name in, a `tf.distribute.Strategy` out."""

import json
import os

import tensorflow as tf

NAMES = ("auto", "none", "mirrored", "multi_worker")


def make(name="auto"):
    """The strategy called `name`.

    Args:
        name: "none", one device; "mirrored", all of this machine's; "multi_worker", the processes that `TF_CONFIG` lists;
            "auto", the widest of these for which there is reason.

    Returns:
        `tf.distribute.Strategy`. "multi_worker" must be made before any other use of TensorFlow in the process.

    Raises:
        ValueError: if there is no such name, or no usable `TF_CONFIG` for "multi_worker".
    """
    if name not in NAMES:
        raise ValueError(f"`strategy` must be one of {NAMES}. Received: {name!r}.")
    if name == "auto":
        name = ("multi_worker" if os.environ.get("TF_CONFIG")
                else "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "none")
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "multi_worker":
        _check_cluster(os.environ.get("TF_CONFIG", ""))
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()


def several_workers(strategy):
    """Whether a strategy joins processes that each run the same command."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def wait_for_all(strategy):
    """Returns when all processes of a strategy have come here; each must. Their sum needs a summand of every one."""
    ones = strategy.run(lambda: tf.ones([]))
    strategy.reduce(tf.distribute.ReduceOp.SUM, ones, axis=None).numpy()


def is_chief():
    """Whether this process writes logs: the only one, or the first of those in `TF_CONFIG`."""
    try:
        config = json.loads(os.environ.get("TF_CONFIG", "{}"))
    except ValueError:
        return True
    task = config.get("task", {})
    kind, index = task.get("type", "worker"), task.get("index", 0)
    return kind == "chief" or (index == 0 and "chief" not in config.get("cluster", {}))


def _check_cluster(text):
    try:
        config = json.loads(text)
        workers, task = config["cluster"]["worker"], config["task"]
        good = len(workers) >= 1 and task["type"] in ("worker", "chief") and int(task["index"]) >= 0
    except (ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise ValueError('Strategy "multi_worker" needs the environment variable TF_CONFIG, such as {"cluster": {"worker": '
                         '["host0:1234", "host1:1234"]}, "task": {"type": "worker", "index": 0}}. '
                         f"Received: {text or 'nothing'}.")
