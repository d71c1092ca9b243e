"""A `Reconstructor` in, the functions of its SavedModel out: from photo to mesh in one TensorFlow graph."""

import inspect

import tensorflow as tf

from hund_tf import arguments
from hund_tf.export import photo_bytes, rules
from hund_tf.geometry import camera
from hund_tf.networks.context_encoder import summarize
from hund_tf.sensing import sightings
from hund_tf.sensing.batches import at_least_one
from hund_tf.sensing.crops import CROP_SIZE

MAX_PEOPLE = 8  # whom `serving_default` gives back at most, unless the export says otherwise
_AT_ONCE = 4  # photos of a batch that are looked at beside each other
_UNKNOWN = (-1.0,) * 4
_PHOTO, _CAMERA = tf.TensorSpec([None, None, 3], tf.uint8, "image"), tf.TensorSpec([4], tf.float64)
_BOXES, _SCORES = tf.TensorSpec([None, 4], tf.float32, "boxes"), tf.TensorSpec([None], tf.float32)
_HINTS, _COUNT = tf.TensorSpec([None, 17, 3], tf.float32, "hints"), tf.TensorSpec([], tf.int32)
_INPUTS = {
    "image_bytes": tf.TensorSpec([None], tf.string, "image_bytes"), "image": _PHOTO, "boxes": _BOXES,
    "max_people": tf.TensorSpec([], tf.int32, "max_people"), "num_stages": tf.TensorSpec([], tf.int32, "num_stages"),
    "crops": tf.TensorSpec([None, CROP_SIZE, CROP_SIZE, 3], tf.uint8, "crops"),
}


class ServedReconstructor(tf.Module):
    """The signatures of an export: a batch of encoded photos, one photo, one with boxes, a batch of crops, a description.

    Letters: B photos or crops, P people with rows of zeros after `num_people`, N boxes, M stages, V vertices.

    Args:
        reconstructor: `Reconstructor`, of a preset.
        names: dict of str, what `describe` says of the model beside faces and names: preset, version.
        max_people: int, P of `serving_default`, and the default of `reconstruct`.

    Attributes:
        functions: dict of name to `tf.function`, to be saved as signatures.
        variables_of_networks: list, what the functions read.
    """

    def __init__(self, reconstructor, names, max_people=MAX_PEOPLE):
        super().__init__(name="served_reconstructor")
        line = _Line(reconstructor)
        stages = reconstructor.hund.neural_descent.num_stages
        parts = () if reconstructor.parts is None else reconstructor.parts.variables
        self.variables_of_networks = [*reconstructor.hund.variables, *parts, *line.sensing_variables]

        def serving_default(image_bytes):
            return line.photos(image_bytes, tf.constant(max_people), tf.constant(stages))

        # defaults that are tensors stand in the SavedModel: inputs that a request may leave out
        def reconstruct(image, intrinsics=tf.constant(_UNKNOWN), max_people=tf.constant(max_people),
                        num_stages=tf.constant(stages)):
            image, size, photo_camera = line.photo(image, intrinsics)
            most = rules.count("max_people", max_people, 1, arguments.MOST_PEOPLE)
            return line.one_photo(line.find(image, photo_camera, most), size, photo_camera, most, num_stages)

        def reconstruct_boxes(image, boxes, intrinsics=tf.constant(_UNKNOWN), num_stages=tf.constant(stages)):
            image, size, photo_camera = line.photo(image, intrinsics)
            boxes = rules.boxes_on(boxes, size[0], size[1])
            seen = line.look(image, photo_camera, boxes, tf.ones_like(boxes[:, 0]), tf.zeros([tf.shape(boxes)[0], 17, 3]))
            return line.one_photo(seen, size, photo_camera, tf.shape(boxes)[0], num_stages)

        def reconstruct_crops(crops, intrinsics):
            return line.crops(crops, rules.crop_intrinsics(intrinsics), tf.constant(stages))

        def describe():
            body = reconstructor.hund.body
            return {"faces": tf.constant(body.faces("full"), tf.int32), "keypoint_names": tf.constant(body.keypoint_names),
                    "joint_names": tf.constant(body.joint_names),
                    **{name: tf.constant(text) for name, text in names.items()}}

        self.functions = {
            function.__name__: tf.function(function, autograph=False, input_signature=_specs(function))
            for function in (serving_default, reconstruct, reconstruct_boxes, reconstruct_crops, describe)}


def _specs(function):
    """`tf.TensorSpec`s of a signature's inputs, by their names."""
    names = list(inspect.signature(function).parameters)
    intrinsics = tf.TensorSpec([None, 4] if "crops" in names else [4], tf.float32, "intrinsics")
    return [intrinsics if name == "intrinsics" else _INPUTS[name] for name in names]


