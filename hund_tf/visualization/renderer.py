"""A hard z-buffer in NumPy: meshes in the camera frame in, depth, faces and pictures out.

A ray through pixel (x, y) is d = ((x - cx)/fx, (y - cy)/fy, 1). With the corners of a face as the
columns of M, b = M^-1 d holds its corner weights: the ray meets the face where all b >= 0, at
depth 1 / sum(b). Each b is affine in x and y, so a face cuts one span out of every image row.
Nothing is divided by a vertex depth: faces that pass behind the camera need no clipping, and
one more half-plane, sum(b) <= 1/near, cuts them at the near plane.

All work is done on arrays: faces -> (face, row) spans -> (face, pixel) hits -> nearest hit.

Source: Olano and Greer, Triangle Scan Conversion using 2D Homogeneous Coordinates, 1997.
"""

from typing import NamedTuple

import numpy as np

NEAR = 0.01  # metres; what lies nearer than this to the camera plane is not drawn
_TINY = 1e-200  # stands for a slope of exactly zero: divides to a huge number of the right sign
_EMPTY = np.uint64(np.iinfo(np.uint64).max)


class Fragments(NamedTuple):
    """What each pixel sees.

    Fields:
        depth: float32 `[H, W]`, metres along z; inf where there is nothing.
        face_index: int32 `[H, W]`, row of `faces`; -1 where there is nothing.
        barycentric: float32 `[H, W, 3]`, weights of the face's corners at the hit point in
            space (perspective-correct, sum 1); 0 where there is nothing.
    """

    depth: np.ndarray
    face_index: np.ndarray
    barycentric: np.ndarray


def render(vertices_camera, faces, intrinsics, height, width, cull_back=False, near=NEAR):
    """Finds the nearest face at every pixel centre.

    Args:
        vertices_camera: `[V, 3]`, metres, camera frame.
        faces: int `[F, 3]`.
        intrinsics: `(fx, fy, cx, cy)`, pixels.
        height, width: int, pixels.
        cull_back: bool; leave out faces seen from behind (corners clockwise in the picture seen
            from outside). About twice as fast; right for closed meshes only.
        near: float, metres.

    Returns:
        `Fragments`.

    Raises:
        ValueError: if a shape, the size or the focal length is impossible.
    """
    planes = _face_planes(vertices_camera, faces, intrinsics, height, width, cull_back, near)
    depth_bits, winner = _nearest(planes, height, width, near)
    hit = np.flatnonzero(winner >= 0)
    edges, determinant, kept = planes[0], planes[1], planes[2]
    owner = winner[hit]
    x, y = (hit % width) + 0.5, (hit // width) + 0.5
    weights = edges[owner]  # [P, 3, 3]
    weights = weights[:, :, 0] * x[:, None] + weights[:, :, 1] * y[:, None] + weights[:, :, 2]
    weights = np.maximum(weights, 0.0)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), _TINY)
    barycentric = np.zeros([height * width, 3], np.float32)
    barycentric[hit] = weights
    face_index = np.full(height * width, -1, np.int32)
    face_index[hit] = kept[owner]
    depth = np.full(height * width, np.inf, np.float32)
    depth[hit] = depth_bits[hit].view(np.float32)
    shape = [height, width]
    return Fragments(depth.reshape(shape), face_index.reshape(shape),
                     barycentric.reshape(shape + [3]))


def label_map(vertices_camera, faces, face_labels, intrinsics, size=60, near=NEAR):
    """Draws the label of the nearest face at every pixel of a small picture.

    Args:
        vertices_camera: `[V, 3]`, metres; several people may share the arrays.
        faces: int `[F, 3]`.
        face_labels: int `[F]` in 0..255, 0 reads as background.
        intrinsics: `(fx, fy, cx, cy)`, pixels of the small picture.
        size: int, or `(height, width)`.
        near: float, metres.

    Returns:
        uint8 `[size, size]`.

    Raises:
        ValueError: if a shape, the size or the focal length is impossible.
    """
    height, width = (size, size) if np.ndim(size) == 0 else size
    face_labels = np.asarray(face_labels)
    if face_labels.shape != (len(faces),):
        raise ValueError("`face_labels` must hold one label per face. "
                         f"Received: {face_labels.shape} for {len(faces)} faces.")
    planes = _face_planes(vertices_camera, faces, intrinsics, height, width, False, near)
    _, winner = _nearest(planes, height, width, near)
    # index -1 (nothing hit) reads the appended background label
    labels = np.append(face_labels[planes[2]], 0).astype(np.uint8)
    return labels[winner].reshape(height, width)


