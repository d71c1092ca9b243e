"""Linear blend skinning in coordinate planes: bones and template vertices in, posed vertices out.

Vertices are held as planes `[B, 3, V]`: one matrix product blends all bones of all vertices, and what is
left are long additions; several times faster on a CPU than vertex-major forms.
"""

import tensorflow as tf

from hund_tf.geometry import rotations


def bone_transforms(bone_rotations, positions, template_positions):
    """Transforms `x -> R (x - h) + p` as 12 rows: `[B, J, 3, 3]`, `[B, J, 3]`, `[B, J, 3]` -> `[B, 12, J]`.

    Rows: the rotation's first column, its second, its third, then the translation.
    """
    shift = positions - rotations.rotate(bone_rotations, template_positions)
    columns = tf.concat([bone_rotations, shift[..., None]], axis=-1)  # [B, J, 3, 4]
    joints = positions.shape[1]
    return tf.reshape(tf.transpose(columns, [0, 3, 2, 1]), [-1, 12, joints])


def skin_planes(transforms, weights, planes):
    """Blends transforms and applies them.

    Args:
        transforms: `[B, 12, J]`, from `bone_transforms`.
        weights: `[J, V]`, each column sums to 1.
        planes: `[B, 3, V]`, vertices in the template pose, metres.

    Returns:
        `[B, 3, V]`, posed vertices, metres.
    """
    bones, vertices = weights.shape
    blended = tf.matmul(tf.reshape(transforms, [-1, bones]), weights)
    blended = tf.reshape(blended, [-1, 4, 3, vertices])
    column_x, column_y, column_z, shift = tf.unstack(blended, axis=1)  # each [B, 3, V]
    x, y, z = tf.unstack(planes[:, :, None], axis=1)  # each [B, 1, V]
    return column_x * x + column_y * y + column_z * z + shift
