"""A calibrated lens in, the photo that a lens without distortion would take out; and points and boxes between the two.

The model works on straight photos. `LensDistortion` straightens a photo with the same intrinsics and the same size, and
carries results back: what is in pixels falls on the photo as it was given, what is in metres holds for the real camera.
The maths is OpenCV's (`cv2.projectPoints`, `cv2.undistort`), its coefficients too:
https://docs.opencv.org/4.x/d9/d0c/group__calib3d.html. Pixels have their origin at the corner of the top-left pixel;
OpenCV's begin at that pixel's centre, so a calibration made with OpenCV gets 0.5 added to its cx and cy.
"""

import numpy as np

from hund_tf import images

COUNTS = (4, 5, 8, 12, 14)
ORDER = "k1, k2, p1, p2[, k3[, k4, k5, k6[, s1, s2, s3, s4[, tx, ty]]]]"
MAX_STRETCH = 20.0  # times; a map that stretches or shrinks a spot more than that is taken for a wrong calibration
_REACH = 4.0  # picture corners: how far out the model is looked at
_RADII, _DIRECTIONS = 200, 36
_NEWTON_STEPS, _DIRECTION_STEPS = 20, 20
_OUTLINE_POINTS = 64


class LensDistortion:
    """The distortion of one camera at one image size.

    Letters: N points or boxes. A "straight" pixel is one of the straightened photo.

    The coefficients say where a ray falls that the calibration has seen. Far out their polynomials fold over: beyond
    the largest circle in which they are one-to-one, the map goes on with slope 1, so that every point has one finite
    place on the photo and back.

    Args:
        coefficients: 4, 5, 8, 12 or 14 numbers, `ORDER`.
        intrinsics: `(fx, fy, cx, cy)`, pixels of the photo.
        height: int, pixels.
        width: int, pixels.

    Raises:
        ValueError: if the coefficients are of another number or not finite, or if the map folds over, or stretches more
            than `MAX_STRETCH` times, inside the picture.
        ImportError: if OpenCV cannot be loaded.
    """

    def __init__(self, coefficients, intrinsics, height, width):
        self.coefficients = checked_coefficients(coefficients)
        self._focal = np.asarray(intrinsics[:2], np.float64)
        self._centre = np.asarray(intrinsics[2:], np.float64)
        corners = (np.array([[0, 0], [width, 0], [0, height], [width, height]]) - self._centre) / self._focal
        corner = float(np.linalg.norm(corners, axis=-1).max())
        self._limit = self._one_to_one(_REACH * corner)
        if not self._limit >= corner:
            raise ValueError(
                "`distortion` must map the picture one-to-one, without stretching it more than "
                f"{MAX_STRETCH:g} times. Received: {self.coefficients.tolist()}, which break that "
                f"{self._limit * self._focal.mean():.0f} pixels from the principal point, inside the picture of "
                f"{width} x {height} pixels; are they for these intrinsics, and in the order {ORDER}?")

    def undistort_photo(self, pixels):
        """uint8 `[H, W, 3]`, the photo -> the same, straight; black where the photo shows nothing."""
        fx, fy = self._focal
        cx, cy = self._centre - 0.5  # to OpenCV's origin
        matrix = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
        return images.opencv().undistort(pixels, matrix, self.coefficients)

    def distort_points(self, points):
        """Straight pixels `[..., 2]` -> pixels of the photo `[..., 2]`, float64; a NaN stays one."""
        return self._pixels(self._bend(self._rays(points)), points)

    def undistort_points(self, points):
        """Pixels of the photo `[..., 2]` -> straight pixels `[..., 2]`, float64: the inverse of `distort_points`."""
        return self._pixels(self._straighten(self._rays(points)), points)

    def distort_boxes(self, boxes):
        """Straight boxes `[N, 4]`, x, y, width, height -> boxes on the photo, `[N, 4]`.

        A box goes by the ellipse in it: a person rarely fills its corners, and a box round bent corners would be too
        large, more so each time.
        """
        return _boxes_around(self.distort_points(_ellipses(boxes)))

    def undistort_boxes(self, boxes):
        """Boxes on the photo `[N, 4]` -> straight boxes `[N, 4]`; nearly the inverse of `distort_boxes`."""
        return _boxes_around(self.undistort_points(_ellipses(boxes)))

    def bend_vertices(self, vertices_camera):
        """Moves points so that the pinhole camera sees them where the lens does: `[V, 3]` metres -> `[V, 3]`.

        Depths stay, so a renderer that knows no distortion draws the bent mesh onto the photo as it was given. A point
        at or behind the camera stays where it is.
        """
        vertices = np.array(vertices_camera, np.float64)
        front = vertices[:, 2] > 1e-6
        depth = vertices[front, 2:]
        vertices[front, :2] = self._bend(vertices[front, :2] / depth) * depth
        return vertices

    def _rays(self, points):
        return ((np.asarray(points, np.float64) - self._centre) / self._focal).reshape(-1, 2)

    def _pixels(self, rays, like):
        return (rays * self._focal + self._centre).reshape(np.shape(like))

    def _bend(self, rays):
        """Rays (x / z, y / z) `[N, 2]` to where they fall, in focal lengths; slope 1 beyond the limit."""
        held = self._held(rays)
        return self._model(held)[0] + (rays - held)

    def _straighten(self, seen):
        """Inverse of `_bend`: Newton within the limit; beyond it only the direction is sought, by repetition."""
        rays = self._held(seen)
        for _ in range(_NEWTON_STEPS):
            place, slope = self._model(rays)
            missed = np.linalg.norm(place - seen, axis=-1) > 1e-12
            if not missed.any():
                return rays
            step = np.linalg.solve(slope[missed], (seen - place)[missed, :, None])[..., 0]
            rays[missed] = self._held(rays[missed] + step)
        missed = np.linalg.norm(self._model(rays)[0] - seen, axis=-1) > 1e-9
        target, direction = seen[missed], _unit(rays[missed])
        for _ in range(_DIRECTION_STEPS):
            place = self._model(self._limit * direction)[0]
            aside = place - (place * direction).sum(-1, keepdims=True) * direction
            direction = _unit(target - aside)
        rays[missed] = target - self._model(self._limit * direction)[0] + self._limit * direction
        return rays

    def _held(self, rays):
        """Rays drawn in to the limit."""
        return rays * np.minimum(self._limit / np.maximum(np.linalg.norm(rays, axis=-1, keepdims=True), 1e-12), 1.0)

    def _model(self, rays):
        """OpenCV's map and its slope: `[N, 2]` -> `[N, 2]`, `[N, 2, 2]`."""
        if not len(rays):
            return np.zeros([0, 2]), np.zeros([0, 2, 2])
        points = np.concatenate([rays, np.ones([len(rays), 1])], -1)
        zero = np.zeros(3)
        place, derivative = images.opencv().projectPoints(points, zero, zero, np.eye(3), self.coefficients)
        # at depth 1 and without rotation, moving the camera sideways is moving the ray: columns 3 and 4
        return place[:, 0], derivative[:, 3:5].reshape(-1, 2, 2)

    def _one_to_one(self, reach):
        """Radius of the largest circle, up to `reach`, in which the map is one-to-one and stretches moderately."""
        radii = np.linspace(0, reach, _RADII + 1)[1:]
        angles = np.arange(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS)
        rays = (radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], -1)).reshape(-1, 2)
        with np.errstate(all="ignore"):
            place, slope = self._model(rays)
            good = np.all(np.isfinite(slope), (1, 2)) & np.all(np.isfinite(place), 1)
            good &= (place * rays).sum(-1) > 0  # not beyond a pole, where the picture comes back upside down
            good &= np.linalg.det(slope) > 0
            slope[~good] = 0.0
            stretch = np.linalg.svd(slope, compute_uv=False)
            good &= (stretch[:, 0] < MAX_STRETCH) & (stretch[:, 1] > 1 / MAX_STRETCH)
        good = good.reshape(_RADII, _DIRECTIONS).all(1)
        return float(radii[-1] if good.all() else np.append(0.0, radii)[np.argmin(good)])


def checked_coefficients(coefficients):
    """The coefficients as float64 `[K]`; ValueError unless they are 4, 5, 8, 12 or 14 finite numbers."""
    try:
        values = np.asarray(coefficients, np.float64)
    except (TypeError, ValueError):
        values = np.empty([])
    if values.ndim != 1 or len(values) not in COUNTS or not np.all(np.isfinite(values)):
        raise ValueError("`distortion` must be 4, 5, 8, 12 or 14 finite numbers, OpenCV's "
                         f"{ORDER}. Received: {coefficients}.")
    return values


def _unit(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _ellipses(boxes):
    """Points round the ellipse in each box: `[N, 4]` -> `[N, _OUTLINE_POINTS, 2]`."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    angles = np.arange(_OUTLINE_POINTS) * (2 * np.pi / _OUTLINE_POINTS)
    unit = (np.stack([np.cos(angles), np.sin(angles)], -1) + 1) / 2
    return boxes[:, None, :2] + unit * boxes[:, None, 2:]


def _boxes_around(points):
    low, high = points.min(1), points.max(1)
    return np.concatenate([low, high - low], -1)
