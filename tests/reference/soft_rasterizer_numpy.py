"""The soft rasterizer of the source paper, pixel by pixel and face by face, in plain NumPy."""

import numpy as np


def soft_rasterize(vertices, faces, labels, intrinsics, image_size, sigma, gamma, background=1e-3,
                   near=0.1, far=100.0, cutoff=0.0):
    """One picture: vertices `[V, 3]`, faces `[F, 3]`, labels `[V, C]` -> `[H, W, C + 1]`."""
    height, width = image_size
    fx, fy, cx, cy = intrinsics
    picture = np.zeros([height, width, labels.shape[1] + 1])
    for row in range(height):
        for column in range(width):
            pixel = np.array([column + 0.5, row + 0.5])
            scaled, shares, chances, missed = [background], [np.zeros(labels.shape[1])], [1.0], 1.0
            for face in faces:
                x, y, z = vertices[face].T
                if z.min() <= near or z.max() >= far:
                    continue
                corners = np.stack([fx * x / z + cx, fy * y / z + cy], axis=1)
                if not _proper(corners):
                    continue
                chance = 1.0 / (1.0 + np.exp(-_signed_squared_distance(corners, pixel) / sigma))
                if chance < cutoff:
                    continue
                weights = np.maximum(_barycentric(corners, pixel), 0.0)
                weights /= weights.sum()
                depth = 1.0 / (weights / z).sum()
                scaled.append((far - depth) / (far - near))
                shares.append(weights @ labels[face])
                chances.append(chance)
                missed *= 1.0 - chance
            scaled, chances = np.array(scaled), np.array(chances)
            strength = chances * np.exp((scaled - scaled.max()) / gamma)
            picture[row, column, :-1] = strength @ np.array(shares) / strength.sum()
            picture[row, column, -1] = 1.0 - missed
    return picture


def _proper(corners):
    longest = max(np.sum((corners[i] - corners[i - 1]) ** 2) for i in range(3))
    return longest > 1e-8 and abs(_double_area(*corners)) > 1e-6 * longest


def _double_area(a, b, c):
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _barycentric(corners, pixel):
    a, b, c = corners
    return np.array([_double_area(pixel, b, c), _double_area(a, pixel, c),
                     _double_area(a, b, pixel)]) / _double_area(a, b, c)


def _signed_squared_distance(corners, pixel):
    nearest = np.inf
    for start, stop in ((0, 1), (1, 2), (2, 0)):
        edge = corners[stop] - corners[start]
        part = np.clip((pixel - corners[start]) @ edge / (edge @ edge), 0.0, 1.0)
        nearest = min(nearest, np.sum((pixel - corners[start] - part * edge) ** 2))
    return nearest if (_barycentric(corners, pixel) > 0).all() else -nearest
