"""What the signatures answer: the same as `Reconstructor` of people, dense, padded, and rules where something is wrong."""

import numpy as np
import pytest
import tensorflow as tf

from tests.export.stand_ins import photo

OF_STATE = ("theta", "shape", "expression", "rotation", "translation")


def png(pixels):
    return tf.io.encode_png(pixels).numpy()


def call(served, name, **inputs):
    defaults = {"intrinsics": [-1.0] * 4, "max_people": 3, "num_stages": 5}
    function = served.functions[name]
    names = [spec.name for spec in function.input_signature]
    values = {key: inputs.get(key, defaults.get(key)) for key in names}
    return {key: value.numpy() for key, value in function(*(tf.constant(values[spec.name], spec.dtype)
                                                            for spec in function.input_signature)).items()}


def assert_same(outputs, people, rows=(), atol=1e-4, loose=()):
    """Numbers are the same to `atol`; those named in `loose` to 0.1."""
    for i, person in enumerate(people):
        of_person = {**{name: getattr(person.state, name) for name in OF_STATE}, **{
            name: getattr(person, name) for name in (
                "box", "score", "vertices", "joints3d", "keypoints3d", "keypoints2d", "detected_keypoints2d",
                "keypoint_confidence", "joint_rotations", "stage_losses", "stage_states", "part_weights")}}
        of_person.update({name: getattr(person, name) for name in ("keypoint_uncertainty", "joint_uncertainty")
                          if getattr(person, name) is not None})
        for name, value in of_person.items():
            np.testing.assert_allclose(outputs[name][(*rows, i)], value, rtol=1e-4, atol=0.1 if name in loose else atol, err_msg=name)


@pytest.mark.parametrize("image", [photo(2), photo(5), photo(4, dark=[(76, 140)]), photo(1, 200, 90)])
def test_one_photo_gives_what_the_line_gives(line, served, image):
    """Where a box of the first three holds nobody, others are looked at."""
    people = line.reconstruct(image, max_people=3).people
    outputs = call(served, "reconstruct", image=image)
    assert outputs["num_people"] == len(people) > 0
    assert_same(outputs, people)
    assert outputs["image_size"].tolist() == list(image.shape[:2])
    for name, values in outputs.items():
        assert name in ("num_people", "intrinsics", "image_size") or (len(values) == 3 and not np.any(values[len(people):]))


@pytest.mark.parametrize("most, people", [(1, 1), (2, 2), (5, 2)])
def test_who_is_overlooked_beside_another_is_looked_at_again(line, served, most, people):
    """All boxes show the same person; the third is found by the detector's keypoints, those of the second are the first's."""
    image = photo(5, together=True)
    found = line.reconstruct(image, max_people=most).people
    outputs = call(served, "reconstruct", image=image, max_people=most)
    assert outputs["num_people"] == len(found) == people
    assert_same(outputs, found)
    np.testing.assert_allclose(outputs["score"][:people], [0.9, 0.6][:people])


def test_camera_stages_and_number_can_be_given(line, served):
    image, camera = photo(5), (200.0, 210.0, 66.0, 41.0)
    for most, stages in ((1, 5), (5, 0), (4, 7)):
        outputs = call(served, "reconstruct", image=image, intrinsics=camera, max_people=most, num_stages=stages)
        assert_same(outputs, line.reconstruct(image, camera, max_people=most, num_stages=stages).people)
        assert outputs["stage_losses"].shape == (most, stages + 1) and outputs["num_people"] == most
        np.testing.assert_array_equal(outputs["intrinsics"], camera)


def test_photos_of_any_size_are_one_batch(line, served):
    images = [photo(2), photo(0, 40, 60), photo(5, 120, 160), photo(1, 90, 90, dark=[(0, 90)]), photo(5, together=True)]
    outputs = call(served, "serving_default", image_bytes=[png(image) for image in images])
    assert outputs["num_people"].tolist() == [2, 0, 3, 0, 2] and outputs["vertices"].shape[:2] == (5, 3)
    for row, image in enumerate(images):
        assert_same(outputs, line.reconstruct(image, max_people=3).people, (row,))
        assert not np.any(outputs["vertices"][row, outputs["num_people"][row]:])
        np.testing.assert_array_equal(outputs["image_size"][row], image.shape[:2])


