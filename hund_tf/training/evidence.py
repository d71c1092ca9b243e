"""Degraded evidence: what is true of a scene in, what detectors would say of it out.

The figures are those of real detectors: 2 to 3 % of the box with outliers, drop-outs, swapped
sides, and a 3D estimate with structured error of about 79 mm after Procrustes alignment.
"""

from typing import NamedTuple

import tensorflow as tf

from hund_tf.sensing.heatmaps import CROP_SIZE

# How much harder than the average each BODY_25 point is to find.
_HARDNESS = (.4, .8, .8, .9, 1.1, .8, .9, 1.1, .9, 1.2, 1., 1.1, 1.2, 1., 1.1, .35, .35, .4, .4, 1.2, 1.2, 1.1, 1.2, 1.2, 1.1)
_STEADY = (0, 1, 2, 5, 15, 16, 17, 18)  # nearly always found where the photo shows them
_SMALL_TOES = (20, 23)  # no detector of ours sees them
_SWAPS = (  # left-right confusions and how often: legs, lower legs, arms, all
    (.015, ((10, 13), (11, 14), (19, 22), (21, 24))), (.01, ((11, 14), (19, 22), (21, 24))),
    (.01, ((3, 6), (4, 7))), (.01, ((4, 7),)),
    (.012, ((2, 5), (3, 6), (4, 7), (9, 12), (10, 13), (11, 14), (19, 22), (21, 24), (15, 16), (17, 18))))
# BODY_25 as a tree from the mid-hip, which is its own parent; and an order in which parents come first.
_PARENTS = (1, 8, 1, 2, 3, 1, 5, 6, 8, 8, 9, 10, 8, 12, 13, 0, 0, 15, 16, 14, 14, 14, 11, 11, 11)
_OUTWARD = (8, 1, 0, 2, 5, 9, 12, 15, 16, 17, 18, 3, 6, 4, 7, 10, 13, 11, 14, 19, 20, 21, 22, 23, 24)
# Errors of the 3D estimate: how much a bone's direction strays beside a thigh's, and its length (share). The lines of hips
# and of shoulders turn as one, with opposite signs; so does the face with the neck.
_LIMB_ERROR = (.5, .35, .5, 1.2, 1.6, .5, 1.2, 1.6, 0., .6, 1., 1.1, .6, 1., 1.1, .2, .2, .2, .2, .8, .8, .8, .8, .8, .8)
_BONE_ERROR = (.05, .05, .08, .04, .09, .08, .04, .09, 0., .08, .02, .02, .08, .02, .02, *(.05,) * 10)
_SAME_TURN = (0, 1, 2, 3, 4, 2, 6, 7, 8, 9, 10, 11, 9, 13, 14, 15, 15, 17, 17, 19, 19, 19, 22, 22, 22)
_TURN_SIGN = tuple(-1.0 if i in (5, 12, 16, 18) else 1.0 for i in range(25))


class DetectedEvidence(NamedTuple):
    """Detections of one crop.

    Attributes:
        keypoints: `[B, 137, 2]`, pixels of the crop.
        confidence: `[B, 137]`, 0 where unseen.
        person_mask: `[B, 60, 60]` in [0, 1].
        part_labels: int32 `[B, 60, 60]`, true labels of what is seen (occluders removed).
        landmarks3d: `[B, 25, 3]`, metres, mid-hip centred.
        landmarks3d_confidence: `[B, 25]`.
    """

    keypoints: tf.Tensor
    confidence: tf.Tensor
    person_mask: tf.Tensor
    part_labels: tf.Tensor
    landmarks3d: tf.Tensor
    landmarks3d_confidence: tf.Tensor


class _Draws:
    """Random numbers of one seed, a new stream at each call."""

    def __init__(self, seed):
        self._seed, self._count = seed, 0

    def _next(self):
        self._count += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._count)

    def normal(self, *shape):
        return tf.random.stateless_normal(shape, self._next())

    def uniform(self, low, high, *shape):
        return tf.random.stateless_uniform(shape, self._next(), low, high)

    def chance(self, share, *shape):
        return self.uniform(0.0, 1.0, *shape) < share


