"""Scene files: what a broken one lacks, and whose codes it holds."""

import types

import numpy as np
import pytest

from hund_tf.training import synthetic

BODY = types.SimpleNamespace(coding="makehuman, flow, vae")


def save(path, **changes):
    fields = {name: np.zeros((2, 3)) for name in synthetic.FIELDS}
    fields = {**fields, "coding": BODY.coding, **changes}
    np.savez(path, **{name: value for name, value in fields.items() if value is not None})
    return str(path)


def test_files_are_joined(tmp_path):
    paths = [save(tmp_path / "a.npz"), save(tmp_path / "b.npz")]
    assert all(values.shape == (4, 3) for values in synthetic.load_scenes(paths, BODY).values())


@pytest.mark.parametrize("changes, message", [
    ({"theta": None}, r"lacks \['theta'\]"), ({"coding": None}, r"lacks \['coding'\]"),
    ({"coding": "makehuman, gaussian, linear"}, "codes, 'makehuman, flow, vae'. Received: 'makehuman, gaussian, linear'")])
def test_broken_files_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        synthetic.load_scenes([save(tmp_path / "a.npz", **changes)], BODY)


def test_no_files_are_refused():
    with pytest.raises(ValueError, match="at least one scene file"):
        synthetic.load_scenes([], BODY)
