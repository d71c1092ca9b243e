"""An image and person boxes in, square crops and their maps out; and Eq. 1, the crop's intrinsics.

A map's offset is minus scale times corner: for a small box far from the corner of a large photo it is a big number
that a point's own big number is taken from, and float32 leaves up to 1e-3 image pixels of the difference. A map asked
for in float64 stays exact, and what is computed with it is float64 too; a crop's own pixels are float32 either way.
"""
import tensorflow as tf

from hund_tf.sensing.sampling import sample_regions

CROP_SIZE = 480  # paper, Sec. 2.1
CROP_MARGIN = 1.2  # crop side over the longer side of the person's box


def crop_images(image, boxes, size=CROP_SIZE, margin=CROP_MARGIN, border="constant", map_dtype=tf.float32):
    """Cuts a square around each box; down-scaling does not alias.

    Letters: N boxes.

    Args:
        image: `[H, W, 3]` uint8, or float32 in [0, 1].
        boxes: `[N, 4]`, x, y, width, height in pixels; may reach over the border.
        size: int, side of a crop in pixels.
        margin: float, crop side over the longer box side.
        border: what is seen outside the image: "constant" (black) or "replicate".
        map_dtype: of the maps, `tf.float32` or `tf.float64`.

    Returns:
        `(crops, crop_from_image)`: `[N, size, size, 3]` float32 in [0, 1], and affine maps
        `[N, 2, 3]`: `points_crop = crop_from_image @ [x, y, 1]`, pixels to pixels.

    Raises:
        ValueError: if `image` is not `[H, W, 3]` or `boxes` not `[N, 4]`.
    """
    image, boxes = tf.convert_to_tensor(image), tf.cast(boxes, map_dtype)
    if image.shape.rank != 3 or image.shape[-1] != 3:
        raise ValueError(f"`image` must be [H, W, 3]. Received: {image.shape}.")
    if boxes.shape.rank != 2 or boxes.shape[-1] != 4:
        raise ValueError(f"`boxes` must be [N, 4]. Received: {boxes.shape}.")
    scale = 1 / 255 if image.dtype == tf.uint8 else 1.0
    values = tf.cast(image, tf.float32)[None] * scale
    center, side = _squares(tf.cast(boxes, tf.float32), margin)
    regions = tf.concat([center, side[:, None], tf.zeros_like(side)[:, None]], -1)
    crops = sample_regions(values, regions, size, tf.zeros([tf.shape(boxes)[0]], tf.int32), border)
    center, side = _squares(boxes, margin)
    return crops, crop_from_image_matrix(center - side[:, None] / 2, size / side)


def crop_from_image_matrix(corners, scales):
    """`[N, 2]` top-left corners in image pixels and `[N]` scales -> affine maps `[N, 2, 3]`."""
    linear = tf.eye(2, dtype=scales.dtype) * scales[:, None, None]
    return tf.concat([linear, -(corners * scales[:, None])[..., None]], -1)


def to_crop(points_image, crop_from_image):
    """`[N, K, 2]` image pixels -> crop pixels, in the wider dtype of the two."""
    points_image, crop_from_image = _alike(points_image, crop_from_image)
    return tf.einsum("nij,nkj->nki", crop_from_image[..., :2], points_image) + crop_from_image[:, None, :, 2]


def to_image(points_crop, crop_from_image):
    """`[N, K, 2]` crop pixels -> image pixels, in the wider dtype of the two: the inverse of `to_crop`."""
    points_crop, crop_from_image = _alike(points_crop, crop_from_image)
    moved = points_crop - crop_from_image[:, None, :, 2]
    return moved / crop_from_image[:, None, 0, :1]


def intrinsics_warp(scale, offset):
    """The 5x5 matrix K of Eq. 1 for `pixels_crop = scale * pixels_image + offset`.

    Args:
        scale: `[N]` or `[N, 2]` (x, y).
        offset: `[N, 2]` crop pixels.

    Returns:
        `[N, 5, 5]`; it acts on `(fx, fy, cx, cy, 1)`. float64 if either argument is, else float32.

    Raises:
        ValueError: if `scale` is not `[N]` or `[N, 2]`, or `offset` not `[N, 2]`.
    """
    scale, offset = _alike(scale, offset)
    if offset.shape.rank != 2 or offset.shape[-1] != 2:
        raise ValueError(f"`offset` must be [N, 2]. Received: {offset.shape}.")
    if scale.shape.rank != 1 and (scale.shape.rank != 2 or scale.shape[-1] != 2):
        raise ValueError(f"`scale` must be [N] or [N, 2]. Received: {scale.shape}.")
    scale = tf.broadcast_to(scale[:, None] if scale.shape.rank == 1 else scale, tf.shape(offset))
    diagonal = tf.linalg.diag(tf.concat([scale, scale, tf.ones_like(scale[:, :1])], -1))
    last = tf.concat([tf.zeros_like(offset), offset, tf.zeros_like(offset[:, :1])], -1)
    return diagonal + last[..., None] * tf.one_hot(4, 5, dtype=last.dtype)


def warp_intrinsics(intrinsics, scale, offset):
    """Eq. 1: `[C_c; 1] = K [C; 1]`, intrinsics of the image -> intrinsics of each crop.

    Args:
        intrinsics: `[4]` or `[N, 4]`, fx, fy, cx, cy in image pixels.
        scale: `[N]` or `[N, 2]`, crop pixels an image pixel.
        offset: `[N, 2]`, where the image's corner falls in the crop.

    Returns:
        `[N, 4]`, of the matrix' dtype. Both see the same rays, so a state solved in the crop holds for the image.

    Raises:
        ValueError: if a shape is another one.
    """
    matrix = intrinsics_warp(scale, offset)
    intrinsics = tf.cast(intrinsics, matrix.dtype)
    if intrinsics.shape.rank not in (1, 2) or intrinsics.shape[-1] != 4:
        raise ValueError(f"`intrinsics` must be [4] or [N, 4]. Received: {intrinsics.shape}.")
    intrinsics = tf.broadcast_to(intrinsics, [tf.shape(matrix)[0], 4])
    homogeneous = tf.concat([intrinsics, tf.ones_like(intrinsics[:, :1])], -1)
    return tf.einsum("nij,nj->ni", matrix, homogeneous)[:, :4]


def crop_intrinsics(intrinsics, crop_from_image):
    """`warp_intrinsics` with the map that `crop_images` returns."""
    return warp_intrinsics(intrinsics, crop_from_image[:, 0, 0], crop_from_image[:, :, 2])


def inside_image(points_crop, crop_from_image, height, width):
    """Which points lie in the image that the crops came from: `[N, K, 2]` crop pixels -> `[N, K]` bool.

    A crop may reach over the border; what the networks guess there was not seen.
    """
    points = to_image(points_crop, crop_from_image)
    return tf.reduce_all((points >= 0) & (points <= tf.cast([width, height], points.dtype)), -1)


def _squares(boxes, margin):
    """Centres `[N, 2]` and sides `[N]` of the squares that are cut for boxes."""
    return boxes[:, :2] + boxes[:, 2:] / 2, tf.maximum(tf.reduce_max(boxes[:, 2:], -1), 1.0) * margin


def _alike(first, second):
    """Both in float64 if one of them is, else in float32."""
    first, second = tf.convert_to_tensor(first), tf.convert_to_tensor(second)
    dtype = tf.float64 if tf.float64 in (first.dtype, second.dtype) else tf.float32
    return tf.cast(first, dtype), tf.cast(second, dtype)