def detect(scene, points_ray, seed, noise=1.0):
    """Says of a scene what detectors would say.

    Args:
        scene: dict with `keypoints` `[B, 137, 2]`, `image_bounds` `[B, 4]`, `part_labels` `[B, 60, 60]`.
        points_ray: `[B, 25, 3]`, true BODY_25 points in the frame of the ray through the crop's centre, metres.
        seed: int tensor `[2]`.
        noise: float, scale of every error; at 0 places are exact, but faces, hands and 3D estimates are still
            missing now and then.

    Returns:
        `DetectedEvidence`.
    """
    draw = _Draws(seed)
    batch = tf.shape(scene["keypoints"])[0]
    truth = scene["keypoints"]
    body = truth[:, :25]
    box = tf.reduce_max(tf.reduce_max(body, 1) - tf.reduce_min(body, 1), -1)[:, None, None]
    box = tf.minimum(box, CROP_SIZE)
    hidden, occluder = _occluders(truth, draw, batch, noise)
    outside = ~_inside(body, scene["image_bounds"])
    guessed = _guessed(hidden[:, :25], outside, draw, batch, noise)
    found = _misplaced(_redefined(body, draw, batch, noise), guessed, box, draw, batch, noise)
    found, pressed = _pressed_in(found, outside, box, scene["image_bounds"], draw, batch, noise)
    confidence = _body_confidence(body, found, box, guessed, outside & ~pressed, pressed, scene["image_bounds"], draw, batch, noise)
    face, face_confidence = _cluster(truth[:, 25:95], .012, .45, scene["image_bounds"], hidden[:, 25:95], draw, batch, noise)
    hands = [_cluster(truth[:, a:b], .05, .6, scene["image_bounds"], hidden[:, a:b], draw, batch, noise)
             for a, b in ((95, 116), (116, 137))]
    labels = tf.where(occluder, 0, tf.cast(scene["part_labels"], tf.int32))
    shift = _shift_in_metres(found - body, points_ray, box)
    landmarks3d, landmarks3d_confidence = _landmarks3d(points_ray, shift, guessed, outside, draw, batch, noise)
    return DetectedEvidence(
        keypoints=tf.concat([found, face, hands[0][0], hands[1][0]], 1),
        confidence=tf.concat([confidence, face_confidence, hands[0][1], hands[1][1]], 1),
        person_mask=_mask(labels, draw, batch, noise), part_labels=labels,
        landmarks3d=landmarks3d, landmarks3d_confidence=landmarks3d_confidence)


def _redefined(body, draw, batch, noise):
    """Hips and shoulders as detectors place them, 30 to 60 mm from where a skeleton has them."""
    points = tf.unstack(body, axis=1)
    up = points[1] - points[8]
    for right, left, low, high, lift in ((9, 12, -.15, .5, .015), (2, 5, -.15, .15, -.01)):
        half = (points[left] - points[right]) / 2
        wide = draw.uniform(low, high, batch, 1) * noise
        rise = (draw.normal(batch, 1) * .04 + lift) * up * noise
        points[left] += wide * half + rise
        points[right] += -wide * half + rise
    points[8] = (points[9] + points[12]) / 2
    points[1] = (points[2] + points[5]) / 2
    return tf.stack(points, axis=1)


def _shift_in_metres(pixels, points_ray, box):
    """Displacements in the image `[B, 25, 2]` as metres at the body; wild ones are not followed."""
    extent = tf.reduce_max(tf.reduce_max(points_ray[..., :2], 1) - tf.reduce_min(points_ray[..., :2], 1), -1)
    share = pixels / box
    share *= tf.cast(tf.norm(share, axis=-1, keepdims=True) < .08, tf.float32)
    share = tf.unstack(share * extent[:, None, None], axis=1)
    share[1], share[8] = (share[2] + share[5]) / 2, (share[9] + share[12]) / 2  # no points of the detectors' own
    return tf.stack(share, axis=1)


def _guessed(hidden, outside, draw, batch, noise):
    """Points that a detector does not see and guesses: behind occluders, off the photo, in the dark."""
    guessed = draw.chance(.05 * noise, batch, 25) | hidden | outside
    for share, points in ((.06, (10, 11, 13, 14, 19, 21, 22, 24)), (.05, (3, 4)), (.05, (6, 7)), (.04, range(25))):
        dark = tf.constant([i in points for i in range(25)])
        guessed |= draw.chance(share * noise, batch, 1) & dark
    return guessed


