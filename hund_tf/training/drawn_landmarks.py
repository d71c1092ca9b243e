"""The landmark network's 3D estimate as it errs on photos: true points of a body in, drawn ones out.

The network cannot know how tall a person is and says the same of all: on photos the bones of its estimates are those of
one average body, nearly to the centimetre, whoever is seen. A network taught with true lengths would look for them in vain.
"""

import tensorflow as tf

SMALL_TOES = (20, 23)  # no detector of ours sees them
# BODY_25 as a tree from the mid-hip, which is its own parent; and an order in which parents come first.
_PARENTS = (1, 8, 1, 2, 3, 1, 5, 6, 8, 8, 9, 10, 8, 12, 13, 0, 0, 15, 16, 14, 14, 14, 11, 11, 11)
_OUTWARD = (8, 1, 0, 2, 5, 9, 12, 15, 16, 17, 18, 3, 6, 4, 7, 10, 13, 11, 14, 19, 20, 21, 22, 23, 24)
# Errors of the 3D estimate: how much a bone's direction strays beside a thigh's, and its length (share). The lines of hips
# and of shoulders turn as one, with opposite signs; so does the face with the neck.
_LIMB_ERROR = (.5, .35, .5, 1.2, 1.6, .5, 1.2, 1.6, 0., .6, 1., 1.1, .6, 1., 1.1, .2, .2, .2, .2, .8, .8, .8, .8, .8, .8)
_BONE_ERROR = (.05, .05, .08, .04, .09, .08, .04, .09, 0., .08, .02, .02, .08, .02, .02, *(.05,) * 10)
# Lengths of its bones on photos (metres, medians; tools/compare_evidence.py), but for the neck and the small toes. Its face
# and feet are small.
_BONE_LENGTH = (.24, .477, .148, .247, .222, .148, .247, .222, .0, .091, .368, .393, .091, .368, .393, .029, .029, .128, .128,
                .103, .1, .036, .103, .1, .036)
_ROOT, _FACE = 8, (0, 15, 16, 17, 18)
_WILD = .25  # metres; points that a detector put so far off are not followed
_LARGER = 1.05  # than the best fit, which strayed bones make small: so legs of upright people are as long as on photos
_SAME_TURN = (0, 1, 2, 3, 4, 2, 6, 7, 8, 9, 10, 11, 9, 13, 14, 15, 15, 17, 17, 19, 19, 19, 22, 22, 22)
_TURN_SIGN = tuple(-1.0 if i in (5, 12, 16, 18) else 1.0 for i in range(25))


def draw_estimate(points, shift, image, guessed, outside, draw, batch, noise):
    """The landmark network's 3D estimate: bones of an average body that follow what is seen in the image, tilted,
    flattened, and wrong above all in how far limbs reach towards the camera. Leaning heads and bent knees are habits that
    it shows on photos of people who stand (tools/compare_evidence.py).

    Args:
        points: `[B, 25, 3]`, true BODY_25 points in the frame of the ray through the crop's centre, metres.
        shift: `[B, 25, 2]`, errors of the detected 2D points, metres at the body.
        image: `[B, 25, 2]`, the detected points in the image, in any unit.
        guessed, outside: bool `[B, 25]`, points that detectors guess, and those off the photo.
        draw: source of random numbers, as in `evidence`.
        batch: B.
        noise: float, scale of every error.

    Returns:
        `[B, 25, 3]` metres, the mid-hip at 0, and confidence `[B, 25]`.
    """
    size = tf.exp(.6 * draw.normal(batch, 1, 1)) * tf.where(guessed, 1.8, 1.0)[..., None] * noise
    turn = draw.normal(batch, 25, 3) * tf.constant([.03, .03, .15]) * tf.constant(_LIMB_ERROR)[:, None] * size
    turn = tf.gather(turn, _SAME_TURN, axis=1) * tf.constant(_TURN_SIGN)[:, None]
    stretch = 1.0 + draw.normal(batch, 25, 1) * tf.constant(_BONE_ERROR)[:, None] * noise
    stretch = tf.gather(stretch, _SAME_TURN, axis=1)
    bones = points - tf.gather(points, _PARENTS, axis=1)
    length = tf.norm(bones, axis=-1, keepdims=True)
    usual = tf.constant(_BONE_LENGTH)[:, None] / tf.maximum(length, 1e-6)
    stretch *= tf.pow(tf.maximum(usual, 1e-3), tf.minimum(noise, 1.0))
    follow = tf.pad(shift, [[0, 0], [0, 0], [0, 1]]) * .85
    bent = _bent_knees(bones, draw, batch) * noise
    bones += length * turn + follow - tf.gather(follow, _PARENTS, axis=1)
    bones += tf.concat([tf.zeros_like(bones[..., :2]), bent], -1)
    length *= stretch
    bones *= length / tf.maximum(tf.norm(bones, axis=-1, keepdims=True), 1e-6)
    points = _chained(bones + _low_head(bones, draw, batch) * noise)
    x, y, z = tf.split(points, 3, -1)
    angles = (draw.normal(batch, 3) * tf.constant([.08, .05, .015]) + tf.constant([.13, 0., 0.])) * noise
    for axis in range(3):
        c, s = tf.cos(angles[:, axis, None, None]), tf.sin(angles[:, axis, None, None])
        if axis == 0:
            y, z = c * y - s * z, s * y + c * z
        elif axis == 1:
            x, z = c * x + s * z, c * z - s * x
        else:
            x, y = c * x - s * y, s * x + c * y
    flatten = 1.0 + (draw.uniform(.7, 1.1, batch, 1, 1) - 1.0) * noise
    flat = _as_seen(tf.concat([x, y], -1), image, guessed, noise)
    points = _with_length(tf.concat([flat, z * flatten], -1), length, noise) * (1.0 + .02 * noise * draw.normal(batch, 1, 1))
    wrong = draw.chance(.02 * noise, batch, 1, 1)
    points = tf.where(wrong, tf.roll(points, 1, 0), points)
    known = ~draw.chance(.02, batch, 1)
    seen = tf.constant([0.0 if i in SMALL_TOES else 1.0 for i in range(25)])
    sure = tf.where(guessed, draw.uniform(.0, .95, batch, 25), draw.uniform(.85, 1.0, batch, 25))
    sure *= tf.where(outside & draw.chance(.7, batch, 25), .1, 1.0)
    return points, sure * tf.cast(known, tf.float32) * seen


