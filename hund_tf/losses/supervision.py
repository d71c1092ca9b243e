"""3D supervision: vertices (L_m) and joints (L_3d) against the truth."""

import tensorflow as tf

from hund_tf.losses.alignment import safe_norm

_TINY = 1e-8


def mean_point_error(points, truth, weights=None):
    """Mean distance of points: L_3d of joints, L_m of vertices.

    Args:
        points: `[B, N, 3]`, metres.
        truth: `[B, N, 3]`, metres.
        weights: optional `[N]` or `[B, N]`, how much each point counts.

    Returns:
        `[B]`, metres; 0 where no point counts.

    Source: Zanfir et al., CVPR 2021, Sec. 2.2, L_f.
    """
    distance = safe_norm(points - truth)
    if weights is None:
        return tf.reduce_mean(distance, axis=-1)
    return tf.reduce_sum(distance * weights, axis=-1) / tf.maximum(tf.reduce_sum(weights, axis=-1), _TINY)