def face_labels_from_vertices(faces, vertex_labels):
    """Label per face: the one that two corners share, else that of the first corner.

    Args:
        faces: int `[F, 3]`.
        vertex_labels: int `[V]`.

    Returns:
        int `[F]`.
    """
    first, second, third = np.asarray(vertex_labels)[np.asarray(faces)].T
    return np.where(second == third, second, first)


def vertex_normals(vertices, faces):
    """Unit normals, each the area-weighted mean of the faces around a vertex.

    Args:
        vertices: `[V, 3]`, any frame.
        faces: int `[F, 3]`, counter-clockwise seen from outside.

    Returns:
        float32 `[V, 3]`; a vertex without a proper face gets (0, 0, -1).
    """
    vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces)
    corners = vertices[faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    index = faces.T.ravel()
    total = np.stack([np.bincount(index, np.tile(face_normals[:, axis], 3), len(vertices))
                      for axis in range(3)], axis=1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 0, total / np.maximum(length, _TINY), [0.0, 0.0, -1.0]).astype(
        np.float32)


def shade(fragments, faces, vertex_colors):
    """Blends the colours of each pixel's face over it.

    Args:
        fragments: `Fragments` of those faces.
        faces: int `[F, 3]`.
        vertex_colors: `[V, C]`, any unit; see `lit_colors`.

    Returns:
        float32 `[H, W, C]`, 0 where there is nothing.
    """
    vertex_colors = np.asarray(vertex_colors, np.float32)
    hit = fragments.face_index >= 0
    corners = np.asarray(faces)[fragments.face_index[hit]]  # [P, 3]
    weights = fragments.barycentric[hit]
    picture = np.zeros(hit.shape + vertex_colors.shape[1:], np.float32)
    picture[hit] = sum(vertex_colors[corners[:, i]] * weights[:, i:i + 1] for i in range(3))
    return picture


def lit_colors(vertices_camera, normals, colors, light=(-0.35, -0.75, -0.56), ambient=0.42):
    """Soft daylight on each vertex: sky, a key light, a faint gloss and paler outlines.

    Args:
        vertices_camera: `[V, 3]`, metres, camera frame (the eye is at the origin).
        normals: `[V, 3]`, unit.
        colors: `[3]` or `[V, 3]`, RGB in 0..1.
        light: direction towards the key light, camera frame: above, left, behind the eye.
        ambient: float, share of the light that comes from everywhere.

    Returns:
        float32 `[V, 3]`, RGB in 0..1.
    """
    normals = np.asarray(normals, np.float32)
    light = np.asarray(light, np.float32) / np.linalg.norm(light)
    eye = -np.asarray(vertices_camera, np.float32)
    eye /= np.maximum(np.linalg.norm(eye, axis=1, keepdims=True), 1e-6)
    facing = np.sum(normals * eye, axis=1)
    key = 0.5 + 0.5 * (normals @ light)  # wrapped: no black side
    half = eye + light
    half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
    gloss = np.maximum(np.sum(normals * half, axis=1), 0.0) ** 24
    rim = (1.0 - np.abs(facing)) ** 3
    lit = np.asarray(colors, np.float32) * (ambient + (1.0 - ambient) * 1.18 * key ** 1.5)[:, None]
    return np.clip(lit + (0.10 * gloss + 0.07 * rim)[:, None], 0.0, 1.0).astype(np.float32)


def _face_planes(vertices_camera, faces, intrinsics, height, width, cull_back, near):
    """Corner-weight planes of the faces that may be seen.

    Returns:
        edges `[K, 3, 3]` (weight = a x + b y + c for each corner, times |det|), |det| `[K]`,
        their face numbers `[K]`, first row and row count `[K]`, crosses-near flag `[K]`.
    """
    vertices, faces = np.asarray(vertices_camera, np.float64), np.asarray(faces)
    fx, fy, cx, cy = (float(value) for value in intrinsics)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"`vertices_camera` must be [V, 3]. Received: {vertices.shape}.")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"`faces` must be [F, 3]. Received: {faces.shape}.")
    if height < 1 or width < 1:
        raise ValueError(f"The picture must be at least 1 x 1. Received: {height} x {width}.")
    if not (fx > 0 and fy > 0):
        raise ValueError(f"Focal lengths must be positive. Received: {fx}, {fy}.")
    z = vertices[:, 2]
    front = z > near
    safe = np.where(front, z, 1.0)
    x = np.where(front, fx * vertices[:, 0] / safe + cx, 0.0)
    y = np.where(front, fy * vertices[:, 1] / safe + cy, 0.0)
    in_front = front[faces]
    crosses = ~in_front.all(axis=1)
    xs, ys = x[faces], y[faces]
    # rows whose centre may lie in the face; those across the near plane may be anywhere
    slack = 1e-6
    low = np.ceil(ys.min(axis=1) - 0.5 - slack)
    high = np.floor(ys.max(axis=1) - 0.5 + slack)
    low = np.where(crosses, 0, np.clip(low, 0, height)).astype(np.int64)
    high = np.where(crosses, height - 1, np.clip(high, -1, height - 1)).astype(np.int64)
    beside = (xs.max(axis=1) < 0.5 - slack) | (xs.min(axis=1) > width - 0.5 + slack)
    keep = in_front.any(axis=1) & (high >= low) & (crosses | ~beside)
    keep &= np.isfinite(vertices).all(axis=1)[faces].all(axis=1)
    kept = np.flatnonzero(keep)
    c0, c1, c2 = vertices[faces[kept]].transpose(1, 2, 0)  # each [3, K]
    normal0, normal1, normal2 = _cross(c1, c2), _cross(c2, c0), _cross(c0, c1)
    determinant = (c0 * normal0).sum(axis=0)  # negative: seen from outside
    proper = determinant < 0 if cull_back else determinant != 0
    if not proper.all():
        kept, determinant = kept[proper], determinant[proper]
        normal0, normal1, normal2 = normal0[:, proper], normal1[:, proper], normal2[:, proper]
    sign = np.sign(determinant)
    edges = np.empty([len(kept), 3, 3])
    for corner, normal in enumerate((normal0, normal1, normal2)):
        edges[:, corner, 0] = sign * normal[0] / fx
        edges[:, corner, 1] = sign * normal[1] / fy
        edges[:, corner, 2] = sign * (normal[2] - normal[0] * (cx / fx) - normal[1] * (cy / fy))
    return edges, np.abs(determinant), kept, low[kept], (high - low + 1)[kept], crosses[kept]


