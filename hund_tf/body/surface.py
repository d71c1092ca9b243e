"""Triangle meshes in plain NumPy: nearest points on a surface, a coarse copy, fields carried to another mesh."""

import numpy as np

_CHUNK = 256  # queries at a time, so that the table of distances stays small


def nearest_points(queries, vertices, faces, candidates=24):
    """The nearest surface point of each query, among the faces with the nearest centres.

    Args:
        queries: `[Q, 3]`.
        vertices: `[V, 3]`.
        faces: int `[F, 3]`.
        candidates: int, faces to try for each query.

    Returns:
        `(corners, weights)`: int `[Q, 3]` vertex numbers and `[Q, 3]` weights that are not negative and sum to 1.
    """
    centres = vertices[faces].mean(1)
    near = nearest(queries, centres, min(candidates, len(faces)))
    tried = near.shape[1]
    a, b, c = np.moveaxis(vertices[faces[near]], 2, 0)  # each [Q, tried, 3]
    weights = _closest_on_triangles(queries[:, None], a, b, c)
    points = weights[..., :1] * a + weights[..., 1:2] * b + weights[..., 2:] * c
    best = np.linalg.norm(points - queries[:, None], axis=-1).reshape(-1, tried).argmin(1)
    row = np.arange(len(queries))
    return faces[near[row, best]].astype(np.int64), weights[row, best]


def nearest(queries, points, count):
    """Numbers `[Q, count]` of the points `[N, 3]` nearest to each query `[Q, 3]`, in no order."""
    rows = []
    square = np.square(points).sum(1)
    for start in range(0, len(queries), _CHUNK):
        distance = square - 2 * queries[start:start + _CHUNK] @ points.T
        order = distance.argmin(1)[:, None] if count == 1 else np.argpartition(distance, count - 1, axis=1)
        rows.append(order[:, :count])
    return np.concatenate(rows)


def sample(vertices, faces, count):
    """Points `[count, 3]` spread evenly over a surface, the same on every call."""
    a, b, c = np.moveaxis(vertices[faces].astype(np.float64), 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    rng = np.random.default_rng(0)
    face = np.searchsorted(np.cumsum(area), (np.arange(count) + 0.5) / count * area.sum())
    u, v = np.sort(rng.random((2, count)), axis=0)[..., None]
    return u * a[face] + (v - u) * b[face] + (1 - v) * c[face]


def mix(field, corners, weights):
    """A field of vertices `[..., V, C]` at surface points `[Q, 3]`: `[..., Q, C]`."""
    return sum(field[..., corners[:, i], :] * weights[:, i, None] for i in range(corners.shape[1]))


def largest_part(faces, vertex_count):
    """The faces `[F', 3]` of the connected part with the most vertices."""
    part = np.arange(vertex_count)
    while True:  # each vertex takes the smallest number around it until nothing changes
        low = part[faces].min(1)
        new = part.copy()
        np.minimum.at(new, faces.ravel(), np.repeat(low, 3))
        new = new[new]
        if np.array_equal(new, part):
            break
        part = new
    used = np.unique(faces)
    largest = np.bincount(part[used]).argmax()
    return faces[part[faces[:, 0]] == largest]


def coarse_copy(vertices, faces, vertex_count):
    """The skin with about `vertex_count` vertices; loose parts such as eyeballs are left out.

    Args:
        vertices: `[V, 3]`.
        faces: int `[F, 3]`.
        vertex_count: int; a mesh of up to a quarter more keeps its vertices.

    Returns:
        `(vertices, faces)`, `[V', 3]` and int64 `[F', 3]`.

    Raises:
        ImportError: if the package `fast-simplification` is missing and the mesh is larger.
    """
    used, corners = np.unique(largest_part(faces, len(vertices)), return_inverse=True)
    points, triangles = vertices[used], corners.reshape(-1, 3)
    if len(points) > 1.25 * vertex_count:
        try:
            import fast_simplification
        except ImportError:
            raise ImportError("A mesh this large needs the package fast-simplification for its low copy: pip install "
                              f"fast-simplification. Received: {len(points)} vertices.") from None
        points, triangles = fast_simplification.simplify(
            points.astype(np.float32), triangles.astype(np.int32), target_count=max(2 * vertex_count, 4))
    return np.asarray(points, np.float64), np.asarray(triangles, np.int64)


def _closest_on_triangles(point, a, b, c):
    """Barycentric weights `[..., 3]` of the points of triangles `a, b, c` `[..., 3]` nearest to `point`.

    The best of the inside, where the projection falls there, and of the three edges.
    """
    point = np.broadcast_to(point, a.shape)
    ab, ac, ap = b - a, c - a, point - a
    aa, bb, cc = (ab * ab).sum(-1), (ac * ac).sum(-1), (ab * ac).sum(-1)
    pb, pc = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = aa * bb - cc * cc
    safe = np.where(area > 1e-20, area, 1.0)
    v, w = (bb * pb - cc * pc) / safe, (aa * pc - cc * pb) / safe
    inside = (area > 1e-20) & (v >= 0) & (w >= 0) & (v + w <= 1)
    zero = np.zeros_like(v)
    choices = [np.stack([1 - v - w, v, w], -1)]
    for start, end, order in ((a, b, (0, 1, 2)), (b, c, (2, 0, 1)), (c, a, (1, 2, 0))):
        edge = end - start
        t = np.clip(((point - start) * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-20), 0, 1)
        along = (1 - t, t, zero)
        choices.append(np.stack([along[i] for i in order], -1))
    choices = np.stack(choices)  # [4, ..., 3]
    corners = np.stack([a, b, c], -2)
    distance = np.linalg.norm((choices[..., None] * corners).sum(-2) - point, axis=-1)
    distance[0] = np.where(inside, distance[0], np.inf)
    return np.take_along_axis(choices, distance.argmin(0)[None, ..., None], 0)[0]
