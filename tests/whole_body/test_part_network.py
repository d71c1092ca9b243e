"""Networks of hands and faces: sizes, states there and back, keypoints those of the body, what the descent reads."""

import numpy as np
import pytest
import tensorflow as tf

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.config import PARTS, PartConfig
from hund_tf.geometry import camera, rotations
from hund_tf.state import EXPRESSION, SHAPE, ModelState
from hund_tf.training import part_evidence, part_learning, part_scenes
from hund_tf.whole_body.attention import UPRIGHT
from hund_tf.whole_body.hund_part import HundPart
from hund_tf.whole_body.part_context import PartEvidence
from hund_tf.whole_body.part_objective import pose, relative_depths
from hund_tf.whole_body.part_shapes import PartShape
from hund_tf.whole_body.part_state import PartState, PartStateCodec

INTRINSICS = tf.constant([[900.0, 900.0, 100.0, 300.0], [4000.0, 4000.0, 240.0, 240.0]])


@pytest.fixture(scope="module")
def body():
    return GenerativeBody.from_asset()


@pytest.fixture(scope="module", params=PARTS)
def scenes(request, body):
    shape, rng = PartShape(body, request.param), np.random.default_rng(0)
    codes = rng.normal(0, 0.5, (8, shape.num_codes))
    return shape, part_scenes.sample_part_scenes(shape, codes, rng.normal(0, 0.5, (8, SHAPE)), rng)


def batch_of(scenes):
    return {name: tf.constant(values) for name, values in scenes.items()}


def test_sizes_are_those_of_the_paper(body):
    for kind, state in (("hand", 99), ("face", 29)):
        model = HundPart(PartConfig(kind), body)
        model.build_weights()
        lstm = sum(int(np.prod(v.shape)) for v in model.neural_descent.cell.lstm.trainable_variables)
        assert model.codec.size == state and lstm == 525_312
        assert 700_000 < sum(int(np.prod(v.shape)) for v in model.trainable_variables) < 1_000_000


def test_state_comes_back(body):
    codec, rng = PartStateCodec(90, 0.2), np.random.default_rng(1)
    rotation = rotations.matrix_to_6d(rotations.matrix_from_6d(tf.constant(rng.normal(size=(2, 6)), tf.float32)))
    place = tf.constant([[0.1, -0.2, 0.6], [0, 0.1, 3.0]])
    state = PartState(tf.constant(rng.normal(size=(2, 90)), tf.float32), rotation, place)
    packed = codec.pack(state, INTRINSICS)
    for value, back in zip(state, codec.unpack(packed, INTRINSICS)):
        np.testing.assert_allclose(back, value, atol=1e-4)
    start = codec.unpack(codec.initial(2), INTRINSICS)
    np.testing.assert_allclose(camera.project(start.translation[:, None], INTRINSICS), np.full([2, 1, 2], 240.0), atol=1e-2)


@pytest.mark.parametrize("kind", PARTS)
def test_keypoints_are_those_of_the_body(body, kind):
    """The part of a whole body in the T-pose, whatever way the body is turned."""
    shape, rng = PartShape(body, kind), np.random.default_rng(2)
    codes, betas = (tf.constant(rng.normal(0, 0.7, (3, n)), tf.float32) for n in (shape.num_codes, SHAPE))
    upright = body.theta_from_rotations(tf.eye(3, batch_shape=[3, len(body.joint_names)]))[:, :126]
    hand = codes if kind == "hand" else tf.zeros([3, 90])
    face = codes if kind == "face" else tf.zeros([3, EXPRESSION])
    rotation = tf.constant(rng.normal(size=(3, 6)), tf.float32)
    theta = tf.concat([upright, hand, tf.zeros([3, 90])], 1)
    posed = body(ModelState(theta, betas, face, rotation, tf.ones([3, 3])), mesh=None)
    root = posed.joints[:, body.joint_names.index("left_wrist" if kind == "hand" else "head")]
    found = pose(shape, PartState(codes, rotation, root), betas)
    part = slice(95, 116) if kind == "hand" else slice(25, 95)
    np.testing.assert_allclose(found, posed.keypoints[:, part], atol=1e-3)