def _nearest(planes, height, width, near):
    """Nearest face per pixel: float32 depth as bits `[H*W]` and row of `planes` (-1 = none)."""
    edges, determinant, _, low, count, crosses = planes
    # 1/depth = a x + b y + c, the sum of the corner weights
    inverse_depth = edges.sum(axis=1) / determinant[:, None]  # [K, 3]
    owner = np.repeat(np.arange(len(low)), count)
    row = _running(count) + low[owner]
    y = row + 0.5
    start = np.full(len(owner), 0.5)
    stop = np.full(len(owner), width - 0.5)
    for corner in range(3):
        _cut(start, stop, edges[:, corner], owner, y)
    if crosses.any():  # depth >= near
        some = np.flatnonzero(crosses[owner])
        plane = -inverse_depth
        plane[:, 2] += 1.0 / near
        part_start, part_stop = start[some], stop[some]
        _cut(part_start, part_stop, plane, owner[some], y[some])
        start[some], stop[some] = part_start, part_stop
    first = np.ceil(start - 0.5).astype(np.int64)
    length = np.floor(stop - 0.5).astype(np.int64) - first + 1
    some = np.flatnonzero(length > 0)
    owner, row, y, first, length = owner[some], row[some], y[some], first[some], length[some]

    a, b, c = inverse_depth.T
    span = np.repeat(np.arange(len(owner)), length)
    column = _running(length) + first[span]
    base = a[owner] * 0.5 + b[owner] * y + c[owner]
    depth = 1.0 / np.maximum(base[span] + a[owner][span] * column, _TINY)
    # one 64-bit number holds depth and face; positive floats sort like their bits
    key = np.minimum(depth, 3e38).astype(np.float32).view(np.uint32).astype(np.uint64)
    key = (key << np.uint64(32)) | owner.astype(np.uint64)[span]
    buffer = np.full(height * width, _EMPTY)
    np.minimum.at(buffer, (row * width)[span] + column, key)
    winner = np.where(buffer == _EMPTY, -1, (buffer & np.uint64(0xFFFFFFFF)).astype(np.int64))
    return (buffer >> np.uint64(32)).astype(np.uint32), winner


def _cut(start, stop, plane, owner, y):
    """Narrows the spans, in place, to where a x + b y + c >= 0."""
    a = plane[:, 0]
    a = np.where(a == 0, _TINY, a)[owner]
    with np.errstate(over="ignore"):
        edge = -(plane[:, 1][owner] * y + plane[:, 2][owner]) / a
    edge = np.clip(edge, -1e9, 1e9)
    rising = a > 0
    np.maximum(start, np.where(rising, edge, -1e9), out=start)
    np.minimum(stop, np.where(rising, 1e9, edge), out=stop)


def _running(counts):
    """[2, 3] -> [0, 1, 0, 1, 2]."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def _cross(a, b):
    """Cross product of `[3, K]` arrays; exactly antisymmetric, so shared edges leave no gap."""
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2],
                     a[0] * b[1] - a[1] * b[0]])
