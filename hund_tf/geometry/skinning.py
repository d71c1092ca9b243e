"""Linear blend skinning: bones and codes in, posed points out.

Points are held as planes `[B, 3, V]`: one matrix product blends all bones of all points, and what is left are long
additions; several times faster on a CPU than vertex-major forms. Neighbours in a mesh follow few bones, so a
mesh is cut into runs of points, each with the bones that move any of them.
"""

import numpy as np
import tensorflow as tf

from hund_tf.geometry import rotations

_RUN = 1800  # points; the full mesh has 8 runs with a third of the bones on average, shorter ones gain no more


def bone_transforms(bone_rotations, positions, template_positions):
    """Transforms `x -> R (x - h) + p` as 12 rows: planes `[3, 3, B, J]`, `[3, B, J]`, `[3, B, J]` -> `[B, 12, J]`.

    Rows: the rotation's first column, its second, its third, then the translation.
    """
    joints = positions.shape[-1]
    shift = positions - rotations.rotate(bone_rotations, template_positions)
    columns = tf.concat([tf.transpose(bone_rotations, [1, 0, 2, 3]), tf.expand_dims(shift, 0)], axis=0)  # [4, 3, B, J]
    return tf.transpose(tf.reshape(columns, [12, -1, joints]), [1, 0, 2])


class SkinnedPoints:
    """Points that codes shape and bones carry.

    Letters: B batch, V points, C codes, J bones.

    Args:
        template: `[V, 3]`, metres.
        basis: `[C, V, 3]`, metres that a code of 1 adds.
        weights: `[V, J]`, each row sums to 1.
        run: int, points that are blended with one set of bones; changes speed alone.
    """

    def __init__(self, template, basis, weights, run=_RUN):
        self._runs = []
        for part in np.array_split(np.arange(len(template)), -(-len(template) // run)):
            bones = np.flatnonzero(np.any(weights[part] > 0, axis=0)).astype(np.int32)
            planes = basis[:, part].transpose(0, 2, 1)
            self._runs.append((tf.constant(template[part].T), tf.constant(planes.reshape(len(basis), -1)),
                               bones, tf.constant(weights[part][:, bones].T)))

    def planes(self, codes, transforms):
        """Codes `[B, C]` and `bone_transforms` `[B, 12, J]` -> posed points as planes, `[B, 3, V]`, metres."""
        return tf.concat(self._posed(codes, transforms), axis=2)

    def points(self, codes, transforms):
        """As `planes`, but `[B, V, 3]`."""
        return tf.concat([tf.transpose(run, [0, 2, 1]) for run in self._posed(codes, transforms)], axis=1)

    def _posed(self, codes, transforms):
        runs = []
        for template, basis, bones, weights in self._runs:
            shaped = tf.reshape(tf.matmul(codes, basis), [-1, *template.shape]) + template
            runs.append(skin_planes(tf.gather(transforms, bones, axis=2), weights, shaped))
        return runs


def skin_planes(transforms, weights, planes):
    """Blends transforms and applies them.

    Args:
        transforms: `[B, 12, J]`, from `bone_transforms`.
        weights: `[J, V]`, each column sums to 1.
        planes: `[B, 3, V]`, points in the template pose, metres.

    Returns:
        `[B, 3, V]`, posed points, metres.
    """
    bones, points = weights.shape
    blended = tf.matmul(tf.reshape(transforms, [-1, bones]), weights)
    blended = tf.reshape(blended, [-1, 4, 3, points])
    column_x, column_y, column_z, shift = tf.unstack(blended, axis=1)  # each [B, 3, V]
    x, y, z = tf.unstack(tf.expand_dims(planes, 2), axis=1)  # each [B, 1, V]
    return column_x * x + column_y * y + column_z * z + shift
