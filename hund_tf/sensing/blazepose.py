"""BlazePose heavy on a person's region: 39 points, their confidence, world landmarks and mask.

Source: Bazarevsky et al., BlazePose, 2020, and MediaPipe's pose_landmark graphs (constants below).
"""

from typing import NamedTuple

import tensorflow as tf

from hund_tf.sensing import regions as rg
from hund_tf.sensing import sampling
from hund_tf.sensing.network_graph import load_network

_SIZE = 256  # pixels of the network's input
_WINDOW = 7  # heatmap cells; the graph's kernel_size
_REFINE_FROM = 0.5  # heat; the graph's min_confidence_to_refine
_HIP_CENTER, _FULL_BODY = 33, 34  # the network's own next region: its centre, and a point on its circle
_REGION_SCALE = 1.25
_MIRROR = (0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23, 26, 25,
           28, 27, 30, 29, 32, 31, *range(33, 39))  # the same point's name on the other side


class Pose(NamedTuple):
    """`points` `[N, 39, 2]` crop pixels; `confidence` `[N, 39]`; `world` `[N, 39, 3]` metres, x right,
    y down, z away, upright in the crop, mid-hip at 0; `mask` `[N, 256, 256, 1]` of the region;
    `regions` `[N, 4]`; `presence` `[N]` that there is a person at all."""

    points: tf.Tensor
    confidence: tf.Tensor
    world: tf.Tensor
    mask: tf.Tensor
    regions: tf.Tensor
    presence: tf.Tensor


class BlazePose(tf.Module):
    """Crops `[N, S, S, 3]` in 0..1, or their `Pyramid`, and person regions `[N, 4]` -> `Pose`.

    Args:
        mirror: bool, whether the mirrored picture is seen too, and the mean of both is the answer.
        folder: of the converted networks.
    """

    def __init__(self, mirror=True, folder=None):
        super().__init__(name="blazepose")
        self.mirror = mirror
        self._network = load_network("pose_heavy", folder)

    def __call__(self, crops, regions):
        seen = sampling.sample_regions(crops, regions, _SIZE, border="replicate")
        if self.mirror:
            seen = tf.concat([seen, seen[:, :, ::-1]], 0)
        out = self._network(seen)
        landmarks = tf.reshape(out["landmarks"], [-1, 39, 5])
        unit = refine_by_heat(landmarks[..., :2] / _SIZE, tf.sigmoid(out["heatmaps"]))
        confidence = tf.sigmoid(landmarks[..., 3]) * tf.sigmoid(landmarks[..., 4])
        world = tf.reshape(out["world_landmarks"], [-1, 39, 3])
        mask, presence = tf.sigmoid(out["mask"]), out["presence"][:, 0]
        if self.mirror:
            unit, confidence, world, mask, presence = merge_mirrored(unit, confidence, world, mask, presence)
        cos, sin = tf.cos(regions[:, 3]), tf.sin(regions[:, 3])
        turn = tf.reshape(tf.stack([cos, -sin, sin, cos], -1), [-1, 2, 2])
        world = tf.concat([tf.einsum("nij,nkj->nki", turn, world[..., :2]), world[..., 2:]], -1)
        world -= (world[:, 23:24] + world[:, 24:25]) / 2
        return Pose(
            points=sampling.points_to_image(unit, regions),
            confidence=confidence,
            world=world,
            mask=mask,
            regions=regions,
            presence=presence,
        )