def test_scenes_show_the_part_upright(scenes):
    shape, made = scenes
    assert len(made["codes"]) > 4
    _, _, keypoints = part_evidence.detect(shape, batch_of(made), tf.constant([0, 1]), noise=0.0)
    pixels = camera.project(keypoints, made["intrinsics"]).numpy()
    assert ((pixels > 0) & (pixels < 480)).mean() > 0.9
    start, end = UPRIGHT[shape.kind]
    assert ((pixels[:, end, 1] - pixels[:, start, 1]) < 0).mean() > 0.9
    np.testing.assert_allclose(tf.reduce_mean(relative_depths(keypoints, made["intrinsics"]), -1), 0.0, atol=1e-4)


def test_evidence_without_noise_is_true_and_with_it_is_not(scenes):
    shape, made = scenes
    seed = tf.constant([3, 4])
    clean, truth, keypoints = part_evidence.detect(shape, batch_of(made), seed, noise=0.0)
    np.testing.assert_allclose(clean.keypoints, camera.project(keypoints, made["intrinsics"]), atol=1e-2)
    assert (clean.confidence > 0.5).numpy().all() and np.allclose(clean.shape, made["shape"])
    noisy, _, _ = part_evidence.detect(shape, batch_of(made), seed)
    again, _, _ = part_evidence.detect(shape, batch_of(made), seed)
    for a, b in zip(noisy, again):
        np.testing.assert_array_equal(a, b)
    error = np.linalg.norm(noisy.keypoints - clean.keypoints, axis=-1) / 480
    assert 0.002 < np.median(error) < 0.04


def test_loss_is_small_at_the_truth(scenes, body):
    shape, made = scenes
    model = HundPart(PartConfig(shape.kind, prior_weight=0.0), body)
    evidence, truth, _ = part_evidence.detect(shape, batch_of(made), tf.constant([5, 6]), noise=0.0)
    report = model.objective(model.codec.pack(truth, evidence.intrinsics), evidence)
    assert report.feedback.shape[1] == model.objective.feedback_size and report.loss.numpy().max() < 0.01
    assert model.objective(model.codec.initial(len(made["codes"])), evidence).loss.numpy().min() > 0.05


def test_nothing_seen_gives_a_finite_answer(body):
    model = HundPart(PartConfig("hand", num_stages=2), body)
    nothing = PartEvidence(tf.zeros([1, 21, 2]), tf.zeros([1, 21]), tf.zeros([1, 21]), tf.zeros([1, 16]), INTRINSICS[:1])
    descent = model(nothing)
    assert len(descent.states) == 3 and np.isfinite(descent.reports[-1].keypoints).all()


def test_a_step_learns(scenes, body):
    shape, made = scenes
    model = part_learning.TrainablePart(PartConfig(shape.kind, num_stages=1), body, compile_geometry=False)
    model.build_weights()
    model.compile(optimizer="adam")
    data = part_learning.dataset(made, shape, batch_size=4, shuffle=True)
    losses = model.fit(data, steps_per_epoch=8, epochs=3, verbose=0).history
    assert losses["loss"][-1] < losses["loss"][0] and np.isfinite(losses["error_mm"]).all()


@pytest.mark.parametrize("change, message", [
    ({"kind": "face"}, r"of \('.*', 'hand'\). Received: \('.*', 'face'\)"), ({"codes": None}, r"lacks \['codes'\]")])
def test_files_of_another_part_are_refused(tmp_path, change, message):
    fields = {**{name: np.zeros((2, 3)) for name in part_scenes.FIELDS}, "coding": "c", "kind": "hand", **change}
    np.savez(tmp_path / "a.npz", **{name: value for name, value in fields.items() if value is not None})
    with pytest.raises(ValueError, match=message):
        part_learning.load_scenes(str(tmp_path / "*.npz"), "c", "hand")
    with pytest.raises(ValueError, match="make_part_scenes"):
        part_learning.load_scenes(str(tmp_path / "none*.npz"), "c", "hand")


def test_unknown_parts_are_refused(body):
    with pytest.raises(ValueError, match="Received: 'foot'"):
        PartShape(body, "foot")
    with pytest.raises(ValueError, match="Received: 'foot'"):
        PartConfig("foot")
    assert PartConfig.from_dict(PartConfig("face").to_dict()) == PartConfig("face")
