"""Person crops in, 137 keypoints, 3D landmarks and a person mask out.

Two networks look at the body: Thunder finds the person whose crop it is, BlazePose looks again at
an upright region and adds feet, mask and 3D. Their mean, weighted by confidence, is better than
either; where they disagree, both are less sure. Hands and face hang on BlazePose's points.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from hund_tf.sensing import blazepose, movenet, sampling
from hund_tf.sensing.batches import at_least_one
from hund_tf.sensing.crops import CROP_SIZE
from hund_tf.sensing.faces import Faces
from hund_tf.sensing.hands import Hands
from hund_tf.sensing.network_graph import load_network

MASK_SIZE = 60  # paper: side of K, B and F
# BODY_25 (OpenPose) from COCO's 17; neck and mid-hip are the middles of a pair
_BODY19_FROM_COCO = ((0, 0), (5, 6), (6, 6), (8, 8), (10, 10), (5, 5), (7, 7), (9, 9), (11, 12), (12, 12), (14, 14),
                     (16, 16), (11, 11), (13, 13), (15, 15), (2, 2), (1, 1), (4, 4), (3, 3))
_COCO_FROM_BLAZEPOSE = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
# left big toe, left small toe (not seen: the big toe's place, confidence 0), left heel; right
_FEET_FROM_BLAZEPOSE = (31, 31, 29, 32, 32, 30)
_FEET_SEEN = (1.0, 0.0, 1.0, 1.0, 0.0, 1.0)
_SURE, _CLEARLY = 0.4, 0.1  # Thunder's body score under which the crop is also seen turned; gain that counts
_TILTED = math.radians(60)  # a torso tilted more is looked at again, upright
_AGREEMENT = 0.10  # share of the person's size at which a disagreement of the two networks costs 1/e


class Landmarks(NamedTuple):
    """What is seen of the person in each of N crops of 480 pixels.

    Attributes:
        keypoints: `[N, 137, 2]`, OpenPose order, crop pixels.
        confidence: `[N, 137]`, 0 to 1; 0 = not seen.
        person_mask: `[N, 60, 60]`, 0 to 1, in the crop's frame.
        landmarks3d: `[N, 25, 3]`, BODY_25 order, metres, x right, y down, z away, mid-hip at 0.
        landmarks3d_confidence: `[N, 25]`.
        detector_disagreement: `[N, 25]`, pixels between Thunder and BlazePose; 0 at the feet.
        thunder: `[N, 17, 3]`, COCO order, Thunder alone, or what was given in its place: x, y, score.
        blazepose: `[N, 33, 3]`, BlazePose alone: x, y, confidence.
        depths: `[N, 137]`, of face and hands: how much farther than the middle of the head, or the wrist, crop pixels; 0 of
            the body.
    """

    keypoints: tf.Tensor
    confidence: tf.Tensor
    person_mask: tf.Tensor
    landmarks3d: tf.Tensor
    landmarks3d_confidence: tf.Tensor
    detector_disagreement: tf.Tensor
    thunder: tf.Tensor
    blazepose: tf.Tensor
    depths: tf.Tensor


class LandmarkNetworks(tf.Module):
    """All landmark networks, one call for a batch of crops.

    Args:
        mirror: bool, whether BlazePose also sees the mirrored crop; the mean has a tenth less error in
            3D, for about 0.7 of its time more.
        folder: of the converted networks; default the package's assets.

    Call arguments:
        crops: `[N, 480, 480, 3]`, uint8, or float32 in [0, 1]; N may be 0.
        first: `[N, 17, 3]`, COCO order: crop pixels and score of the person to look at, in the place of what Thunder finds, who
            may be somebody else in the crop. Thunder looks where all scores are 0, and everywhere if None.

    Returns:
        `Landmarks`.

    Raises:
        ValueError: if `crops` is not `[N, 480, 480, 3]` or `first` not `[N, 17, 3]`.
    """

    def __init__(self, mirror=True, folder=None):
        super().__init__(name="landmark_networks")
        self._thunder = load_network("thunder", folder)
        self._blazepose = blazepose.BlazePose(mirror, folder)
        self._hands, self._faces = Hands(folder), Faces(folder)
        pyramid = sampling.pyramid_spec(3)
        regions, people = tf.TensorSpec([None, 4], tf.float32), tf.TensorSpec([None], tf.int32)
        # one trace each, and what is seldom needed is called from outside them: a quick first photo
        self._run_thunder = tf.function(
            self._thunder_eagerly, autograph=False, input_signature=[pyramid, regions, people])
        self._see_details = tf.function(self._details_eagerly, autograph=False, input_signature=[
            tf.TensorSpec([None, CROP_SIZE, CROP_SIZE, 3], tf.float32), pyramid,
            tf.TensorSpec([None, 17, 3], tf.float32), regions])

    def __call__(self, crops, first=None):
        crops = tf.convert_to_tensor(crops)
        if crops.shape.rank != 4 or tuple(crops.shape[1:]) != (CROP_SIZE, CROP_SIZE, 3):
            raise ValueError(f"`crops` must be [N, {CROP_SIZE}, {CROP_SIZE}, 3]. Received: {crops.shape}.")
        if first is not None:
            first = tf.convert_to_tensor(first)
            if first.shape.rank != 3 or tuple(first.shape[1:]) != (17, 3):
                raise ValueError(f"`first` must be [N, 17, 3]. Received: {first.shape}.")
        scale = 1 / 255 if crops.dtype == tf.uint8 else 1.0
        count = tf.shape(crops)[0]
        found = self.find(tf.cast(at_least_one(crops), tf.float32) * scale, None if first is None else at_least_one(first))
        return tf.nest.map_structure(lambda values: values[:count], found)

    def find(self, crops, first=None):
        """The call without its checks: float32 crops in [0, 1]; for use inside other functions."""
        pyramid = sampling.build_pyramid(crops, levels=3)
        people = tf.range(tf.shape(crops)[0])
        if first is None:
            first = self._first_look(pyramid, people)
        else:
            given = tf.reduce_any(first[..., 2] > 0, -1)
            first = tf.cond(tf.reduce_all(given), lambda: first, lambda: tf.where(
                given[:, None, None], first, self._first_look(pyramid, people)))
        return self._see_details(crops, pyramid, first, _person_region(first))

    def _details_eagerly(self, crops, pyramid, first, region):
        pose = self._blazepose(pyramid, region)
        body, body_confidence, disagreement = merge_body(first, pose)
        hands, hands_confidence, hands_depths = self._hands(pyramid, pose.points)
        face, face_confidence, face_depths = self._faces(pyramid, pose.points)
        keypoints = tf.concat([body, face, hands], 1)
        confidence = tf.concat([body_confidence, face_confidence, hands_confidence], 1)
        seen = _something_to_see(crops, keypoints)
        world = _body25(tf.gather(pose.world, _COCO_FROM_BLAZEPOSE, axis=1))
        return Landmarks(
            keypoints=keypoints,
            confidence=tf.where(seen, confidence, 0.0),
            person_mask=blazepose.mask_in_crop(pose, float(CROP_SIZE), MASK_SIZE),
            landmarks3d=tf.concat([world, tf.gather(pose.world, _FEET_FROM_BLAZEPOSE, axis=1)], 1),
            landmarks3d_confidence=_blazepose_confidence(pose),
            detector_disagreement=disagreement,
            thunder=first,
            blazepose=tf.concat([pose.points, pose.confidence[..., None]], -1)[:, :33],
            depths=tf.concat([tf.zeros_like(body_confidence), face_depths, hands_depths], 1),
        )

    def _first_look(self, crops, people):
        """Thunder's `[N, 17, 3]`; looks again at who is not upright."""
        whole = tf.tile(tf.constant([[CROP_SIZE / 2, CROP_SIZE / 2, CROP_SIZE, 0.0]]), [tf.shape(people)[0], 1])
        first = self._run_thunder(crops, whole, people)
        unsure = _body_score(first) < _SURE

        def turned():
            turns = [whole + tf.constant([0.0, 0.0, 0.0, k * math.pi / 2]) for k in (1, 2, 3)]
            others = self._run_thunder(crops, tf.concat(turns, 0), tf.tile(people, [3]))
            found = first
            for other in tf.split(others, 3):
                better = unsure & (_body_score(other) > _body_score(found) + _CLEARLY)
                found = tf.where(better[:, None, None], other, found)
            return found

        first = tf.cond(tf.reduce_any(unsure), turned, lambda: first)
        region = _person_region(first)
        tilted = tf.abs(region[:, 3]) > _TILTED
        return tf.cond(tf.reduce_any(tilted), lambda: tf.where(
            tilted[:, None, None], self._run_thunder(crops, region, people), first), lambda: first)

    def _thunder_eagerly(self, crops, regions, people):
        found = movenet.decode_thunder(self._thunder(2 * sampling.sample_regions(crops, regions, 256, people) - 1))
        return tf.concat([sampling.points_to_image(found[..., :2], regions), found[..., 2:]], -1)