def merge_mirrored(unit, confidence, world, mask, presence):
    """Mean of pictures (first half of the batch) and the same mirrored (second half).

    Args:
        unit: `[2N, 39, 2]` in 0..1 of the region, `confidence` `[2N, 39]`, `world` `[2N, 39, 3]`,
            `mask` `[2N, H, W, 1]`, `presence` `[2N]`.

    Returns:
        The same for N; points weighted by confidence. Mirrored, left and right change names.
    """
    (unit, other_unit), (confidence, other_confidence), (world, other_world), (mask, other_mask), presence = (
        tf.split(v, 2) for v in (unit, confidence, world, mask, presence))
    other_unit = tf.gather(other_unit, _MIRROR, axis=1) * [-1.0, 1.0] + [1.0, 0.0]
    other_confidence = tf.gather(other_confidence, _MIRROR, axis=1)
    other_world = tf.gather(other_world, _MIRROR, axis=1) * [-1.0, 1.0, 1.0]
    share = (confidence / tf.maximum(confidence + other_confidence, 1e-6))[..., None]
    return (
        unit * share + other_unit * (1 - share),
        (confidence + other_confidence) / 2,
        (world + other_world) / 2,
        (mask + other_mask[:, :, ::-1]) / 2,
        (presence[0] + presence[1]) / 2,
    )


def region_from_torso(shoulders, hips, points, scores):
    """Person region from a first set of keypoints.

    Args:
        shoulders: `[N, 2]`, middle of both.
        hips: `[N, 2]`, middle of both.
        points: `[N, K, 2]`, all keypoints of the person.
        scores: `[N, K]`; points under 0.15 do not count.

    Returns:
        `[N, 4]`, centred on the hips, the torso upright, all points inside.
    """
    reach = tf.where(scores > 0.15, tf.norm(points - hips[:, None], axis=-1), 0.0)
    radius = tf.maximum(tf.reduce_max(reach, -1), 1.8 * tf.norm(shoulders - hips, axis=-1))
    size = tf.maximum(2 * radius * _REGION_SCALE, 8.0)
    return rg.square_region(hips, size, rg.upright_angle(hips, shoulders))


def region_from_pose(pose):
    """The region that BlazePose itself proposes for its next look, `[N, 4]`."""
    center, edge = pose.points[:, _HIP_CENTER], pose.points[:, _FULL_BODY]
    size = tf.maximum(2 * tf.norm(edge - center, axis=-1) * _REGION_SCALE, 8.0)
    return rg.square_region(center, size, rg.upright_angle(center, edge))


def refine_by_heat(points, heat):
    """Moves points to the centre of the heat around them, where there is enough.

    Args:
        points: `[N, K, 2]`, 0..1.
        heat: `[N, H, W, K]`, 0..1.

    Returns:
        `[N, K, 2]`.
    """
    height, width = heat.shape[1], heat.shape[2]
    size = tf.constant([width, height], tf.float32)
    reach = _WINDOW // 2
    center = tf.cast(tf.clip_by_value(points, -1.0, 2.0) * size, tf.int32)
    inside = tf.reduce_all((points >= 0) & (points < 1), -1)
    padded = tf.pad(tf.transpose(heat, [0, 3, 1, 2]), [[0, 0], [0, 0], [reach, reach], [reach, reach]])
    corner = tf.clip_by_value(center, 0, tf.constant([width - 1, height - 1]))
    steps = tf.range(_WINDOW)
    rows = corner[..., 1, None] + steps  # [N, K, 7]
    columns = corner[..., 0, None] + steps
    window = tf.gather(tf.gather(padded, rows, batch_dims=2), columns, axis=3, batch_dims=2)  # [N, K, 7, 7]
    total = tf.reduce_sum(window, [-1, -2])
    x = tf.reduce_sum(window * tf.cast(columns - reach, tf.float32)[:, :, None, :], [-1, -2])
    y = tf.reduce_sum(window * tf.cast(rows - reach, tf.float32)[:, :, :, None], [-1, -2])
    mean = tf.stack([x, y], -1) / tf.maximum(total, 1e-9)[..., None] / size
    refine = inside & (tf.reduce_max(window, [-1, -2]) >= _REFINE_FROM)
    return tf.where(refine[..., None], mean, points)


def mask_in_crop(pose, crop_size, size):
    """The person mask brought back from the region into the crop: `[N, size, size]`, 0..1."""
    regions = rg.inverse_region(pose.regions, crop_size) * tf.constant([_SIZE, _SIZE, _SIZE, 1.0])
    return sampling.sample_regions(pose.mask, regions, size)[..., 0]
