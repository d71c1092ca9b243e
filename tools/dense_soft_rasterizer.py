"""The soft rasterizer as it is usually written, every face at every pixel, in plain TensorFlow: a peer to compare with.

The same formula as `hund_tf.geometry.soft_rasterizer`, its gradient by automatic differentiation. The work and the
memory grow with faces times pixels: pictures are drawn one after the other, and worked out again for the gradient.
"""

import tensorflow as tf


def dense_soft_rasterize(vertices_camera, faces, labels, intrinsics, image_size, sigma=0.25, gamma=1e-4,
                         background=1e-3, near=0.1, far=100.0, cutoff=1e-4):
    """Labels `[V, C]` of vertices `[B, V, 3]` as a soft picture, `[B, H, W, C + 1]`: labels, then alpha.

    Args:
        vertices_camera: `[B, V, 3]`, metres, camera frame.
        faces: int `[F, 3]`.
        labels: `[V, C]`.
        intrinsics: `[B, 4]`, pixels of the picture.
        image_size: (height, width).
        sigma, gamma, background, near, far: as in `SoftRasterizer`.
        cutoff: float; a face does nothing where its D is less. 0 leaves no pixel out.
    """
    vertices_camera = tf.convert_to_tensor(vertices_camera)
    dtype = vertices_camera.dtype
    faces, labels = tf.convert_to_tensor(faces), tf.cast(labels, dtype)
    intrinsics = tf.cast(intrinsics, dtype)

    @tf.recompute_grad
    def picture(vertices, lens):
        depth = vertices[:, 2]
        seen = (depth > near) & (depth < far)
        depth = tf.where(seen, depth, tf.ones_like(depth))
        points = vertices[:, :2] / depth[:, None] * lens[:2] + lens[2:]
        corners, rates = tf.gather(points, faces), 1.0 / tf.gather(depth, faces)  # [F, 3, 2], [F, 3]
        a, b, c = tf.unstack(corners, axis=1)
        area = _cross(b - a, c - a)
        longest = tf.reduce_max(tf.reduce_sum((corners - tf.roll(corners, 1, axis=1)) ** 2, axis=-1), axis=1)
        kept = tf.reduce_all(tf.gather(seen, faces), axis=1) & (tf.abs(area) > 1e-6 * longest) & (longest > 1e-8)
        # a face that is left out becomes some proper face that counts for nothing
        a, b, c = (tf.where(kept[:, None], corner, tf.constant(other, dtype))
                   for corner, other in ((a, [0.0, 0.0]), (b, [1.0, 0.0]), (c, [0.0, 1.0])))
        area = _cross(b - a, c - a)
        rows, columns = tf.meshgrid(tf.range(image_size[0]), tf.range(image_size[1]), indexing="ij")
        pixels = tf.cast(tf.reshape(tf.stack([columns, rows], axis=-1), [-1, 1, 2]), dtype) + 0.5  # [P, 1, 2]

        weights = tf.stack([_cross(b - pixels, c - pixels), _cross(c - pixels, a - pixels),
                            _cross(a - pixels, b - pixels)]) / area  # [3, P, F]
        inside = tf.reduce_min(weights, axis=0) > 0
        squared = tf.reduce_min([_to_segment(pixels, *ends) for ends in ((a, b), (b, c), (c, a))], axis=0)
        score = tf.where(inside, squared, -squared) / sigma
        chance = tf.sigmoid(score)
        touched = kept & (chance >= cutoff)
        weights = tf.nn.relu(weights)
        weights /= tf.reduce_sum(weights, axis=0)
        distance = 1.0 / tf.reduce_sum(weights * tf.transpose(rates)[:, None], axis=0)  # [P, F]
        logit = (far - distance) / ((far - near) * gamma) + tf.math.log_sigmoid(score)
        logit = tf.where(touched, logit, tf.constant(-1e30, dtype))
        logit = tf.concat([logit, tf.fill([tf.shape(logit)[0], 1], tf.constant(background / gamma, dtype))], axis=1)
        strength = tf.nn.softmax(logit)[:, :-1]
        of_corners = tf.gather(labels, faces)  # [F, 3, C]
        drawn = tf.add_n([tf.matmul(strength * weights[k], of_corners[:, k]) for k in range(3)])
        clear = tf.exp(-tf.reduce_sum(tf.where(touched, tf.nn.softplus(score), tf.zeros_like(score)), axis=1))
        drawn = tf.concat([drawn, 1.0 - clear[:, None]], axis=1)
        return tf.reshape(drawn, [image_size[0], image_size[1], -1])

    return tf.map_fn(lambda arguments: picture(*arguments), (vertices_camera, intrinsics), parallel_iterations=1,
                     fn_output_signature=dtype)


def _cross(a, b):
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _to_segment(pixels, start, stop):
    """Squared distances `[P, F]` of pixels `[P, 1, 2]` to segments `[F, 2]`."""
    edge = stop - start
    share = tf.reduce_sum((pixels - start) * edge, axis=-1) / tf.reduce_sum(edge * edge, axis=-1)
    share = tf.clip_by_value(share, 0.0, 1.0)
    return tf.reduce_sum((pixels - start - share[..., None] * edge) ** 2, axis=-1)