def _body_score(thunder):
    """Mean score of shoulders to ankles, `[N]`."""
    return tf.reduce_mean(thunder[:, 5:, 2], -1)


def _person_region(thunder):
    points, scores = thunder[..., :2], thunder[..., 2]
    shoulders, hips = tf.reduce_mean(points[:, 5:7], 1), tf.reduce_mean(points[:, 11:13], 1)
    return blazepose.region_from_torso(shoulders, hips, points, scores)


def merge_body(thunder, pose):
    """Thunder `[N, 17, 3]` and a `Pose` -> BODY_25 points `[N, 25, 2]`, confidence and disagreement `[N, 25]`."""
    other = tf.gather(pose.points, _COCO_FROM_BLAZEPOSE, axis=1)
    weights = tf.stack([thunder[..., 2], tf.gather(pose.confidence, _COCO_FROM_BLAZEPOSE, axis=1)], -1)
    apart = tf.norm(thunder[..., :2] - other + 1e-6, axis=-1)
    share = weights / tf.maximum(tf.reduce_sum(weights, -1, keepdims=True), 1e-6)
    points = thunder[..., :2] * share[..., :1] + other * share[..., 1:]
    size = pose.regions[:, 2:3] / 2.5  # of a person: the region holds 2 x 1.25 times the reach from the hips
    agreement = tf.exp(-((apart / (_AGREEMENT * size)) ** 2))
    # two that agree vouch for each other; two that do not leave the surer one, at a discount
    confidence = tf.reduce_max(weights, -1) * (0.5 + 0.5 * agreement) * tf.reduce_max(share, -1) ** (1 - agreement)
    confidence = tf.minimum(confidence, 1.0)
    feet = tf.gather(pose.points, _FEET_FROM_BLAZEPOSE, axis=1)
    feet_confidence = tf.gather(pose.confidence, _FEET_FROM_BLAZEPOSE, axis=1) * tf.constant(_FEET_SEEN)
    return (
        tf.concat([_body25(points), feet], 1),
        tf.concat([_least(confidence), feet_confidence], 1),
        tf.concat([_most(apart), tf.zeros_like(feet_confidence)], 1),
    )


