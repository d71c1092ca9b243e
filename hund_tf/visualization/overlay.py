"""A picture of a result: the photo with its people's meshes over it, beside two other viewpoints.

Everybody is drawn into one depth buffer, so people hide each other as they do in the photo.
"""

from typing import NamedTuple

import numpy as np

from hund_tf.visualization import renderer

# RGB in 0..1: muted, told apart from each other, from skin and from most clothes
PALETTE = np.array([
    [0.47, 0.66, 0.86], [0.95, 0.65, 0.45], [0.55, 0.77, 0.56], [0.83, 0.56, 0.70],
    [0.93, 0.80, 0.45], [0.60, 0.56, 0.82], [0.45, 0.76, 0.76], [0.86, 0.50, 0.47],
    [0.70, 0.73, 0.40], [0.72, 0.62, 0.53]], np.float32)
BACKGROUND = np.array([0.965, 0.968, 0.975], np.float32)
_GRID, _INK = (0.82, 0.84, 0.87), (0.45, 0.48, 0.53)
_SIDE = (90.0, 8.0)  # yaw and pitch of a viewpoint, degrees: round the scene, then from above
_THREE_QUARTER = (38.0, 38.0)
_SUPERSAMPLING = 2
_MIN_SIDE = 480  # pixels; smaller photos are enlarged so that a mesh can be seen at all


class _View(NamedTuple):
    """Where a picture is taken from: points_view = rotation @ (points - centre) + (0, 0, distance)."""

    rotation: np.ndarray
    centre: np.ndarray
    distance: float
    intrinsics: tuple

    def move(self, points):
        return (points - self.centre) @ self.rotation.T + [0.0, 0.0, self.distance]

    def pixels(self, points):
        moved = self.move(points)
        fx, fy, cx, cy = self.intrinsics
        return moved[:, :2] / moved[:, 2:] * [fx, fy] + [cx, cy]


