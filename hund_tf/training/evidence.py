"""Degraded evidence: what is true of a scene in, what detectors would say of it out.

The figures are those of real detectors: 2 to 3 % of the box with outliers, drop-outs, swapped
sides, and a 3D estimate with structured error of about 79 mm after Procrustes alignment.
"""

from typing import NamedTuple

import tensorflow as tf

from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.training.drawn_landmarks import SMALL_TOES, draw_estimate

# How much harder than the average each BODY_25 point is to find.
_HARDNESS = (.4, .8, .8, .9, 1.1, .8, .9, 1.1, .9, 1.2, 1., 1.1, 1.2, 1., 1.1, .35, .35, .4, .4, 1.2, 1.2, 1.1, 1.2, 1.2, 1.1)
_STEADY = (0, 1, 2, 5, 15, 16, 17, 18)  # nearly always found where the photo shows them
_CLEAR = (8, 9, 12, 19, 22)  # hips and toes, of which detectors are sure
_EASY, _SELDOM = .65, .12  # share of people whom nothing hides, and how much seldomer detectors miss a point of theirs
_SWAPS = (  # left-right confusions and how often: legs, lower legs, arms, all
    (.015, ((10, 13), (11, 14), (19, 22), (21, 24))), (.01, ((11, 14), (19, 22), (21, 24))),
    (.01, ((3, 6), (4, 7))), (.01, ((4, 7),)),
    (.012, ((2, 5), (3, 6), (4, 7), (9, 12), (10, 13), (11, 14), (19, 22), (21, 24), (15, 16), (17, 18))))


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


class Draws:
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
    draw = Draws(seed)
    batch = tf.shape(scene["keypoints"])[0]
    truth = scene["keypoints"]
    body = truth[:, :25]
    box = tf.reduce_max(tf.reduce_max(body, 1) - tf.reduce_min(body, 1), -1)[:, None, None]
    box = tf.minimum(box, CROP_SIZE)
    trouble = noise * tf.where(draw.chance(_EASY, batch, 1), _SELDOM, 1.0)
    hidden, occluder = _occluders(truth, draw, batch, trouble)
    outside = ~_inside(body, scene["image_bounds"])
    guessed = _guessed(hidden[:, :25], outside, draw, batch, trouble)
    found = _misplaced(_redefined(body, draw, batch, noise), guessed, box, draw, batch, noise, trouble)
    found, pressed = _pressed_in(found, outside, box, scene["image_bounds"], draw, batch, noise)
    confidence = _body_confidence(body, found, box, guessed, outside & ~pressed, pressed, scene["image_bounds"], draw, batch, noise, trouble)
    face, face_confidence = _cluster(truth[:, 25:95], .012, .6, scene["image_bounds"], hidden[:, 25:95], draw, batch, noise)
    hands = [_cluster(truth[:, a:b], .05, .75, scene["image_bounds"], hidden[:, a:b], draw, batch, noise)
             for a, b in ((95, 116), (116, 137))]
    labels = tf.where(occluder, 0, tf.cast(scene["part_labels"], tf.int32))
    shift = _shift_in_metres(found - body, points_ray, box)
    landmarks3d, landmarks3d_confidence = draw_estimate(points_ray, shift, found / CROP_SIZE, guessed, outside, draw, batch, noise)
    return DetectedEvidence(
        keypoints=tf.concat([found, face, hands[0][0], hands[1][0]], 1),
        confidence=tf.concat([confidence, face_confidence, hands[0][1], hands[1][1]], 1),
        person_mask=_mask(labels, draw, batch, noise), part_labels=labels,
        landmarks3d=landmarks3d, landmarks3d_confidence=landmarks3d_confidence)


def _redefined(body, draw, batch, noise):
    """Hips, shoulders and ankles as detectors place them, 30 to 60 mm from where a skeleton has them.

    Of trunk, thigh and shin of people who stand before a camera, photos show 40, 30 and 29 % as the trunk's, the thigh's and the
    shin's, a skeleton has 36, 32 and 33: shoulders are seen on top of the joint, ankles above it.
    """
    points = tf.unstack(body, axis=1)
    up = points[1] - points[8]
    for right, left, low, high, lift in ((9, 12, -.25, .25, -.02), (2, 5, -.3, .05, .08)):
        half = (points[left] - points[right]) / 2
        wide = draw.uniform(low, high, batch, 1) * noise
        rise = (draw.normal(batch, 1) * .04 + lift) * up * noise
        points[left] += wide * half + rise
        points[right] += -wide * half + rise
    rise = (draw.normal(batch, 1) * .03 + .08) * noise
    for knee, ankle in ((10, 11), (13, 14)):
        points[ankle] += rise * (points[knee] - points[ankle])
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