def _something_to_see(crops, points):
    """Which points `[N, K, 2]` lie in the crop and not in the black beside the photo: `[N, K]` bool."""
    lit = tf.nn.max_pool2d(tf.reduce_max(crops, -1, keepdims=True), 8, 8, "SAME")
    lit = tf.nn.max_pool2d(lit, 3, 1, "SAME")[..., 0]  # 24 pixels of pure black show nothing
    cells = tf.cast(tf.floor(tf.clip_by_value(points, 0.0, CROP_SIZE - 1.0) / 8), tf.int32)
    lit = tf.gather_nd(lit, tf.reverse(cells, [-1]), batch_dims=1) > 0  # no GPU gathers truths
    return lit & tf.reduce_all((points >= 0) & (points <= CROP_SIZE), -1)


def _blazepose_confidence(pose):
    body = _least(tf.gather(pose.confidence, _COCO_FROM_BLAZEPOSE, axis=1))
    feet = tf.gather(pose.confidence, _FEET_FROM_BLAZEPOSE, axis=1) * tf.constant(_FEET_SEEN)
    return tf.concat([body, feet], 1)


def _pairs(values):
    return (tf.gather(values, [p[k] for p in _BODY19_FROM_COCO], axis=1) for k in (0, 1))


def _body25(coco):
    """First 19 of BODY_25 from COCO's 17 points."""
    first, second = _pairs(coco)
    return (first + second) / 2


def _least(values):
    return tf.minimum(*_pairs(values))


def _most(values):
    return tf.maximum(*_pairs(values))
