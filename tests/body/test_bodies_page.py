"""The worked example of docs/bodies.md runs as it stands there."""

import os
import re

import numpy as np

from hund_tf.body import template

PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "bodies.md")


def page():
    with open(PAGE, encoding="utf-8") as file:
        return file.read()


def test_toy_body_loads_and_poses(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example, = re.findall(r"```python\n(.*?)```", page(), re.S)
    names = {}
    exec(compile(example, "docs/bodies.md", "exec"), names)
    assert capsys.readouterr().out == "(1, 312, 3) (1, 52, 3)\n"
    posed, joints = names["posed"], names["joints"]
    np.testing.assert_allclose(posed.joints[0], 1.1 * joints * [1, -1, -1] + [0, 0, 3], atol=1e-5)
    labels = names["body"].part_labels()
    assert set(labels) == set(range(1, 15))
    assert np.all(labels[names["vertices"][:, 1] > 0.57] == 14)


def test_page_names_every_array_of_the_schema():
    text = page()
    with np.load(template.find_body(), allow_pickle=False) as data:
        learned = [key for key in data.files if "_vae_" in key or "_flow_" in key]
        missing = [key for key in data.files if f"`{key}`" not in text and key not in learned]
    assert not missing
    groups = {re.match(".*?_(vae|flow)_", key)[0] for key in learned}
    assert len(groups) == 4 and all(f"`{group}" in text for group in groups)