class _Line:
    """The steps of `Reconstructor.reconstruct` as functions of tensors."""

    def __init__(self, reconstructor):
        self._reconstructor = reconstructor
        self._hund, self._sensing, self._detector = reconstructor.hund, reconstructor.sensing, reconstructor.detector
        self.sensing_variables = [*self._sensing.variables, *self._detector.variables]
        # one trace each, whoever calls
        self.find = tf.function(self._find_eagerly, autograph=False, input_signature=[_PHOTO, _CAMERA, _COUNT])
        self.look = tf.function(self._look_eagerly, autograph=False, input_signature=[
            _PHOTO, _CAMERA, _BOXES, _SCORES, _HINTS])
        self._solve = tf.function(self._solve_eagerly, autograph=False, reduce_retracing=True)

    def photo(self, image, intrinsics):
        """The photo, its height and width int32 `[2]`, and its camera float64 `[4]`, all checked."""
        image = rules.photo(image)
        size = tf.shape(image)[:2]
        return image, size, rules.intrinsics_or_default(intrinsics, size[0], size[1])

    def photos(self, image_bytes, most, num_stages):
        """Encoded photos `[B]` -> outputs `[B, P, ...]`; photos one by one, then everybody in them at once."""
        def see(encoded):
            image, size, photo_camera = self.photo(photo_bytes.decode(encoded), tf.constant(_UNKNOWN))
            return self.find(image, photo_camera, most), size, photo_camera

        count = tf.shape(image_bytes)[0]
        kinds = tf.function(see, autograph=False).get_concrete_function(tf.TensorSpec([], tf.string)).structured_outputs
        arrays = [tf.TensorArray(kind.dtype, count, element_shape=kind.shape, infer_shape=False)
                  for kind in tf.nest.flatten(kinds)]

        def step(i, arrays):
            values = tf.nest.flatten(see(image_bytes[i]))
            return i + 1, [array.write(i, value) for array, value in zip(arrays, values)]

        _, arrays = tf.while_loop(lambda i, _: i < count, step, [0, arrays], parallel_iterations=_AT_ONCE)
        rows = tf.map_fn(lambda i: tf.shape(arrays[0].read(i))[0], tf.range(count), fn_output_signature=tf.int32)
        seen, size, photo_camera = tf.nest.pack_sequence_as(kinds, arrays)
        seen = tf.nest.map_structure(lambda array: array.concat(), seen)
        size, photo_camera = tf.reshape(size.stack(), [-1, 2]), tf.reshape(photo_camera.stack(), [-1, 4])
        photo = tf.repeat(tf.range(count), rows)
        outputs = self._people(seen, tf.gather(photo_camera, photo), num_stages)
        place = tf.stack([photo, tf.range(tf.shape(photo)[0]) - tf.gather(tf.cumsum(rows, exclusive=True), photo)], -1)

        def spread(values):
            return tf.scatter_nd(place, values, tf.concat([[count, most], tf.shape(values)[1:]], 0))

        return {**{name: spread(values) for name, values in outputs.items()},
                "num_people": rows, "intrinsics": photo_camera, "image_size": size}

    def one_photo(self, seen, size, photo_camera, most, num_stages):
        """`Sightings` in one photo -> outputs `[P, ...]`."""
        num_stages = rules.count("num_stages", num_stages, 0, arguments.MOST_STAGES)
        found = tf.shape(seen.scores)[0]
        outputs = self._people(seen, tf.tile(photo_camera[None], [found, 1]), num_stages)
        outputs = {name: tf.pad(values, [[0, most - found]] + [[0, 0]] * (values.shape.rank - 1))
                   for name, values in outputs.items()}
        return {**outputs, "num_people": found, "intrinsics": photo_camera, "image_size": size}

    def crops(self, crops, intrinsics, num_stages):
        """Crops `[B, 480, 480, 3]` and their intrinsics -> outputs `[B, ...]`; all pixels are those of the crops."""
        same = tf.equal(tf.shape(crops)[0], tf.shape(intrinsics)[0])
        crops = rules.require(same, "`crops` and `intrinsics` must be of equally many.",
                              [tf.shape(crops)[0], "and", tf.shape(intrinsics)[0]], crops)
        count = tf.shape(crops)[0]
        crops, intrinsics = at_least_one(crops), at_least_one(intrinsics)
        landmarks = self._sensing.find_landmarks(crops)
        outputs = {**self._solve(landmarks, intrinsics, tf.cast(intrinsics, tf.float64), num_stages),
                   "detected_keypoints2d": tf.cast(landmarks.keypoints, tf.float64),
                   "keypoint_confidence": landmarks.confidence}
        return {name: values[:count] for name, values in outputs.items()}

    def _find_eagerly(self, image, photo_camera, most):
        """As `sightings.find_people`: whom the detector finds, at most so many."""
        boxes, scores, hints = self._detector.find(image)
        order = tf.argsort(scores, direction="DESCENDING", stable=True)
        boxes, scores, hints = (tf.gather(values, order) for values in (boxes, scores, hints))

        kinds = self.look.get_concrete_function().structured_outputs
        shapes = tf.nest.map_structure(lambda kind: kind.shape, kinds)

        def blank(count):
            return tf.nest.map_structure(lambda kind: tf.zeros([count, *kind.shape[1:]], kind.dtype), kinds)

        def more(start, seen):
            return (start < tf.shape(scores)[0]) & (tf.shape(seen.scores)[0] < most)

        def step(start, seen):
            some = [values[start:start + most] for values in (boxes, scores, hints)]

            def turn(rows, again, found):
                mine, sure, places = (tf.gather(values, rows) for values in some)
                looks = self.look(image, photo_camera, mine, sure, places * tf.cast(again, tf.float32))
                found = sightings.replaced(found, rows[:, None], looks)
                lost = sightings.overlooked(found.looks, found.scores, seen.looks) & ~again
                return tf.where(lost)[:, 0], tf.constant(True), found

            count = tf.shape(some[0])[0]
            # one look in the graph, whose first run takes the longer the larger it is; who is overlooked has a second turn
            _, _, found = tf.while_loop(
                lambda rows, *_: tf.size(rows) > 0, turn, [tf.range(count, dtype=tf.int64), tf.constant(False), blank(count)],
                shape_invariants=[tf.TensorShape([None]), tf.TensorShape([]), shapes])
            new = sightings.new_people(found, seen.looks)
            return start + most, tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), seen, new)

        _, seen = tf.while_loop(more, step, [0, blank(0)], shape_invariants=[tf.TensorShape([]), shapes])
        return tf.nest.map_structure(lambda values: values[:most], seen)

    def _look_eagerly(self, image, photo_camera, boxes, scores, hints):
        """`Sightings` in boxes, of whom hints show, whoever it is, and of whomever the networks see best where those are 0."""
        some = [at_least_one(values) for values in (boxes, scores, hints)]
        seen = sightings.look(self._sensing.find_landmarks, image, photo_camera, *some[:2], hints=some[2])
        return tf.nest.map_structure(lambda values: values[:tf.shape(scores)[0]], seen)

    def _people(self, seen, photo_camera, num_stages):
        some = tf.nest.map_structure(at_least_one, (seen.landmarks, seen.intrinsics, photo_camera))
        outputs = {name: values[:tf.shape(seen.scores)[0]] for name, values in self._solve(*some, num_stages).items()}
        return {"box": seen.boxes, "score": seen.scores, "detected_keypoints2d": seen.keypoints,
                "keypoint_confidence": seen.landmarks.confidence, **outputs}

    def _solve_eagerly(self, landmarks, crop_intrinsics, photo_camera, num_stages):
        """Evidence of N crops to bodies: dict of `[N, ...]`; `photo_camera` `[N, 4]` float64 projects `keypoints2d`."""
        hund, count = self._hund, tf.shape(crop_intrinsics)[0]
        summary = summarize(self._sensing.describe(landmarks, crop_intrinsics))
        context, packed = hund.context_encoder(summary, hund.codec.initial(count))
        report, cell = hund.objective(packed, summary), hund.neural_descent.cell
        states, losses = (
            tf.TensorArray(tf.float32, num_stages + 1, element_shape=shape, infer_shape=False).write(0, first)
            for shape, first in (([None, hund.codec.size], packed), ([None], report.loss)))

        def step(i, packed, memory, feedback, states, losses):
            packed, memory = cell(packed, memory, feedback, context)
            report = hund.objective(packed, summary)
            return i + 1, packed, memory, report.feedback, states.write(i + 1, packed), losses.write(i + 1, report.loss)

        _, packed, _, _, states, losses = tf.while_loop(
            lambda i, *_: i < num_stages, step, [0, packed, cell.initial_memory(count), report.feedback, states, losses],
            parallel_iterations=1)
        state = hund.codec.unpack(packed, crop_intrinsics, CROP_SIZE)
        state, part_weights = self._reconstructor.complete(state, landmarks, crop_intrinsics)
        body, losses = hund.body(state, mesh="full"), tf.transpose(losses.stack(), [1, 0])
        return {"vertices": body.vertices, "joints3d": body.joints, "keypoints3d": body.keypoints,
                "keypoints2d": camera.project(tf.cast(body.keypoints, tf.float64), photo_camera),
                "joint_rotations": body.joint_rotations, **state._asdict(),
                "stage_states": tf.transpose(states.stack(), [1, 0, 2]), "stage_losses": losses, "part_weights": part_weights,
                **self._reconstructor.judge_uncertainty(landmarks.confidence, losses[:, -1], part_weights)}