def _misplaced(body, guessed, box, draw, batch, noise):
    for share, pairs in _SWAPS:
        order = list(range(25))
        for a, b in pairs:
            order[a], order[b] = b, a
        swapped = draw.chance(share * noise, batch, 1, 1)
        body = tf.where(swapped, tf.gather(body, order, axis=1), body)
    spread = tf.exp(.5 * draw.normal(batch, 1, 1)) * .013 * noise
    error = draw.normal(batch, 25, 2) * spread * tf.constant(_HARDNESS)[:, None]
    error *= tf.where(guessed, 3.0, 1.0)[..., None]
    outlier = draw.chance(.03 * noise, batch, 25, 1)
    return body + (error + tf.where(outlier, draw.normal(batch, 25, 2) * .13, 0.0)) * box


def _pressed_in(found, outside, box, bounds, draw, batch, noise):
    """Points off the photo, and which of them detectors claim to see at its edge: hips of half a body above all."""
    low, high = _seen_area(bounds)
    inset = tf.minimum(draw.uniform(.002, .05, batch, 25, 1) * box, (high - low) * .4)
    edge = tf.clip_by_value(found, low + inset, high - inset)
    beyond = tf.norm(found - edge, axis=-1) / box[..., 0]
    pressed = outside & (draw.uniform(0., 1., batch, 25) < .7 * noise * tf.exp(-beyond / .2))
    return tf.where(pressed[..., None], edge, found), pressed


def _seen_area(bounds):
    return tf.maximum(bounds[:, None, :2], 0.0), tf.minimum(bounds[:, None, 2:], CROP_SIZE)


def _inside(points, bounds):
    low, high = _seen_area(bounds)
    return tf.reduce_all((points > low) & (points < high), -1)


def _body_confidence(truth, found, box, guessed, unseen, pressed, bounds, draw, batch, noise):
    error = tf.norm(found - truth, axis=-1) / box[..., 0]
    steady = tf.constant([i in _STEADY for i in range(25)])
    lost = draw.chance(.02 * noise, batch, 25) & ~steady
    face = tf.constant([i in (0, 15, 16, 17, 18) for i in range(25)])
    lost |= draw.chance(.03 * noise, batch, 1) & face
    lost |= draw.chance(.03 * noise, batch, 25) & face
    lost |= draw.chance(.05 * noise, batch, 1) & tf.constant([i in (11, 14, 19, 21, 22, 24) for i in range(25)])
    lost |= guessed & ~pressed & ~steady & draw.chance(.3, batch, 25)
    lost |= unseen & draw.chance(.6, batch, 25)
    lost |= ~_inside(found, bounds)
    sure = tf.where(steady, draw.uniform(.85, 1.0, batch, 25), draw.uniform(.65, 1.0, batch, 25))
    sure -= error * draw.uniform(0., 6., batch, 1)
    sure = tf.where(guessed, draw.uniform(.02, .6, batch, 25) + tf.where(steady, .3, 0.), sure)
    sure = tf.where(pressed, draw.uniform(.02, .75, batch, 25), sure)
    confidence = tf.clip_by_value(sure, .02, 1.0) * tf.cast(~lost, tf.float32)
    seen = tf.constant([0.0 if i in _SMALL_TOES else 1.0 for i in range(25)])
    return confidence * seen


def _cluster(points, jitter, lost_share, bounds, hidden, draw, batch, noise):
    """A face or a hand: found or lost as one, with a common shift and a small jitter of its own size."""
    size = tf.reduce_max(tf.reduce_max(points, 1) - tf.reduce_min(points, 1), -1)[:, None, None]
    shift = draw.normal(batch, 1, 2) * .06 * noise + draw.normal(batch, points.shape[1], 2) * jitter * noise
    found = points + shift * size
    lost = draw.chance(lost_share, batch, 1) | (tf.reduce_mean(tf.cast(hidden, tf.float32), 1, keepdims=True) > .3)
    lost |= ~_inside(found, bounds)
    confidence = draw.uniform(.85, 1.0, batch, 1) * tf.cast(~lost, tf.float32)
    return found, confidence


def _occluders(keypoints, draw, batch, noise):
    """One box a scene, in some of them, in front of the person: hidden points, covered map pixels."""
    centre = draw.uniform(0.0, CROP_SIZE, batch, 1, 2)
    half = draw.uniform(15.0, 110.0, batch, 1, 2)
    present = draw.chance(.3 * noise, batch, 1)
    hidden = tf.reduce_all(tf.abs(keypoints - centre) < half, -1) & present
    pixel = (tf.range(60, dtype=tf.float32) + .5) * (CROP_SIZE / 60)
    columns = tf.abs(pixel - centre[..., 0]) < half[..., 0]
    rows = tf.abs(pixel - centre[..., 1]) < half[..., 1]
    return hidden, rows[:, :, None] & columns[:, None, :] & present[..., None]


