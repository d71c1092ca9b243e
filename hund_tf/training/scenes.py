"""Rendered training scenes: poses in, posed bodies before sampled cameras with their crops out.

A scene is what is true; `evidence` degrades it anew each time it is drawn.
"""

import numpy as np
import tensorflow as tf
from scipy.spatial.transform import Rotation

from hund_tf.sensing.heatmaps import CROP_SIZE, MAP_SIZE
from hund_tf.state import EXPRESSION, SHAPE, THETA_BODY, THETA_HAND, ModelState
from hund_tf.training.poses import heading
from hund_tf.visualization import renderer

_IMAGE_SIDE = 1000.0  # pixels of the longer side; only ratios matter
_MIN_VISIBLE = 6  # of the 25 body keypoints
_FACING_SPREAD, _LEVEL_SPREAD = 30.0, 2.0  # degrees: headings of people who turn to the camera, and that camera's roll


def sample_scenes(body, poses, rng, render=True, portraits=0.25, people=None, facing=0.0):
    """Places bodies before cameras.

    Args:
        body: `GenerativeBody`.
        poses: `[N, 22, 3, 3]`, local rotations, the pelvis first.
        rng: `np.random.Generator`.
        render: bool, whether to render part labels (a few milliseconds a scene).
        portraits: float, share of scenes whose photo ends between chest and knees, as people stand before a webcam.
        people: `[16, 16]`, from `proportions.human`: makes drawn shape codes those of bodies as people are. Defaults to
            `None`: codes are those of the prior.
        facing: float, share of people who turn to the camera as for a photo; the others turn any way.

    Returns:
        dict of arrays, one row a scene, fewer than N where a draw left too little to see: `theta`, `shape`,
        `expression`, `rotation`, `translation`, crop `intrinsics`, `image_bounds` `[4]` (x0, y0, x1, y1 of the photo, crop
        pixels) and `part_labels` uint8 `[60, 60]`.
    """
    count = len(poses)
    state = _sample_state(body, poses, rng, np.eye(SHAPE) if people is None else people)
    posed = body(ModelState(*(tf.constant(x, tf.float32) for x in state)), mesh=None)
    points = posed.keypoints.numpy().astype(np.float64)
    camera_rotation = _sample_camera_rotations(poses[:, 0], rng, facing)
    points = np.einsum("nij,nkj->nki", camera_rotation, points)
    rotation = camera_rotation @ _columns(state.rotation)

    focal = rng.uniform(0.8, 2.0, count) * _IMAGE_SIDE
    aspect = np.exp(rng.uniform(np.log(0.5), np.log(1.8), count))
    width = np.where(aspect > 1, 1.0, aspect) * _IMAGE_SIDE
    height = np.where(aspect > 1, 1.0 / aspect, 1.0) * _IMAGE_SIDE
    placed = [place(points[:, :25], focal, width, height, rng) for place in (_place_portraits, _place)]
    translation = np.where((rng.random(count) < portraits)[:, None], *placed)
    points = points + translation[:, None]
    pixels = points[..., :2] / np.maximum(points[..., 2:], 0.05) * focal[:, None, None]
    pixels += np.stack([width, height], -1)[:, None] / 2

    origin, side, enough = _crop(pixels, width, height, rng)
    enough &= points[:, :25, 2].min(1) > 0.15
    scale = CROP_SIZE / side
    intrinsics = np.stack([focal, focal, width / 2 - origin[:, 0], height / 2 - origin[:, 1]], -1) * scale[:, None]
    corners = np.concatenate([-origin, np.stack([width, height], -1) - origin], -1)
    scenes = {
        "theta": state.theta, "shape": state.shape, "expression": state.expression,
        "rotation": np.concatenate([rotation[..., 0], rotation[..., 1]], -1), "translation": translation,
        "intrinsics": intrinsics,
        "image_bounds": corners * scale[:, None]}
    scenes = {name: value[enough].astype(np.float32) for name, value in scenes.items()}
    if render:
        scenes["part_labels"] = _render(body, scenes)
    return scenes


def _sample_state(body, poses, rng, people):
    count = len(poses)
    rotations = np.tile(np.eye(3), (count, len(body.joint_names), 1, 1))
    rotations[:, 1:22] = poses[:, 1:]
    theta = body.theta_from_rotations(tf.constant(rotations, tf.float32)).numpy()
    hands = rng.normal(0, 0.8, (count, 2 * THETA_HAND))
    pelvis = poses[:, 0]
    return ModelState(
        theta=np.concatenate([theta[:, :THETA_BODY], hands], -1), shape=rng.normal(size=(count, SHAPE)) @ people,
        expression=rng.normal(0, 0.6, (count, EXPRESSION)),
        rotation=np.concatenate([pelvis[..., 0], pelvis[..., 1]], -1), translation=np.zeros((count, 3)))


def _columns(rotation6):
    first, second = rotation6[:, :3], rotation6[:, 3:]
    return np.stack([first, second, np.cross(first, second)], -1)


