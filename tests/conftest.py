"""Shared by all tests: quiet TensorFlow, and a stand-in for the networks."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

KEYPOINTS, JOINTS = 137, 63


class StubState(NamedTuple):
    theta: np.ndarray
    shape: np.ndarray
    expression: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray


class StubReconstruction(NamedTuple):
    image_size: tuple
    intrinsics: np.ndarray
    intrinsics_source: str
    people: list
    timings: dict
    distortion: np.ndarray = None
    refined: int = 0


def make_person(seed=0, x=0.0):
    """A tetrahedron three metres away with made-up codes; keypoints lie on its corners."""
    rng = np.random.default_rng(seed)
    vertices = np.array([[x, -0.8, 3.0], [x + 0.4, 0.8, 3.0], [x - 0.4, 0.8, 3.0], [x, 0.5, 3.4]], np.float32)
    keypoints = vertices[np.arange(KEYPOINTS) % 4]
    keypoints2d = keypoints[:, :2] / keypoints[:, 2:] * 64.0 + [32.0, 24.0]
    rotations = np.tile(np.eye(3, dtype=np.float32), [JOINTS, 1, 1])
    state = StubState(rng.normal(size=306).astype(np.float32), rng.normal(size=16).astype(np.float32),
                      np.zeros(20, np.float32), np.array([1, 0, 0, 0, -1, 0], np.float32), vertices.mean(0))
    return SimpleNamespace(
        box=np.array([20.0, 5.0, 24.0, 40.0], np.float32), score=0.9, state=state, vertices=vertices,
        faces=np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]], np.int32),
        joints3d=vertices[np.arange(JOINTS) % 4], keypoints3d=keypoints, keypoints2d=keypoints2d,
        keypoint_confidence=np.linspace(0, 1, KEYPOINTS), detected_keypoints2d=keypoints2d + 0.25,
        joint_rotations=rotations, stage_losses=np.array([3.0, 2.0, 1.5, 1.2, 1.1, 1.0], np.float32),
        stage_states=np.zeros([6, 151], np.float32), refined_loss=None, part_weights=np.array([1.0, 0.0, 0.5], np.float32),
        keypoint_uncertainty=np.tile(np.array([[0.04, 0.09]], np.float32), [KEYPOINTS, 1]),
        joint_uncertainty=np.tile(np.array([[0.03, 0.08]], np.float32), [JOINTS, 1]))


class StubModel:
    """Answers as a `Reconstructor` does; a black photo has nobody in it. Remembers how it was called."""

    def __init__(self):
        self.calls = []
        self.names = [f"keypoint{i}" for i in range(KEYPOINTS)], [f"joint{i}" for i in range(JOINTS)]

    def reconstruct(self, image, intrinsics=None, boxes=None, num_stages=None, max_people=None, distortion=None, refine=0):
        self.calls.append(dict(image=image, intrinsics=intrinsics, boxes=boxes, num_stages=num_stages,
                               max_people=max_people, distortion=distortion, refine=refine))
        height, width = image.shape[:2]
        source = "given"
        if intrinsics is None:
            focal = float(max(height, width))
            intrinsics, source = (focal, focal, width / 2, height / 2), "default (fx = fy = max(H, W))"
        count = 2 if boxes is None else len(boxes)
        people = [] if image.max() == 0 else [make_person(i, x=0.5 * i) for i in range(count)][:max_people]
        if refine:
            for person in people:
                person.refined_loss = 0.75
        return StubReconstruction((height, width), np.array(intrinsics, np.float32), source, people,
                                  {"detection": 0.01, "stage 1": 0.002}, distortion, refine)


@pytest.fixture(scope="session")
def person_export(tmp_path_factory):
    """Folder of a version of a whole export: the one in HUND_EXPORT, a folder of `hund export`, or one made for these tests.

    Its networks take minutes, so only slow tests ask for it.
    """
    from hund_tf.export import saved_model

    if os.environ.get("HUND_EXPORT"):
        return os.path.join(os.environ["HUND_EXPORT"], saved_model.NAME, "1")
    return saved_model.export("person", str(tmp_path_factory.mktemp("export")))


@pytest.fixture
def stub_model(monkeypatch):
    """The stand-in, given to whoever asks for a preset."""
    import hund_tf
    from hund_tf import presets

    model = StubModel()
    monkeypatch.setattr(presets, "find", lambda name: name)
    monkeypatch.setitem(vars(hund_tf), "load_preset", lambda name="body": model)  # the real ones load TensorFlow
    monkeypatch.setitem(vars(hund_tf), "start_quickly", lambda: None)
    return model


@pytest.fixture
def stub_person():
    return make_person()
