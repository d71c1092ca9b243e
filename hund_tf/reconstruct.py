"""A photo in, a posed body for every person out: detector, crops, evidence, descent, one 3D scene."""

import numpy as np
import tensorflow as tf

from hund_tf import arguments, presets
from hund_tf import distortion as lenses
from hund_tf.clock import Clock
from hund_tf.config import PARTS
from hund_tf.fitting import lbfgs, starts
from hund_tf.geometry import camera
from hund_tf.hund import HundBody
from hund_tf.networks.context_encoder import summarize
from hund_tf.results import Person, Reconstruction
from hund_tf.sensing import multitask_cnn, part_segmentation, sightings
from hund_tf.sensing.detector import PersonDetector
from hund_tf.sensing.heatmaps import CROP_SIZE, MAP_SIZE
from hund_tf.sensing.landmarks import LandmarkNetworks
from hund_tf.sensing.landmark_sensing import LandmarkSensing
from hund_tf.sensing.multitask_cnn import MultitaskSensing
from hund_tf.state import ImageEvidence, ModelState
from hund_tf.uncertainty import Uncertainty
from hund_tf.whole_body.hund_part import HundPart
from hund_tf.whole_body.part_networks import PartLandmarks, PartNetworks, part_landmarks


class Reconstructor(tf.Module):
    """The whole line from photo to bodies, of one preset.

    Args:
        hund: `HundBody`, with weights.
        sensing: `LandmarkSensing` or `MultitaskSensing`: its `find_landmarks(crops, first=None)` gives at least `keypoints` and
            `confidence`, and its `describe(landmarks, intrinsics)` makes `ImageEvidence` of that.
        metadata: dict, of the preset.
        detector: `PersonDetector`; the packaged one if None.
        parts: `PartNetworks`, of hands and face; None: the body alone.
        uncertainty: `Uncertainty`, calibrated for these networks; None: not told.
    """

    def __init__(self, hund, sensing, metadata, detector=None, parts=None, uncertainty=None):
        super().__init__(name="reconstructor")
        self.hund, self.sensing, self.metadata, self.parts, self.uncertainty = hund, sensing, metadata, parts, uncertainty
        self.detector = PersonDetector() if detector is None else detector
        specs = ImageEvidence(*(tf.TensorSpec(shape, tf.float32) for shape in (
            (None, MAP_SIZE, MAP_SIZE, 256), (None, MAP_SIZE, MAP_SIZE, 137), (None, MAP_SIZE, MAP_SIZE, 15),
            (None, 25, 3), (None, 25), (None, 4))))
        self._encode = tf.function(self._encode_eagerly, autograph=False, input_signature=[specs])
        self._step = tf.function(self.hund.neural_descent.cell.__call__, autograph=False, reduce_retracing=True)
        self._judge = tf.function(self._judge_eagerly, autograph=False, reduce_retracing=True)
        self._refine = tf.function(self._refine_eagerly, autograph=False, reduce_retracing=True)
        state = ModelState(*(tf.TensorSpec((None, n), tf.float32) for n in (306, 16, 20, 6, 3)))
        self._pose = tf.function(lambda state: self.hund.body(state, mesh="full"), autograph=False, input_signature=[state])
        points = PartLandmarks(*(tf.TensorSpec(shape, tf.float32) for shape in ((None, 137, 2), (None, 137), (None, 137))))
        self._complete = tf.function(self._complete_eagerly, autograph=False, input_signature=[
            state, points, tf.TensorSpec((None, 4), tf.float32)])

    @property
    def names(self):
        """Names of the 137 keypoints and of the 63 joints: pair of lists."""
        return self.hund.body.keypoint_names, self.hund.body.joint_names

    def reconstruct(self, image, intrinsics=None, boxes=None, num_stages=None, max_people=None, distortion=None, refine=0):
        """Finds the people in a photo and gives each a posed body.

        With `distortion` the photo is straightened first, with the same intrinsics and size, and people are looked for
        there; what a barrel lens shows beyond that frame is not looked at. Camera space is that of the real camera, and
        pixels, in and out, are always those of the photo as given.

        Args:
            image: uint8 `[H, W, 3]`, RGB.
            intrinsics: fx, fy, cx, cy in pixels; `fx = fy = max(H, W)` and the centre if None.
            boxes: `[N, 4]`, x, y, width, height in pixels, to skip the detector.
            num_stages: int, M, of the body's network; the preset's if None.
            max_people: int, keep that many of the best; all if None.
            distortion: 4, 5, 8, 12 or 14 numbers, k1, k2, p1, p2[, k3[, ...]] in OpenCV's order, of the camera
                that `intrinsics` are of. None or zeros: a lens without distortion.
            refine: int, iterations of L-BFGS on the whole of L_u after the descent; slow beside it, and the first photo
                waits for its graph.

        Returns:
            `Reconstruction`; no people is a normal answer.

        Raises:
            ValueError: if an argument breaks its rule; also if `distortion` comes without `intrinsics`, or if the
                map that it makes folds over inside the picture.
        """
        image = arguments.checked_image(image)
        height, width = image.shape[:2]
        arguments.check_count("num_stages", num_stages, 0)
        arguments.check_count("max_people", max_people, 1)
        arguments.check_count("refine", refine, 0)
        if boxes is not None:
            boxes = arguments.checked_boxes(boxes, height, width)
        source = "given"
        if intrinsics is None:
            intrinsics, source = camera.default_intrinsics(height, width), "default (fx = fy = max(H, W))"
        intrinsics = arguments.checked_intrinsics(intrinsics)
        lens = None
        if distortion is not None:
            distortion = lenses.checked_coefficients(distortion)
            if source != "given":
                raise ValueError("`distortion` needs `intrinsics`: it bends rays, and only intrinsics tell which ray a "
                                 "pixel is. Received: `distortion` without `intrinsics`.")
            if np.any(distortion):
                lens = lenses.LensDistortion(distortion, intrinsics, height, width)
        clock = Clock()
        if lens is not None:
            image = lens.undistort_photo(image)
            if boxes is not None:
                boxes = arguments.straight_boxes(boxes, lens, height, width)
            clock.lap("undistortion")
        pixels = tf.constant(image)
        if boxes is None:
            boxes, scores, hints = (x.numpy() for x in self.detector.detect(pixels))
            order = np.argsort(-scores, kind="stable")
            clock.lap("detection")
            seen = sightings.find_people(self.sensing.find_landmarks, pixels, intrinsics, boxes[order], scores[order], clock,
                                         max_people, lens, hints[order])
        else:
            boxes = boxes[:max_people]
            seen = sightings.look(self.sensing.find_landmarks, pixels, intrinsics, boxes, np.ones(len(boxes), np.float32),
                                  lens, clock) if len(boxes) else None
        people = [] if seen is None else self._reconstruct_people(seen, intrinsics, num_stages, clock, lens, refine or 0)
        return Reconstruction((height, width), intrinsics, source, people, clock.laps, distortion, refine or 0)

    def _reconstruct_people(self, seen, intrinsics, num_stages, clock, lens, refine):
        boxes, scores, detected, confidence = (
            np.asarray(x) for x in (seen.boxes, seen.scores, seen.keypoints, seen.landmarks.confidence))
        evidence = self.sensing.describe(seen.landmarks, seen.intrinsics)
        clock.lap("parts", evidence.part_maps)
        summary, context, packed = self._encode(evidence)
        clock.lap("context", context)
        states, reports = self._descend(packed, context, summary, num_stages, clock)
        state, refined = reports[-1].state, [None] * len(boxes)
        if refine:
            state, loss = self._refine(states[-1], summary, tf.constant(refine))
            refined = loss.numpy().tolist()
            clock.lap("refinement")
        state, part_weights = self.complete(state, seen.landmarks, seen.intrinsics)
        if self.parts is not None:
            clock.lap("hands and face", state.theta)
        body = self._pose(state)
        clock.lap("body", body.vertices)
        radii = self.judge_uncertainty(confidence, reports[-1].loss, part_weights)
        keypoints2d = camera.project(
            tf.cast(body.keypoints, tf.float64), np.tile(intrinsics[None], [len(boxes), 1])).numpy()
        if lens is not None:
            keypoints2d, boxes = lens.distort_points(keypoints2d), lens.distort_boxes(boxes).astype(np.float32)
        losses = np.stack([r.loss.numpy() for r in reports], 1)
        packed = np.stack([s.numpy() for s in states], 1)
        columns = [x.numpy() for x in (*state, *body)]
        faces = self.hund.body.faces("full")
        people = []
        for i in range(len(boxes)):
            theta, shape, expression, rotation, translation, vertices, joints, keypoints, turns = (x[i] for x in columns)
            people.append(Person(
                box=boxes[i], score=float(scores[i]),
                state=ModelState(theta, shape, expression, rotation, translation), vertices=vertices, faces=faces,
                joints3d=joints, keypoints3d=keypoints, keypoints2d=keypoints2d[i], keypoint_confidence=confidence[i],
                detected_keypoints2d=detected[i], joint_rotations=turns, stage_losses=losses[i],
                stage_states=packed[i], refined_loss=refined[i], part_weights=part_weights[i].numpy(),
                **{name: values[i].numpy() for name, values in radii.items()}))
        return people

    def complete(self, state, landmarks, intrinsics):
        """Hands and face put into the body's `ModelState`: the person's, and how far each part counted `[B, 3]`."""
        if self.parts is None:
            return state, tf.zeros([tf.shape(state.theta)[0], 3])
        return self._complete(state, part_landmarks(landmarks), intrinsics)

    def _complete_eagerly(self, state, landmarks, intrinsics):
        return self.parts.complete(state, landmarks, intrinsics)

    def judge_uncertainty(self, confidence, loss, part_weights):
        """`keypoint_uncertainty` `[B, 137, 2]` and `joint_uncertainty` `[B, 63, 2]`, metres: dict; empty if not calibrated."""
        if self.uncertainty is None:
            return {}
        radii = self.uncertainty(confidence, loss, part_weights)
        points = len(self.hund.body.keypoint_names)
        return {"keypoint_uncertainty": radii[:, :points], "joint_uncertainty": radii[:, points:]}

    def _descend(self, packed, context, summary, num_stages, clock):
        descent = self.hund.neural_descent
        stages = descent.num_stages if num_stages is None else num_stages
        memory = descent.cell.initial_memory(tf.shape(packed)[0])
        states, reports = [packed], [self._judge(packed, summary)]
        clock.lap("stage 0", reports[-1].loss)
        for i in range(stages):
            packed, memory = self._step(packed, memory, reports[-1].feedback, context)
            states.append(packed)
            reports.append(self._judge(packed, summary))
            clock.lap(f"stage {i + 1}", reports[-1].loss)
        return states, reports

    def _encode_eagerly(self, evidence):
        summary = summarize(evidence)
        context, packed = self.hund.context_encoder(summary, self.hund.codec.initial(tf.shape(evidence.intrinsics)[0]))
        return summary, context, packed

    def _refine_eagerly(self, packed, summary, iterations):
        found = lbfgs.minimize(lambda x: self.hund.objective(x, summary).loss, packed, iterations,
                               scale=starts.natural_steps())
        return self.hund.codec.unpack(found.position, summary.intrinsics, CROP_SIZE), found.loss

    def _judge_eagerly(self, packed, summary):
        return self.hund.objective(packed, summary)


