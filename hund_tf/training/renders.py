"""Pictures of our own body to train the first CNN on: scenes in, crops with exact keypoints, parts and 3D out.

A body is dressed in random colours, lit from a random side and put before a made-up background, sometimes behind a box.
"""

import numpy as np
import tensorflow as tf

from hund_tf.geometry import camera
from hund_tf.sensing.heatmaps import CROP_SIZE, MAP_SIZE
from hund_tf.state import THETA, ModelState
from hund_tf.training import records, scenes
from hund_tf.visualization import renderer

HIDDEN = 0.5  # confidence of a keypoint in the picture that something is in front of; 1 is that of one in sight
# How far a keypoint may lie under the skin, metres: joints of the body, points of the face and joints of the fingers.
_UNDER_SKIN = np.repeat([0.16, 0.04], [25, 112])
_BODIES_AT_A_TIME = 16
_MID_HIP = 8
# Part labels that one garment covers; a draw takes the shorter or the longer of each.
_TOPS = ((1,), (1, 10, 11), (1, 10, 11, 12, 13))
_TROUSERS = ((), (6, 7), (6, 7, 8, 9))
_SHOES = ((), (4, 5))


def sample_scenes(body, count, seed=0):
    """Scenes of bodies posed by the pose prior, as `scenes.sample_scenes` gives them: no motion capture is needed.

    Args:
        body: `GenerativeBody`.
        count: int, N.
        seed: int.
    """
    rng = np.random.default_rng(seed)
    parts, have = [], 0
    while have < count:
        draw = max(16, int(1.2 * (count - have)))
        theta = 0.8 * rng.normal(size=(draw, THETA))
        poses = body.rotations_from_theta(tf.constant(theta, tf.float32)).numpy()[:, :22]
        poses[:, 0] = np.eye(3)
        parts.append(scenes.sample_scenes(body, poses, rng, render=False))
        have += len(parts[-1]["theta"])
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def records_of(body, sampled, seed=0, occluders=0.3):
    """Yields `(source, values)` for `records.encode`, a picture a scene, drawn anew for another seed.

    The evidence in it is what a perfect first CNN would say.

    Args:
        body: `GenerativeBody`.
        sampled: dict of arrays, as `scenes.sample_scenes` gives it.
        seed: int.
        occluders: float, share of pictures with a box before the person.
    """
    count = len(sampled["theta"])
    faces, labels = body.faces("full"), np.asarray(body.part_labels("full"))
    for start in range(0, count, _BODIES_AT_A_TIME):
        scene = {name: values[start:start + _BODIES_AT_A_TIME] for name, values in sampled.items()}
        state = ModelState(*(tf.constant(scene[name]) for name in ModelState._fields))
        posed = body(state, mesh="full")
        pixels = camera.project(posed.keypoints, tf.constant(scene["intrinsics"])).numpy()
        for i in range(len(pixels)):
            one = {name: values[i] for name, values in scene.items()}
            rng = np.random.default_rng([seed, start + i])
            picture = draw(posed.vertices[i].numpy(), faces, labels, one["intrinsics"], one["image_bounds"],
                           posed.keypoints[i].numpy(), pixels[i], rng, occluders)
            points = posed.keypoints[i, :25].numpy()
            yield f"renders/{seed}/{start + i}", {
                **{name: one[name] for name in ("intrinsics", "image_bounds", *ModelState._fields)},
                "coding": body.coding, **picture, "keypoints": pixels[i],
                "person_mask": (picture["part_labels"] > 0).astype(np.float32),
                "landmarks3d": points - points[_MID_HIP], "landmarks3d_confidence": picture["confidence"][:25]}


def write(writer, body, sampled, seed=0, occluders=0.3, progress=iter):
    """Writes a record for each scene to an opened `record_files.ShardWriter`; arguments as in `records_of`."""
    for source, values in progress(records_of(body, sampled, seed, occluders)):
        writer.write(records.encode(source, **values))