def draw_overlay(image, meshes, intrinsics, max_side=1600, opacity=0.88, lens=None):
    """Draws the photo with the meshes over it, and to its right the scene from two other sides.

    Args:
        image: uint8 `[H, W, 3]`, RGB.
        meshes: sequence of `(vertices_camera [V, 3] in metres, faces [F, 3])`, one a person; none
            gives the photo with the words "no people found". A mesh with a coordinate that is not
            finite is left out.
        intrinsics: `(fx, fy, cx, cy)`, pixels of `image`.
        max_side: int, pixels; a photo with a longer side is drawn smaller.
        opacity: float in 0..1, of the meshes over the photo.
        lens: `LensDistortion` of the photo, None without distortion. The photo stays as it is; the meshes over it
            are bent as the lens bends people. The other viewpoints know no lens.

    Returns:
        uint8 `[H', W', 3]`, RGB.

    Raises:
        ValueError: if the image is not uint8 `[H, W, 3]` or `max_side` is not positive.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError("`image` must be uint8 [H, W, 3] with H, W > 0. "
                         f"Received: {image.dtype} {image.shape}.")
    if max_side < 1:
        raise ValueError(f"`max_side` must be positive. Received: {max_side}.")
    photo, intrinsics = _resized(image, intrinsics, max_side)
    meshes = [(np.asarray(vertices, np.float64), np.asarray(faces)) for vertices, faces in meshes]
    colors = [person_color(number) for number in range(len(meshes))]
    drawable = [index for index, (vertices, _) in enumerate(meshes)
                if len(vertices) and np.isfinite(vertices).all()]
    if not drawable:
        return _with_sentence(photo, "no people found")
    meshes = [_outward(*meshes[index]) for index in drawable]
    colors = [colors[index] for index in drawable]
    height, width = photo.shape[:2]
    tall = max(height, _MIN_SIDE)
    half = tall // 2
    wide = int(np.clip(0.45 * width, 0.75 * half, 1.3 * half))
    camera = _View(np.eye(3), np.zeros(3), 0.0, intrinsics)
    left = np.broadcast_to(BACKGROUND, [tall, width, 3]).copy()
    top = (tall - height) // 2
    seen = meshes if lens is None else [(lens.bend_vertices(vertices), faces) for vertices, faces in meshes]
    left[top:top + height] = _blend(photo.astype(np.float32) / 255, seen, colors, camera, opacity)
    upper = _panel(meshes, colors, half, wide, _SIDE, "from the side")
    lower = _panel(meshes, colors, tall - half, wide, _THREE_QUARTER, "from above")
    lower[:1] = _GRID
    right = np.concatenate([upper, lower])
    right[:, :1] = _GRID
    return (np.concatenate([left, right], axis=1) * 255 + 0.5).astype(np.uint8)


def draw_scene(meshes, height, width, yaw=0.0, pitch=8.0, colors=None, caption=""):
    """Draws meshes alone on a light ground, the camera turned round them and fitted to them.

    Args:
        meshes: sequence of `(vertices_camera [V, 3] in metres, faces [F, 3])`, at least one.
        height, width: int, pixels.
        yaw, pitch: float, degrees: round the scene (0 = as the camera sees it), and from above.
        colors: `[N, 3]` RGB in 0..1, one a mesh. Defaults to the palette.
        caption: str, written into the corner.

    Returns:
        uint8 `[height, width, 3]`, RGB.

    Raises:
        ValueError: if there is no mesh.
    """
    if not len(meshes):
        raise ValueError("`meshes` must hold at least one mesh. Received: none.")
    meshes = [_outward(np.asarray(vertices, np.float64), np.asarray(faces))
              for vertices, faces in meshes]
    if colors is None:
        colors = [person_color(number) for number in range(len(meshes))]
    picture = _panel(meshes, colors, height, width, (yaw, pitch), caption)
    return (picture * 255 + 0.5).astype(np.uint8)


def person_color(number):
    """RGB in 0..1 of the person of this number; a new tone each time the palette is used up."""
    color = PALETTE[number % len(PALETTE)]
    return color * (1.0, 0.78, 0.62)[number // len(PALETTE) % 3]


def _panel(meshes, colors, height, width, angles, caption):
    view, ground = _fitted_view([vertices for vertices, _ in meshes], height, width, angles)
    picture = np.broadcast_to(BACKGROUND, [height, width, 3]).copy()
    _draw_ground(picture, view, ground)
    _draw_shadow(picture, meshes, view, ground)
    picture = _blend(picture, meshes, colors, view, 1.0)
    size = height / 1100
    _cv2().putText(picture, caption, (round(24 * size) + 4, round(44 * size) + 4), 0,
                   max(size, 0.4), _INK, max(1, round(1.6 * size)), _cv2().LINE_AA)
    return picture


def _blend(picture, meshes, colors, view, opacity):
    """Draws the meshes, supersampled, over a float picture; only the part they cover is touched."""
    height, width = picture.shape[:2]
    moved = [(view.move(vertices), faces) for vertices, faces in meshes]
    box = _covered_box(np.concatenate([vertices for vertices, _ in moved]), view.intrinsics,
                       height, width)
    if box is None:
        return picture
    left, top, right, bottom = box
    fx, fy, cx, cy = view.intrinsics
    factor = _SUPERSAMPLING
    cropped = (fx * factor, fy * factor, (cx - left) * factor, (cy - top) * factor)
    vertices, faces, paint, offset = [], [], [], 0
    for (points, triangles), color in zip(moved, colors):
        normals = renderer.vertex_normals(points, triangles)
        lit = renderer.lit_colors(points, normals, color)
        paint.append(np.concatenate([lit, np.ones([len(lit), 1], np.float32)], axis=1))
        vertices.append(points)
        faces.append(triangles + offset)
        offset += len(points)
    faces = np.concatenate(faces)
    fragments = renderer.render(np.concatenate(vertices), faces, cropped, (bottom - top) * factor,
                                (right - left) * factor, cull_back=True)
    drawn = renderer.shade(fragments, faces, np.concatenate(paint))  # colour and coverage
    drawn = _cv2().resize(drawn, (right - left, bottom - top), interpolation=_cv2().INTER_AREA)
    part = picture[top:bottom, left:right]
    part *= 1.0 - opacity * drawn[:, :, 3:]
    part += opacity * drawn[:, :, :3]
    return picture


def _covered_box(vertices, intrinsics, height, width):
    """Pixels (left, top, right, bottom) that the vertices can cover, or None."""
    fx, fy, cx, cy = intrinsics
    front = vertices[:, 2] > renderer.NEAR
    if not front.any():
        return None
    points = vertices[front]
    x, y = fx * points[:, 0] / points[:, 2] + cx, fy * points[:, 1] / points[:, 2] + cy
    bounds = np.array([x.min() - 1, y.min() - 1, x.max() + 2, y.max() + 2])
    if not front.all():  # a face may reach any border from behind the camera
        bounds = np.array([0, 0, width, height])
    left, top, right, bottom = np.clip(bounds, 0, [width, height, width, height]).astype(int)
    return (left, top, right, bottom) if right > left and bottom > top else None


def _fitted_view(people, height, width, angles):
    """A view turned by the angles in which the people fill the picture, and the ground under them.

    Returns:
        `_View`, and `(level, low, high)`: the camera-frame y of the ground, metres, and the
        corners (x, z) of the piece of it that is drawn.
    """
    centres = np.stack([(points.min(axis=0) + points.max(axis=0)) / 2 for points in people])
    middle = np.median(centres, axis=0)
    away = np.linalg.norm(centres - middle, axis=1)
    # someone placed far off by mistake must not shrink all others to dots
    near = away <= max(4.0, 4.0 * np.median(away))
    points = np.concatenate([vertices for vertices, keep in zip(people, near) if keep])
    low, high = points.min(axis=0), points.max(axis=0)
    centre = (low + high) / 2
    margin = 0.35 + 0.05 * (high - low)[[0, 2]].max()
    ground = high[1], low[[0, 2]] - margin, high[[0, 2]] + margin
    radius = np.linalg.norm(high - low) / 2 + margin
    yaw, pitch = np.radians(angles)
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    tilt = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)],
                     [0, -np.sin(pitch), np.cos(pitch)]]).T
    view = _View(tilt @ turn, centre, 3.0 * radius, (1.0, 1.0, 0.0, 0.0))
    seen = view.pixels(points)
    low_seen, high_seen = seen.min(axis=0), seen.max(axis=0)
    focal = 0.86 * min(np.array([width, height]) / np.maximum(high_seen - low_seen, 1e-6))
    offset = np.array([width, height]) / 2 - focal * (low_seen + high_seen) / 2
    return view._replace(intrinsics=(focal, focal, *offset)), ground


def _draw_ground(picture, view, ground):
    """Lines every half metre, metre, two, five ... on the plane under the people."""
    level, low, high = ground
    step = next(step for step in (0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 1e9)
                if (high - low).max() / step <= 12)
    low, high = np.floor(low / step) * step, np.ceil(high / step) * step
    ends = []
    for x in np.arange(low[0], high[0] + step / 2, step):
        ends += [[x, level, low[1]], [x, level, high[1]]]
    for z in np.arange(low[1], high[1] + step / 2, step):
        ends += [[low[0], level, z], [high[0], level, z]]
    ends = np.array(ends)
    if (view.move(ends)[:, 2] < 0.05).any():
        return
    lines = np.clip(view.pixels(ends), -1e4, 1e4).reshape(-1, 2, 1, 2)
    _cv2().polylines(picture, list(np.round((lines - 0.5) * 16).astype(np.int32)), False, _GRID, 1,
                     _cv2().LINE_AA, shift=4)


def _draw_shadow(picture, meshes, view, ground):
    """A soft shadow straight below each person: their mesh pressed flat onto the ground."""
    height, width = picture.shape[:2]
    level = ground[0]
    shadow = np.zeros([height, width], np.float32)
    for vertices, faces in meshes:
        flat = vertices.copy()
        flat[:, 1] = level
        near = np.clip(1.2 - (level - vertices[:, 1].max()), 0.0, 1.0)  # fades when off the ground
        hit = renderer.label_map(view.move(flat), faces, np.ones(len(faces), int),
                                 view.intrinsics, (height, width))
        np.maximum(shadow, hit * np.float32(near), out=shadow)
    shadow = _cv2().GaussianBlur(shadow, (0, 0), max(height, width) / 130)
    picture *= 1.0 - 0.22 * shadow[:, :, None]


def _outward(vertices, faces):
    """The mesh with its faces turned so that they show their front outside (volume > 0)."""
    corners = vertices[faces] - vertices.mean(axis=0)
    volume = np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    return vertices, faces if volume >= 0 else faces[:, ::-1]


def _resized(image, intrinsics, max_side):
    """The photo at the size it is drawn in, and its intrinsics there."""
    height, width = image.shape[:2]
    longest = max(height, width)
    scale = min(max(longest, _MIN_SIDE), max_side) / longest
    if scale == 1.0:
        return image, tuple(float(value) for value in intrinsics)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    kind = _cv2().INTER_AREA if scale < 1 else _cv2().INTER_CUBIC
    fx, fy, cx, cy = (float(value) for value in intrinsics)
    across, down = size[0] / width, size[1] / height
    resized = _cv2().resize(image, size, interpolation=kind)
    return resized, (fx * across, fy * down, cx * across, cy * down)


def _with_sentence(photo, sentence):
    """The photo with a strip below it that says the sentence."""
    cv2 = _cv2()
    width = photo.shape[1]
    (wide, _), _ = cv2.getTextSize(sentence, 0, 1.0, 1)
    size = min(0.5 * width / wide, 1.4)
    strip = np.empty([max(12, int(64 * size)), width, 3], np.uint8)
    strip[:] = (BACKGROUND * 255).astype(np.uint8)
    place = int((width - wide * size) / 2), int(strip.shape[0] * 0.66)
    cv2.putText(strip, sentence, place, 0, size, [value * 255 for value in _INK],
                max(1, round(1.6 * size)), cv2.LINE_AA)
    return np.concatenate([photo, strip])


def _cv2():
    from hund_tf.images import opencv  # loaded late: it needs a system library on some machines

    return opencv()