def load_preset(name=presets.PERSON):
    """Loads the preset of a person or of a body alone by name or folder.

    Args:
        name: str, "person", "body" or the path of a preset folder.

    Returns:
        `Reconstructor`.

    Raises:
        FileNotFoundError: if there is no such preset; lists where it was looked for.
        ValueError: if a file's checksum or the weights do not match, or the preset is that of a hand or a face.
    """
    folder = presets.find(name)
    metadata = presets.read_metadata(folder)
    if metadata["kind"] not in (presets.PERSON, presets.BODY):
        raise ValueError(f"`name` must be the preset of a person or a body; load_part loads that of a part. Received: {name!r}, "
                         f"a {metadata['kind']}'s.")
    uncertainty = Uncertainty.load(f"{folder}/{presets.UNCERTAINTY}") if presets.UNCERTAINTY in metadata["sha256"] else None
    if metadata["kind"] == presets.BODY:
        hund, sensing = _load_body(folder, metadata)
        return Reconstructor(hund, sensing, metadata, uncertainty=uncertainty)
    folders = presets.read_members(folder)
    hund, sensing = _load_body(folders[presets.BODY], presets.read_metadata(folders[presets.BODY]))
    parts = PartNetworks(hund.body, *(load_part(folders[kind]) for kind in PARTS))
    return Reconstructor(hund, sensing, metadata, parts=parts, uncertainty=uncertainty)


