"""What the exported graph asks of its inputs; one that breaks a rule is answered with INVALID_ARGUMENT and the rule."""

import tensorflow as tf

from hund_tf import arguments, images


def require(condition, rule, received, *values):
    """The values, once the condition holds.

    Args:
        condition: bool `[]`.
        rule: str, a sentence.
        received: list of tensors or str, what came.
        *values: tensors that may only be used then.

    Returns:
        The values, one or a list of them; their use waits for the check.
    """
    with tf.control_dependencies([tf.debugging.Assert(condition, [f"{rule} Received:", *received], summarize=8)]):
        checked = [tf.identity(value) for value in values]
    return checked[0] if len(checked) == 1 else checked


def size_of_photo(height, width):
    """Height and width, int64 `[]`, of a photo that is neither too small nor too large."""
    fits = ((tf.minimum(height, width) >= images.MIN_SIDE) & (tf.maximum(height, width) <= images.MAX_SIDE)
            & (height * width <= images.MAX_PIXELS))
    return require(fits, images.SIZE_RULE, [width, "x", height, "pixels."], height, width)


def photo(image):
    """uint8 `[H, W, 3]` of a size that can be looked at."""
    size = tf.shape(image, tf.int64)
    with tf.control_dependencies(size_of_photo(size[0], size[1])):
        return tf.identity(image)


def intrinsics_or_default(intrinsics, height, width):
    """float32 `[4]`, all -1 for unknown -> float64 `[4]`, as `camera.default_intrinsics` where unknown."""
    values, size = tf.cast(intrinsics, tf.float64), tf.cast([width, height], tf.float64)
    unknown = tf.reduce_all(tf.equal(values, -1.0))
    focal = tf.reduce_max(size)
    values = tf.where(unknown, tf.concat([[focal, focal], size / 2], 0), values)
    return require(_are_intrinsics(values), f"`intrinsics` must be {arguments.INTRINSICS_RULE}; or all -1, unknown.",
                   [intrinsics], values)


def crop_intrinsics(intrinsics):
    """float32 `[B, 4]`, of crops."""
    return require(_are_intrinsics(intrinsics), f"`intrinsics` must each be {arguments.INTRINSICS_RULE}.", [intrinsics],
                   intrinsics)


def boxes_on(boxes, height, width):
    """float32 `[N, 4]`: x, y, width, height in pixels; each overlaps the photo."""
    low, extent = boxes[:, :2], boxes[:, 2:]
    size = tf.cast([width, height], tf.float32)
    right = tf.reduce_all(tf.math.is_finite(boxes)) & tf.reduce_all(extent > 0)
    boxes = require(right, f"`boxes` must be {arguments.BOXES_RULE}.", [boxes], boxes)
    there = tf.reduce_all(tf.maximum(low, 0.0) < tf.minimum(low + extent, size)) & tf.reduce_all(
        extent <= arguments.WIDEST_BOX * tf.reduce_max(size))
    few = tf.shape(boxes)[0] <= arguments.MOST_PEOPLE
    boxes = require(few, f"There must be at most {arguments.MOST_PEOPLE} boxes.", [tf.shape(boxes)[0]], boxes)
    return require(there, "A box must overlap the photo and be at most "
                   f"{arguments.WIDEST_BOX} times as large.", [boxes], boxes)


def count(name, value, least, most):
    """int32 `[]` from `least` to `most`."""
    return require((value >= least) & (value <= most), f"`{name}` must be from {least} to {most}.", [value], value)


def _are_intrinsics(values):
    return tf.reduce_all(tf.abs(values) < 1e9) & tf.reduce_all(values[..., :2] > 0)