def _mask(labels, draw, batch, noise):
    """A soft mask with wandering edges, clothes and now and then a hole or a foreign blob."""
    mask = tf.cast(labels > 0, tf.float32)[..., None]
    soft = tf.nn.avg_pool2d(mask, 3, 1, "SAME")
    wander = tf.image.resize(draw.normal(batch, 8, 8, 1), [60, 60], method="bicubic")
    grow = draw.normal(batch, 1, 1, 1) * .1 + .1
    soft = tf.sigmoid((soft - .38 + noise * (.12 * wander + grow)) * 16.0) * tf.cast(soft + grow * noise > .02, tf.float32)
    blob, present = draw.uniform(0., 60., batch, 1, 1, 2), draw.chance(.12 * noise, batch, 1, 1, 1)
    grid = tf.stack(tf.meshgrid(tf.range(60.), tf.range(60.)), -1)[None]
    near = tf.reduce_sum(tf.square((grid - blob) / draw.uniform(2., 9., batch, 1, 1, 2)), -1, keepdims=True) < 1
    sign = tf.cast(draw.chance(.5, batch, 1, 1, 1), tf.float32)
    soft = tf.where(near & present, sign, soft)
    soft = tf.where(draw.chance(.01 * noise, batch, 1, 1, 1), 0.0, soft)
    return soft[..., 0]


def _landmarks3d(points, shift, guessed, outside, draw, batch, noise):
    """The landmark network's 3D estimate: bones of nearly true length that follow what is seen in the image, tilted,
    flattened, and wrong above all in how far limbs reach towards the camera. Leaning heads and bent knees are habits that
    it shows on photos of people who stand (tools/compare_evidence.py)."""
    size = tf.exp(.35 * draw.normal(batch, 1, 1)) * tf.where(guessed, 1.8, 1.0)[..., None] * noise
    turn = draw.normal(batch, 25, 3) * tf.constant([.03, .03, .25]) * tf.constant(_LIMB_ERROR)[:, None] * size
    turn = tf.gather(turn, _SAME_TURN, axis=1) * tf.constant(_TURN_SIGN)[:, None]
    stretch = 1.0 + draw.normal(batch, 25, 1) * tf.constant(_BONE_ERROR)[:, None] * noise
    stretch = tf.gather(stretch, _SAME_TURN, axis=1)
    bones = points - tf.gather(points, _PARENTS, axis=1)
    length = tf.norm(bones, axis=-1, keepdims=True)
    follow = tf.pad(shift, [[0, 0], [0, 0], [0, 1]]) * .85
    bent = _bent_knees(bones, draw, batch) * noise
    bones += length * turn + follow - tf.gather(follow, _PARENTS, axis=1)
    bones += tf.concat([tf.zeros_like(bones[..., :2]), bent], -1)
    bones *= length / tf.maximum(tf.norm(bones, axis=-1, keepdims=True), 1e-6) * stretch
    points = _chained(bones + _low_head(bones, draw, batch) * noise)
    x, y, z = tf.split(points, 3, -1)
    angles = (draw.normal(batch, 3) * tf.constant([.10, .05, .015]) + tf.constant([.13, 0., 0.])) * noise
    for axis in range(3):
        c, s = tf.cos(angles[:, axis, None, None]), tf.sin(angles[:, axis, None, None])
        if axis == 0:
            y, z = c * y - s * z, s * y + c * z
        elif axis == 1:
            x, z = c * x + s * z, c * z - s * x
        else:
            x, y = c * x - s * y, s * x + c * y
    flatten = 1.0 + (draw.uniform(.7, 1.1, batch, 1, 1) - 1.0) * noise
    points = tf.concat([x, y, z * flatten], -1) * (1.0 + .06 * noise * draw.normal(batch, 1, 1))
    wrong = draw.chance(.02 * noise, batch, 1, 1)
    points = tf.where(wrong, tf.roll(points, 1, 0), points)
    known = ~draw.chance(.02, batch, 1)
    seen = tf.constant([0.0 if i in _SMALL_TOES else 1.0 for i in range(25)])
    sure = tf.where(guessed, draw.uniform(.0, .95, batch, 25), draw.uniform(.85, 1.0, batch, 25))
    sure *= tf.where(outside & draw.chance(.7, batch, 25), .1, 1.0)
    return points, sure * tf.cast(known, tf.float32) * seen


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