def draw(vertices_camera, faces, vertex_labels, intrinsics, bounds, keypoints_camera, keypoints_crop, rng,
         occluders=0.3):
    """Draws one crop.

    Args:
        vertices_camera: `[V, 3]`, metres.
        faces: int `[F, 3]`.
        vertex_labels: int `[V]`, parts 1 to 14.
        intrinsics: `[4]`, of the crop, pixels.
        bounds: `[4]`, x0, y0, x1, y1 of the photo in crop pixels; black outside.
        keypoints_camera, keypoints_crop: `[137, 3]` metres and `[137, 2]` pixels.
        rng: `np.random.Generator`.
        occluders: float, chance of a box before the person.

    Returns:
        dict with `image`, PNG bytes, `part_labels` uint8 `[60, 60]` and `confidence` float32 `[137]`: 1 in sight,
        `HIDDEN` behind something, 0 outside the photo.
    """
    x0, y0, x1, y1 = np.clip(bounds, 0, CROP_SIZE)
    fragments = renderer.render(vertices_camera, faces, intrinsics, CROP_SIZE, CROP_SIZE, cull_back=True)
    light = rng.normal(size=3) * [1.0, 0.5, 0.5] + [0, -0.8, -0.8]
    colors = renderer.lit_colors(vertices_camera, renderer.vertex_normals(vertices_camera, faces),
                                 clothes(vertices_camera, vertex_labels, rng), light, rng.uniform(0.3, 0.6))
    picture = np.where(fragments.face_index[..., None] >= 0, renderer.shade(fragments, faces, colors), background(rng))
    labels = renderer.label_map(vertices_camera, faces, renderer.face_labels_from_vertices(faces, vertex_labels),
                                np.asarray(intrinsics) * (MAP_SIZE / CROP_SIZE), MAP_SIZE)
    cell = np.clip(np.floor(keypoints_crop), 0, CROP_SIZE - 1).astype(int)
    hidden = fragments.depth[cell[:, 1], cell[:, 0]] < keypoints_camera[:, 2] - _UNDER_SKIN
    if rng.random() < occluders:
        box = _box(rng)
        picture[box[1]:box[3], box[0]:box[2]] = background(rng)[box[1]:box[3], box[0]:box[2]]
        labels = np.where(_within(box, MAP_SIZE), 0, labels)
        hidden |= np.all((keypoints_crop >= box[:2]) & (keypoints_crop < box[2:]), -1)
    picture[~_within((x0, y0, x1, y1), CROP_SIZE)] = 0.0
    labels = np.where(_within((x0, y0, x1, y1), MAP_SIZE), labels, 0)
    inside = np.all((keypoints_crop > [x0, y0]) & (keypoints_crop < [x1, y1]), -1) & (keypoints_camera[:, 2] > 0)
    confidence = np.where(hidden, HIDDEN, 1.0) * inside
    image = np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    return {"image": tf.io.encode_png(image).numpy(), "part_labels": labels.astype(np.uint8),
            "confidence": confidence.astype(np.float32)}


def clothes(vertices_camera, vertex_labels, rng):
    """Colours `[V, 3]`: skin, and over it a top, trousers and shoes, each plain or with a pattern."""
    skin = rng.uniform(0.25, 0.95) * np.array([1.0, rng.uniform(0.68, 0.82), rng.uniform(0.5, 0.72)])
    colors = np.tile(skin, (len(vertices_camera), 1))
    for garments in (_TROUSERS, _TOPS, _SHOES):
        worn = np.isin(vertex_labels, garments[rng.integers(len(garments))])
        waves = vertices_camera @ rng.normal(0, rng.uniform(10, 60), (3, 2)) + rng.uniform(0, 6.3, 2)
        pattern = 1 + rng.choice([0.0, 0.15, 0.4]) * np.sin(waves).prod(1)
        colors[worn] = rng.uniform(0.03, 1.0, 3) * pattern[worn, None]
    colors[vertex_labels == 14] *= rng.uniform(0.8, 1.0)
    return np.clip(colors, 0, 1)


def background(rng):
    """A picture of nothing, `[480, 480, 3]` in [0, 1]: coloured noise of every grain, and boxes."""
    picture = np.tile(rng.uniform(0.1, 0.9, 3), (CROP_SIZE, CROP_SIZE, 1))
    pixel = (np.arange(CROP_SIZE) + 0.5) / CROP_SIZE
    for cells in (3, 8, 24, 80):
        grain = rng.normal(0, rng.uniform(0, 0.12), (cells, cells, 1))
        grain = grain + rng.normal(0, rng.uniform(0, 0.06), (cells, cells, 3))
        weights = np.maximum(0, 1 - np.abs(pixel[:, None] * cells - 0.5 - np.arange(cells)))  # linear between cells
        wide = np.einsum("xj,ijc->ixc", weights, grain, optimize=True)
        picture += np.einsum("yi,ixc->yxc", weights, wide, optimize=True)
    picture += rng.normal(0, rng.uniform(0, 0.04), picture.shape)
    for _ in range(rng.integers(0, 8)):
        x0, y0, x1, y1 = _box(rng)
        color = rng.uniform(0, 0.9, 3) * rng.uniform(0.3, 1)
        picture[y0:y1, x0:x1] = picture[y0:y1, x0:x1] * rng.uniform(0, 0.8) + color
    return np.clip(picture, 0, 1)


def _box(rng):
    centre, half = rng.uniform(0, CROP_SIZE, 2), rng.uniform(10, 110, 2)
    low, high = (np.clip(np.round(x), 0, CROP_SIZE).astype(int) for x in (centre - half, centre + half))
    return (*low, *high)


def _within(box, size):
    """Which pixels of a map of the crop have their centres in a box of crop pixels: bool `[size, size]`."""
    pixel = (np.arange(size) + 0.5) * (CROP_SIZE / size)
    return ((pixel > box[1]) & (pixel < box[3]))[:, None] & ((pixel > box[0]) & (pixel < box[2]))
