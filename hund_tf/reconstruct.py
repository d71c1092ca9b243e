"""A photo in, a posed body for every person out: detector, crops, evidence, descent, one 3D scene."""

import numpy as np
import tensorflow as tf

from hund_tf import arguments, presets
from hund_tf import distortion as lenses
from hund_tf.clock import Clock
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


class Reconstructor(tf.Module):
    """The whole line from photo to bodies, of one preset.

    Args:
        hund: `HundBody`, with weights.
        sensing: `LandmarkSensing` or `MultitaskSensing`: its `find_landmarks(crops)` gives at least `keypoints` and
            `confidence`, and its `describe(landmarks, intrinsics)` makes `ImageEvidence` of that.
        metadata: dict, of the preset.
        detector: `PersonDetector`; the packaged one if None.
    """

    def __init__(self, hund, sensing, metadata, detector=None):
        super().__init__(name="reconstructor")
        self.hund, self.sensing, self.metadata = hund, sensing, metadata
        self.detector = PersonDetector() if detector is None else detector
        specs = ImageEvidence(*(tf.TensorSpec(shape, tf.float32) for shape in (
            (None, MAP_SIZE, MAP_SIZE, 256), (None, MAP_SIZE, MAP_SIZE, 137), (None, MAP_SIZE, MAP_SIZE, 15),
            (None, 25, 3), (None, 25), (None, 4))))
        self._encode = tf.function(self._encode_eagerly, autograph=False, input_signature=[specs])
        self._step = tf.function(self.hund.neural_descent.cell.__call__, autograph=False, reduce_retracing=True)
        self._judge = tf.function(self._judge_eagerly, autograph=False, reduce_retracing=True)
        self._refine = tf.function(self._refine_eagerly, autograph=False, reduce_retracing=True)
        self._pose = tf.function(lambda state: self.hund.body(state, mesh="full"), autograph=False, input_signature=[
            ModelState(*(tf.TensorSpec((None, n), tf.float32) for n in (306, 16, 20, 6, 3)))])

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
            num_stages: int, M; the preset's if None.
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
            boxes, scores = (x.numpy() for x in self.detector(pixels))
            order = np.argsort(-scores, kind="stable")
            clock.lap("detection")
            seen = sightings.find_people(self.sensing.find_landmarks, pixels, intrinsics, boxes[order], scores[order], clock,
                                         max_people, lens)
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
        body = self._pose(state)
        clock.lap("body", body.vertices)
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
                stage_states=packed[i], refined_loss=refined[i]))
        return people

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


def load_preset(name="body"):
    """Loads a preset by name or folder.

    Args:
        name: str, "body" or the path of a preset folder.

    Returns:
        `Reconstructor`.

    Raises:
        FileNotFoundError: if there is no such preset; lists where it was looked for.
        ValueError: if a file's checksum or the weights do not match.
    """
    folder = presets.find(name)
    metadata = presets.read_metadata(folder)
    hund = HundBody(presets.read_config(folder))
    hund.build_weights()
    hund.load_weights(f"{folder}/weights.h5")
    return Reconstructor(hund, load_sensing(folder, metadata["sensing"]), metadata)


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