def _sample_camera_rotations(pelvis, rng, facing):
    """Camera-from-world rotations: any heading, mostly level, some from above, below or tumbling."""
    count = len(pelvis)
    pitch = np.clip(rng.normal(0, 13, count), -45, 45)
    pitch = np.where(rng.random(count) < 0.12, rng.uniform(-40, 75, count), pitch)
    roll, turn = rng.normal(0, 7, count), rng.uniform(0, 360, count)
    if facing:
        chosen = rng.random(count) < facing
        turn = np.where(chosen, rng.normal(0, _FACING_SPREAD, count) - heading(pelvis), turn)
        roll = np.where(chosen, rng.normal(0, _LEVEL_SPREAD, count), roll)  # who takes a portrait holds the camera level
    view = Rotation.from_euler("ZX", np.stack([roll, pitch], -1), degrees=True)
    turned = Rotation.from_euler("y", turn[:, None], degrees=True)
    upright = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))
    rotation = (view * upright * turned).as_matrix()
    tumbling = rng.random(count) < 0.06
    return np.where(tumbling[:, None, None], rotation @ Rotation.from_quat(rng.normal(size=(count, 4))).as_matrix(), rotation)


def _place(points, focal, width, height, rng):
    """Translations `[N, 3]` that put the body somewhere in the image at a sampled size."""
    count = len(points)
    extent = np.ptp(points[..., :2], axis=1).max(1) * 1.1 + 0.1
    share = rng.uniform(0.3, 1.0, count)
    share = np.where(rng.random(count) < 0.15, rng.uniform(0.1, 0.3, count), share)
    share = np.where(rng.random(count) < 0.15, rng.uniform(1.0, 1.9, count), share)  # half bodies
    depth = focal * extent / (share * height)
    depth = np.maximum(depth, 0.5 - points[..., 2].min(1))
    half = share * height / 2
    reach = np.stack([np.maximum(width / 2 - 0.6 * half, 0.08 * width),
                      np.maximum(height / 2 - half, 0.2 * half)], -1)
    pixel = rng.uniform(-1, 1, (count, 2)) * reach
    centre = (points.max(1) + points.min(1))[:, :2] / 2
    return np.concatenate([pixel / focal[:, None] * depth[:, None] - centre, depth[:, None]], -1)


def _place_portraits(points, focal, width, height, rng):
    """Translations `[N, 3]` with which the photo's lower edge cuts the body between chest and knees."""
    count = len(points)
    nose, neck, knees = points[:, 0], points[:, 1], (points[:, 10] + points[:, 13]) / 2
    top = np.minimum(nose[:, 1], neck[:, 1]) - 0.2
    end = neck[:, 1] + rng.uniform(0.25, 1.0, count) * (knees[:, 1] - neck[:, 1])
    extent = np.maximum(end - top, 0.45)
    depth = np.maximum(focal * extent / (rng.uniform(0.5, 1.0, count) * height), 0.6 - points[..., 2].min(1))
    across = rng.uniform(-0.25, 0.25, count) * width / focal * depth
    return np.stack([across - neck[:, 0], height / 2 / focal * depth - top - extent, depth], -1)


def _crop(pixels, width, height, rng):
    """Square crops around what the image shows: origin `[N, 2]`, side `[N]`, and which rows show enough."""
    limit = np.stack([width, height], -1)[:, None]
    seen = np.all((pixels > 0) & (pixels < limit), -1)
    enough = seen[:, :25].sum(1) >= _MIN_VISIBLE
    low = np.where(seen[..., None], pixels, np.inf).min(1)
    high = np.where(seen[..., None], pixels, -np.inf).max(1)
    low, high = np.where(enough[:, None], low, 0.0), np.where(enough[:, None], high, 1.0)
    size = np.maximum((high - low).max(1), 1.0)
    side = size * rng.uniform(1.08, 1.5, len(size))
    centre = (low + high) / 2 + rng.normal(0, 0.045, (len(size), 2)) * size[:, None]
    return centre - side[:, None] / 2, side, enough


def _render(body, scenes):
    faces, labels = body.faces("low"), body.part_labels("low")
    state = ModelState(*(tf.constant(scenes[name]) for name in ModelState._fields))
    vertices = body(state, mesh="low").vertices.numpy()
    face_labels = labels[faces[:, 0]].astype(np.uint8)
    maps = np.stack([
        renderer.label_map(v, faces, face_labels, k * (MAP_SIZE / CROP_SIZE), MAP_SIZE)
        for v, k in zip(vertices, scenes["intrinsics"])])
    pixel = (np.arange(MAP_SIZE) + 0.5) * (CROP_SIZE / MAP_SIZE)
    bounds = scenes["image_bounds"]
    columns = (pixel > bounds[:, :1]) & (pixel < bounds[:, 2:3])
    rows = (pixel > bounds[:, 1:2]) & (pixel < bounds[:, 3:4])
    return np.where(rows[:, :, None] & columns[:, None, :], maps, 0).astype(np.uint8)
