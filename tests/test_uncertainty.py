"""Radii about points: they hold the share they say, for surely and badly seen people alike, and any input has some."""

import os
import pathlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tools"))
import calibrate_uncertainty as tool  # noqa: E402

from hund_tf import uncertainty  # noqa: E402
from hund_tf.body import rules  # noqa: E402
from hund_tf.uncertainty import Uncertainty  # noqa: E402

HANDS = [f"{side}_{finger}{i}" for side in ("left", "right") for finger in rules.FINGERS for i in ("_metacarpal", 1, 2, 3)
         if (finger, i) != ("thumb", "_metacarpal")]
NAMES = (*rules.BODY_JOINTS, "jaw", "left_eye", "right_eye", *HANDS)


def draw(count, seed):
    """Evidence of people and errors that grow with the loss and where a point is not seen; the pelvis has none."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.6, 1.0, (count, 137)) * (rng.random((count, 137)) < 0.8)
    confidence[:, 95:] = rng.uniform(0.8, 1.0, (count, 1)) * (rng.random((count, 1)) < 0.5)
    loss, part_weights = np.exp(rng.normal(-1.5, 0.7, count)), rng.random((count, 3))
    seen = confidence[:, SOURCE] > 0
    size = 0.05 * (loss[:, None] / 0.2) ** 0.5 * np.where(seen, 1.0, 2.5)
    errors = size * np.linalg.norm(rng.normal(size=(count, 200, 3)), axis=-1)
    errors[:, 137] = 0.0
    return (confidence, loss, part_weights), errors


SOURCE = np.array(uncertainty._plan(NAMES)[0])


@pytest.fixture(scope="module")
def calibrated():
    evidence, errors = draw(400, 0)
    return uncertainty.calibrate(NAMES, *evidence, errors)


def test_it_holds_on_fresh_draws(calibrated):
    evidence, errors = draw(1500, 1)
    inside = errors[..., None] <= calibrated(*evidence).numpy()
    inside, seen = np.delete(inside, 137, axis=1), np.delete(evidence[0][:, SOURCE] > 0, 137, axis=1)
    hard = np.tile((evidence[1] > 0.3)[:, None], [1, 199])
    for group in (seen, ~seen, hard, ~hard, np.ones_like(seen)):
        np.testing.assert_allclose(inside[group].mean(0), uncertainty.LEVELS, atol=0.03)
    np.testing.assert_allclose(inside.mean(0), np.tile(uncertainty.LEVELS, [199, 1]), atol=0.12)  # 400 rows fix a point so far


def test_radii_follow_the_loss_and_the_confidence(calibrated):
    sure, unsure = np.ones((1, 137)), np.zeros((1, 137))
    nothing = np.zeros((1, 3))
    good, bad = (calibrated(sure, [loss], nothing).numpy() for loss in (0.1, 0.5))
    assert np.mean(bad > 1.3 * good) > 0.95
    assert np.mean(calibrated(unsure, [0.1], nothing).numpy() > good) > 0.95


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1e6, 1e30])
@pytest.mark.parametrize("loss", [0.0, 1e30, -5.0, np.inf])
def test_any_input_has_radii(calibrated, confidence, loss):
    radii = calibrated(np.full((2, 137), confidence), [loss] * 2, np.full((2, 3), 1e3)).numpy()
    assert radii.dtype == np.float32 and np.all(np.isfinite(radii)) and np.all(radii > 0) and np.all(radii <= 2.001)
    assert np.all(radii[..., 0] <= radii[..., 1])


def test_the_pelvis_is_where_it_is(calibrated):
    (evidence, _), pelvis = draw(5, 2), 137
    np.testing.assert_allclose(calibrated(*evidence)[:, pelvis], 1e-4, rtol=1e-3)


def test_in_a_graph_of_unknown_batch_also_of_nobody(calibrated):
    specs = [tf.TensorSpec(shape, tf.float32) for shape in ((None, 137), (None,), (None, 3))]
    graph = tf.function(calibrated.__call__, input_signature=specs, autograph=False)
    evidence, _ = draw(3, 3)
    evidence = [tf.constant(x, tf.float32) for x in evidence]
    np.testing.assert_allclose(graph(*evidence), calibrated(*evidence), rtol=1e-5)
    assert graph(*(x[:0] for x in evidence)).shape == (0, 200, 2)


def test_it_goes_into_a_saved_model(calibrated, tmp_path):
    holder = tf.Module()
    holder.radii = tf.function(calibrated.__call__, autograph=False, input_signature=[
        tf.TensorSpec(shape, tf.float32) for shape in ((None, 137), (None,), (None, 3))])
    tf.saved_model.save(holder, str(tmp_path / "model"))
    evidence = [tf.constant(x, tf.float32) for x in draw(3, 4)[0]]
    np.testing.assert_allclose(tf.saved_model.load(str(tmp_path / "model")).radii(*evidence), calibrated(*evidence), rtol=1e-5)


@pytest.mark.parametrize("name", ["a.npz", "bare"])
def test_saved_and_loaded_it_is_the_same(calibrated, tmp_path, name):
    path = str(tmp_path / name)
    calibrated.save(path)
    evidence, _ = draw(3, 5)
    np.testing.assert_array_equal(Uncertainty.load(path)(*evidence), calibrated(*evidence))
    assert os.listdir(tmp_path) == [name]


def test_files_that_are_none(calibrated, tmp_path):
    path = tmp_path / "a.npz"
    calibrated.save(str(path))
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(ValueError, match="must be an .npz file"):
        Uncertainty.load(str(path))
    np.savez(path, weights=np.zeros((200, 2, 9)))
    with pytest.raises(ValueError, match="must hold weights.*lacks lowest"):
        Uncertainty.load(str(path))
    with pytest.raises(FileNotFoundError):
        Uncertainty.load(str(tmp_path / "none.npz"))


@pytest.mark.parametrize("name, value, words", [
    ("weights", np.zeros((199, 2, 9)), r"weights.*\[200, 2, 9\]. Received.*199"),
    ("weights", np.full((200, 2, 9), np.nan), "weights.*finite"), ("source", np.full(200, 137), "source.*0..136"),
    ("part", np.full(200, -1), "part.*0..3"), ("limb", np.zeros(200), "limb.*numbers"), ("weights", np.array("x"), "numbers"),
    ("lowest", np.full(9, 99.0), "lowest.*above")])
def test_damaged_arrays_are_named(calibrated, tmp_path, name, value, words):
    path = str(tmp_path / "a.npz")
    np.savez(path, **{**calibrated._arrays, name: value})
    with pytest.raises(ValueError, match=words) as error:
        Uncertainty.load(path)
    assert path in str(error.value)


def test_arguments_are_checked(calibrated):
    good = np.zeros((2, 137)), np.zeros(2), np.zeros((2, 3))
    for i, bad, words in ((0, np.zeros((2, 25)), r"`confidence` must be \[B, 137\]"),
                          (1, np.zeros((2, 1)), r"`loss` must be \[B\]"),
                          (2, np.zeros((2, 2)), r"`part_weights` must be \[B, 3\]")):
        with pytest.raises(ValueError, match=words):
            calibrated(*good[:i], bad, *good[i + 1:])
    with pytest.raises(ValueError, match="at least 30 rows"):
        uncertainty.calibrate(NAMES, *good, np.zeros((2, 200)))
    with pytest.raises(ValueError, match="as many rows"):
        uncertainty.calibrate(NAMES, *good, np.ones((40, 200)))
    with pytest.raises(ValueError, match="63 names"):
        uncertainty.calibrate(NAMES[:5], *good, np.ones((40, 200)))


@pytest.mark.parametrize("level", uncertainty.LEVELS)
def test_quantile_regression_by_hand(level):
    """Values spread evenly over 0..1 + x: the quantile is level (1 + x)."""
    x, share = (values.ravel() for values in np.meshgrid(np.linspace(0, 1, 21), (np.arange(200) + 0.5) / 200))
    fitted = uncertainty.quantile_regression(np.stack([np.ones_like(x), x], 1), share * (1 + x), level)
    np.testing.assert_allclose(fitted, [level, level], atol=0.02)


def test_every_point_has_the_keypoint_that_speaks_for_it():
    source, limb, part = uncertainty._plan(NAMES)
    np.testing.assert_array_equal(np.delete(source[:137], [20, 23]), np.delete(np.arange(137), [20, 23]))
    by_name = dict(zip(NAMES, zip(source[137:], limb[137:], part[137:])))
    assert by_name["left_wrist"] == (7, uncertainty._LEFT_ARM, 3) and by_name["right_knee"] == (10, uncertainty._RIGHT_LEG, 3)
    assert by_name["right_pinky3"] == (116, uncertainty._RIGHT_ARM, 1)
    assert by_name["left_index_metacarpal"] == (95, uncertainty._LEFT_ARM, 0)
    assert by_name["head"][2] == by_name["left_eye"][2] == 2 and by_name["pelvis"][1] == uncertainty._TRUNK


def test_figures_of_the_tool():
    """Errors 1 to 100 mm, radii of 50 and 80 mm: half and four in five inside; of hands all, and only they are seen."""
    errors = np.tile(np.arange(1, 101)[:, None] / 1000, [1, 200])
    errors[:, 95:137], errors[:, 137] = 0.001, 0.0
    radii = np.tile([0.0505, 0.0805], [100, 200, 1])
    seen = np.zeros((100, 200), bool)
    seen[:, 95:137] = True
    found = tool.figures(radii, errors, seen, [f"p{i}" for i in range(200)])
    assert found["face"]["inside"] == found["face"]["inside_unseen"] == [50.0, 80.0] and found["face"]["inside_seen"] is None
    assert found["left hand"]["inside"] == [100.0, 100.0] and found["left hand"]["worst"] == 100.0
    assert found["joints"]["points"] == 62 and found["all"]["points"] == 199
    assert found["body keypoints"]["radii_mm"] == [50.5, 80.5] and found["body keypoints"]["error_mm"] == 50.5
    assert found["body keypoints"]["worst_point"] == "p0" and found["body keypoints"]["worst_nominal"] == 90.0
    assert "| face (70) | 50.0 / 80.0 |  | 50.0 / 80.0 | p25, 80.0 for 90 |" in tool.table(found)
    assert "up to 50.0 points in a group" in tool.verdict(found) and "NOT within 5" in tool.verdict(found)
    assert tool.verdict({"face": {**found["face"], "inside": [52.0, 88.0], "worst": 86.0}}).endswith(": within 5.")


def test_distances_are_pelvis_on_pelvis():
    rng = np.random.default_rng(6)
    keypoints, joints = rng.normal(size=(2, 137, 3)), rng.normal(size=(2, 63, 3))
    truth = SimpleNamespace(keypoints=tf.constant(keypoints), joints=tf.constant(joints))
    moved = SimpleNamespace(keypoints=tf.constant(keypoints + 1.0), joints=tf.constant(joints + 1.0))
    np.testing.assert_allclose(tool.distances(moved, truth), 0.0, atol=1e-9)
    joints[:, 5] += [0.3, 0.0, 0.4]
    np.testing.assert_allclose(tool.distances(SimpleNamespace(keypoints=keypoints, joints=joints), truth)[:, 137 + 5], 0.5)


def test_clean_depths_are_those_of_the_part():
    """A point a tenth of the distance farther than the mean is a tenth of the focal length deeper, in pixels."""
    keypoints = np.random.default_rng(7).normal(0, 0.05, (1, 137, 3)).astype(np.float32) + [0, 0, 2]
    intrinsics = tf.constant([[500.0, 500.0, 240.0, 240.0]])
    pixels = tf.constant(keypoints[..., :2] * 200 + 240, tf.float32)
    depths = tool.draw_depths(tf.constant(keypoints, tf.float32), intrinsics, pixels, tf.constant([1, 2]), noise=0.0).numpy()
    hand = keypoints[0, 95:116, 2]
    np.testing.assert_allclose(depths[0, 95:116], (hand - hand.mean()) / hand.mean() * 500, rtol=1e-3, atol=1e-3)
    assert np.all(depths[:, :25] == 0)
    noisy = tool.draw_depths(tf.constant(keypoints, tf.float32), intrinsics, pixels, tf.constant([1, 2])).numpy()
    assert np.all(np.isfinite(noisy)) and not np.allclose(noisy, depths)


def test_draws_of_one_scene_are_neighbours():
    """A stand-in that tells the scene's number as loss and the seed as confidence."""
    def look(scene, seed):
        rows = len(scene["theta"])
        return tf.fill([rows, 137], seed[0]), scene["theta"][:, 0], tf.zeros([rows, 3]), tf.zeros([rows, 200])

    first, _ = tool.halved({"theta": np.arange(10.0)[:, None]})
    measured = tool.measure(look, first, draws=2, batch=2, seed=3)
    np.testing.assert_array_equal(measured.loss, [0, 0, 2, 2, 4, 4, 6, 6])  # a whole batch or none
    np.testing.assert_array_equal(measured.confidence[:, 0], [3, 4] * 4)
    assert measured.errors.shape == (8, 200)
