"""A SavedModel with the inputs of an export, its rules and its decoder, and no network: sums in place of people."""

import os

import tensorflow as tf

from hund_tf import arguments
from hund_tf.export import photo_bytes, rules

SIDE = 16  # of a crop; an export's has 480 pixels
UNKNOWN = (-1.0,) * 4


class Photos(tf.Module):
    """`checksum` `[..., P]` holds the sum of a photo's pixels for its one person, zeros after it."""

    def __init__(self, max_people=4):
        super().__init__()
        image = tf.TensorSpec([None, None, 3], tf.uint8, "image")
        camera = tf.TensorSpec([4], tf.float32, "intrinsics")
        counts = [tf.TensorSpec([], tf.int32, name) for name in ("max_people", "num_stages")]

        def serving_default(image_bytes):
            def see(encoded):
                pixels = photo_bytes.decode(encoded)
                return _padded(pixels, max_people), tf.shape(pixels)[:2]

            checksums, sizes = tf.map_fn(see, image_bytes, fn_output_signature=(
                tf.TensorSpec([max_people], tf.int64), tf.TensorSpec([2], tf.int32)))
            return {"checksum": checksums, "image_size": sizes}

        def reconstruct(image, intrinsics=tf.constant(UNKNOWN), max_people=tf.constant(max_people), num_stages=tf.constant(5)):
            image, size, camera_ = _checked(image, intrinsics)
            most = rules.count("max_people", max_people, 1, arguments.MOST_PEOPLE)
            stages = rules.count("num_stages", num_stages, 0, arguments.MOST_STAGES)
            return {"checksum": _padded(image, most), "image_size": size, "intrinsics": camera_, "stages": stages}

        def reconstruct_boxes(image, boxes, intrinsics=tf.constant(UNKNOWN)):
            image, size, camera_ = _checked(image, intrinsics)
            return {"box": rules.boxes_on(boxes, size[0], size[1]), "intrinsics": camera_}

        def reconstruct_crops(crops, intrinsics):
            intrinsics = rules.crop_intrinsics(intrinsics)
            same = tf.equal(tf.shape(crops)[0], tf.shape(intrinsics)[0])
            crops = rules.require(same, "They must be equally many.", [tf.shape(crops), tf.shape(intrinsics)], crops)
            return {"checksum": tf.reduce_sum(tf.cast(crops, tf.int64), [1, 2, 3]), "seen": intrinsics}

        specs = {
            serving_default: [tf.TensorSpec([None], tf.string, "image_bytes")], reconstruct: [image, camera, *counts],
            reconstruct_boxes: [image, tf.TensorSpec([None, 4], tf.float32, "boxes"), camera],
            reconstruct_crops: [tf.TensorSpec([None, SIDE, SIDE, 3], tf.uint8, "crops"),
                                tf.TensorSpec([None, 4], tf.float32, "intrinsics")]}
        self.functions = {function.__name__: tf.function(function, autograph=False, input_signature=inputs)
                          for function, inputs in specs.items()}


def save(base, version=1):
    """Writes base/<version>; returns its path."""
    path = os.path.join(base, str(version))
    model = Photos()
    tf.saved_model.save(model, path, signatures=model.functions)
    return path


def _checked(image, intrinsics):
    image = rules.photo(image)
    size = tf.shape(image)[:2]
    return image, size, rules.intrinsics_or_default(intrinsics, size[0], size[1])


def _padded(image, rows):
    return tf.pad(tf.reduce_sum(tf.cast(image, tf.int64))[None], [[0, rows - 1]])