def _as_seen(points, image, guessed, noise):
    """Points as seen from the front `[B, 25, 2]`, moved to where the image has them: on photos they agree within 1 %."""
    image -= image[:, _ROOT:_ROOT + 1]
    weight = tf.where(guessed, .05, 1.0)[..., None]
    scale = (tf.reduce_sum(weight * image * points, [1, 2], keepdims=True)
             / tf.maximum(tf.reduce_sum(weight * image * image, [1, 2], keepdims=True), 1e-6))
    away = image * (scale * _LARGER) - points
    share = tf.where(guessed, .3, .8)[..., None] * tf.cast(tf.norm(away, axis=-1, keepdims=True) < _WILD, tf.float32)
    return points + away * share * tf.minimum(noise, 1.0)


def _with_length(points, length, noise):
    """Points whose bones reach so far towards the camera or away from it that they keep their length."""
    bones = points - tf.gather(points, _PARENTS, axis=1)
    depth = tf.sqrt(tf.nn.relu(tf.square(length) - tf.reduce_sum(tf.square(bones[..., :2]), -1, keepdims=True)))
    held = tf.constant([0.0 if i in _FACE else .8 for i in range(25)])[:, None] * tf.minimum(noise, 1.0)
    z = bones[..., 2:] + (tf.sign(bones[..., 2:]) * depth - bones[..., 2:]) * held
    return _chained(tf.concat([bones[..., :2], z], -1))


def _facing(bones):
    """1 for who faces the camera, -1 for who turns the back to it: `[B, 1]`."""
    shoulders = bones[:, 5] - bones[:, 2]
    return shoulders[:, :1] / tf.maximum(tf.norm(shoulders, axis=-1, keepdims=True), 1e-6)


def _bent_knees(bones, draw, batch):
    """The network's habit of bending straight knees of people who face the camera, as depth added to bones `[B, 25, 1]`."""
    facing = _facing(bones)
    thighs, shins = -(.08 + .16 * facing), .14 + .12 * facing
    habit = [tf.zeros_like(facing)] * 25
    for i in (10, 13):
        habit[i], habit[i + 1] = thighs, shins
    return tf.stack(habit, 1) * tf.abs(bones[..., 1:2]) * draw.uniform(.3, 1.5, batch, 1, 1)


def _low_head(bones, draw, batch):
    """The network's habit of a face low and far in front of the shoulders, as a shift of the nose `[B, 25, 3]`."""
    towards_camera = (.10 + .04 * _facing(bones)) * draw.uniform(.4, 1.6, batch, 1)
    shift = tf.stack([tf.zeros_like(towards_camera), .05 * tf.ones_like(towards_camera), -towards_camera], -1)  # [B, 1, 3]
    nose = tf.constant([[[1.0 if i == 0 else 0.0]] for i in range(25)])[:, 0][None]
    return shift * nose


def _chained(bones):
    """Bones `[B, 25, 3]`, each from its parent, to points relative to the mid-hip."""
    points = [None] * 25
    for i in _OUTWARD:
        points[i] = bones[:, i] if i == 8 else points[_PARENTS[i]] + bones[:, i]
    return tf.stack(points, axis=1)