def load_part(name):
    """Loads the preset of a hand or a face by name or folder.

    Args:
        name: str, "hand", "face" or the path of a preset folder.

    Returns:
        `HundPart`.

    Raises:
        FileNotFoundError, ValueError: as `load_preset`.
    """
    folder = presets.find(name)
    metadata = presets.read_metadata(folder)
    if metadata["kind"] not in PARTS:
        raise ValueError(f"`name` must be the preset of one of {PARTS}. Received: {name!r}, a {metadata['kind']}'s.")
    return _with_weights(HundPart(presets.read_part_config(folder)), folder)


def _load_body(folder, metadata):
    """The network and the sensing of a body's preset."""
    return _with_weights(HundBody(presets.read_config(folder)), folder), load_sensing(folder, metadata["sensing"])


def _with_weights(network, folder):
    network.build_weights()
    network.load_weights(f"{folder}/weights.h5")
    return network


def load_sensing(folder, sensing):
    """The first CNN of a preset folder, by its name in the metadata."""
    weights = f"{folder}/{presets.SENSING_WEIGHTS[sensing]}"
    if sensing == "multitask":
        return MultitaskSensing(multitask_cnn.new(weights))
    return LandmarkSensing(LandmarkNetworks(), part_segmentation.new(weights))


def start_quickly():
    """Tells TensorFlow not to rewrite graphs: a third less waiting for the first photo, the next are no slower.

    It holds for the whole process, so it is for programs, not for libraries: `hund` and tools/benchmark.py call it.
    """
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
