"""The evaluation tool: what it refuses."""

import json
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tools"))
import evaluate  # noqa: E402

from hund_tf import presets  # noqa: E402


@pytest.fixture
def pixel_preset(tmp_path):
    """Folder of a preset whose first CNN sees pixels; its weights are never read."""
    for name in presets.files(sensing="multitask")[:3]:
        (tmp_path / name).write_text("{}")
    (tmp_path / "metadata.json").write_text(json.dumps({"sensing": "multitask", "sha256": {}}))
    return str(tmp_path)


def test_held_out_scenes_cannot_feed_who_needs_photos(pixel_preset, capsys):
    for preset in ("landmarks", pixel_preset):
        with pytest.raises(SystemExit) as stop:
            evaluate.main(["held-out", "scenes/*.npz", "--preset", preset])
        said = capsys.readouterr().err
        assert stop.value.code == 2 and "no photos" in said and f"--preset {preset}" in said