def test_no_photos_are_no_answers(served):
    outputs = call(served, "serving_default", image_bytes=np.zeros([0], object))
    assert outputs["vertices"].shape[:2] == (0, 3) and outputs["num_people"].shape == (0,)


def test_nobody_is_a_normal_answer(served):
    outputs = call(served, "reconstruct", image=photo(0))
    assert outputs["num_people"] == 0 and not any(np.any(outputs[name]) for name in OF_STATE)


def test_boxes_are_believed(line, served):
    image, boxes = photo(0, dark=[(0, 60)]), [[5.0, 5.0, 30.0, 60.0], [80.0, -9.0, 40.0, 60.0]]
    outputs = call(served, "reconstruct_boxes", image=image, boxes=boxes)
    assert outputs["num_people"] == 2
    assert_same(outputs, line.reconstruct(image, boxes=boxes).people)


def test_crops_are_their_own_photos(served):
    """The same picture as a crop with its camera, and as a photo that its box fills."""
    image, camera = photo(0, 480, 480), (500.0, 500.0, 240.0, 240.0)
    outputs = call(served, "reconstruct_crops", crops=[image, image[:, ::-1]], intrinsics=[camera] * 2)
    whole = call(served, "reconstruct_boxes", image=image, boxes=[[40.0, 40.0, 400.0, 400.0]], intrinsics=camera)
    assert "box" not in outputs and outputs["vertices"].shape[0] == 2
    for name in ("keypoints2d", "vertices", "detected_keypoints2d"):
        np.testing.assert_allclose(outputs[name][0], whole[name][0], atol=2e-3)


def test_the_model_describes_itself(line, served):
    said = call(served, "describe")
    assert said["faces"].shape == (27676, 3) and said["preset"] == b"small" and said["version"] == b"0"
    assert [name.decode() for name in said["keypoint_names"]] == list(line.names[0])
    assert [name.decode() for name in said["joint_names"]] == list(line.names[1])


@pytest.mark.parametrize("name, inputs, words", [
    ("reconstruct", {"image": photo(1), "intrinsics": [np.nan] * 4}, "finite, fx and fy positive"),
    ("reconstruct", {"image": photo(1), "intrinsics": [0.0, 1, 2, 3]}, "finite, fx and fy positive"),
    ("reconstruct", {"image": photo(1), "max_people": 0}, "`max_people` must be from 1 to 50"),
    ("reconstruct", {"image": photo(1), "num_stages": -1}, "`num_stages` must be from 0 to 50"),
    ("reconstruct", {"image": np.zeros([15, 100, 3], np.uint8)}, "sides of 16 to"),
    ("reconstruct_boxes", {"image": photo(1), "boxes": [[0, 0, -3, 4]]}, "positive size"),
    ("reconstruct_boxes", {"image": photo(1), "boxes": [[0, 0, np.nan, 4]]}, "positive size"),
    ("reconstruct_boxes", {"image": photo(1), "boxes": [[900, 0, 3, 4]]}, "must overlap the photo"),
    ("reconstruct_boxes", {"image": photo(1), "boxes": [[0, 0, 1e9, 4]]}, "must overlap the photo"),
    ("reconstruct_boxes", {"image": photo(1), "boxes": [[0, 0, 9, 9]] * 51}, "at most 50 boxes"),
    ("reconstruct_crops", {"crops": np.zeros([1, 480, 480, 3], np.uint8), "intrinsics": [[1, 1, np.inf, 0]]}, "finite"),
    ("reconstruct_crops", {"crops": np.zeros([2, 480, 480, 3], np.uint8), "intrinsics": [[1, 1, 1, 1]]}, "equally many"),
    ("serving_default", {"image_bytes": [png(photo(1)), b""]}, "JPEG or PNG. Received:] \\[0\\]"),
    ("serving_default", {"image_bytes": [png(photo(1))[:100]]}, "PNG")])
def test_what_breaks_a_rule_is_told(served, name, inputs, words):
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        call(served, name, **inputs)