def _guessed(hidden, outside, draw, batch, trouble):
    """Points that a detector does not see and guesses: behind occluders, off the photo, in the dark."""
    guessed = draw.chance(.05 * trouble, batch, 25) | hidden | outside
    for share, points in ((.06, (10, 11, 13, 14, 19, 21, 22, 24)), (.05, (3, 4)), (.05, (6, 7)), (.04, range(25))):
        dark = tf.constant([i in points for i in range(25)])
        guessed |= draw.chance(share * trouble, batch, 1) & dark
    return guessed


def _misplaced(body, guessed, box, draw, batch, noise, trouble):
    for share, pairs in _SWAPS:
        order = list(range(25))
        for a, b in pairs:
            order[a], order[b] = b, a
        swapped = draw.chance(share * trouble[..., None], batch, 1, 1)
        body = tf.where(swapped, tf.gather(body, order, axis=1), body)
    spread = tf.exp(.5 * draw.normal(batch, 1, 1)) * .013 * noise
    error = draw.normal(batch, 25, 2) * spread * tf.constant(_HARDNESS)[:, None]
    error *= tf.where(guessed, 3.0, 1.0)[..., None]
    outlier = draw.chance(.03 * trouble[..., None], batch, 25, 1)
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


def _body_confidence(truth, found, box, guessed, unseen, pressed, bounds, draw, batch, noise, trouble):
    error = tf.norm(found - truth, axis=-1) / box[..., 0]
    steady = tf.constant([i in _STEADY for i in range(25)])
    lost = draw.chance(.02 * trouble, batch, 25) & ~steady
    face = tf.constant([i in (0, 15, 16, 17, 18) for i in range(25)])
    lost |= draw.chance(.01 * trouble, batch, 1) & face
    lost |= draw.chance(.01 * trouble, batch, 25) & face
    lost |= draw.chance(.05 * trouble, batch, 1) & tf.constant([i in (11, 14, 19, 21, 22, 24) for i in range(25)])
    lost |= guessed & ~pressed & ~steady & draw.chance(.3, batch, 25)
    lost |= unseen & draw.chance(.6, batch, 25)
    lost |= ~_inside(found, bounds)
    sure = tf.where(steady, draw.uniform(.88, 1.0, batch, 25), draw.uniform(.68, 1.0, batch, 25))
    sure = tf.where(tf.constant([i in _CLEAR for i in range(25)]), draw.uniform(.8, 1.0, batch, 25), sure)
    doubted = draw.chance(.17 * noise, batch, 25)  # rightly found, and yet
    sure = tf.where(doubted, tf.where(steady, draw.uniform(.45, .9, batch, 25), draw.uniform(.05, .5, batch, 25)), sure)
    sure -= error * draw.uniform(0., 6., batch, 1)
    sure = tf.where(guessed, draw.uniform(.02, .6, batch, 25) + tf.where(steady, .3, 0.), sure)
    sure = tf.where(pressed, draw.uniform(.02, .75, batch, 25), sure)
    confidence = tf.clip_by_value(sure, .02, 1.0) * tf.cast(~lost, tf.float32)
    seen = tf.constant([0.0 if i in SMALL_TOES else 1.0 for i in range(25)])
    return confidence * seen


def _cluster(points, jitter, lost_share, bounds, hidden, draw, batch, noise):
    """A face or a hand: found or lost as one, with a common shift and a small jitter of its own size."""
    size = tf.reduce_max(tf.reduce_max(points, 1) - tf.reduce_min(points, 1), -1)[:, None, None]
    shift = draw.normal(batch, 1, 2) * .04 * noise + draw.normal(batch, points.shape[1], 2) * jitter * noise
    found = points + shift * size
    lost = draw.chance(lost_share, batch, 1) | (tf.reduce_mean(tf.cast(hidden, tf.float32), 1, keepdims=True) > .3)
    lost |= ~_inside(found, bounds)
    confidence = draw.uniform(.85, 1.0, batch, 1) * tf.cast(~lost, tf.float32)
    return found, confidence


def _occluders(keypoints, draw, batch, trouble):
    """One box a scene, in some of them, in front of the person: hidden points, covered map pixels."""
    centre = draw.uniform(0.0, CROP_SIZE, batch, 1, 2)
    half = draw.uniform(15.0, 110.0, batch, 1, 2)
    present = draw.chance(.3 * trouble, batch, 1)
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
