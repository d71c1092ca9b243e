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
            planes = basis[:, part].transpose(0, 2, 1).reshape(len(basis), -1)
            constants = (template[part].T, planes, weights[part][:, bones].T)
            self._runs.append((bones, [tf.constant(np.ascontiguousarray(x)) for x in constants]))

    def planes(self, codes, transforms):
        """Codes `[B, C]` and `bone_transforms` `[B, 12, J]` -> posed points as planes, `[B, 3, V]`, metres."""
        return tf.concat([_carry(codes, tf.gather(transforms, bones, axis=2), *constants)
                          for bones, constants in self._runs], axis=2)

    def points(self, codes, transforms):
        """As `planes`, but `[B, V, 3]`."""
        return tf.transpose(self.planes(codes, transforms), [0, 2, 1])


@tf.custom_gradient
def _carry(codes, transforms, template, basis, weights):
    """Posed points `[B, 3, V]` of template `[3, V]`, basis `[C, 3 V]` and weights `[J, V]`.

    The gradient to codes and transforms is by hand: without XLA the automatic one stacks the slopes of the four columns
    before it multiplies them. The constants are arguments since a SavedModel keeps no gradient that captures them.
    """
    bones, points = weights.shape
    shaped = tf.reshape(tf.matmul(codes, basis), [-1, 3, points]) + template
    blended = tf.reshape(tf.matmul(tf.reshape(transforms, [-1, bones]), weights), [-1, 4, 3, points])
    *columns, shift = tf.unstack(blended, axis=1)  # each [B, 3, V]
    axes = tf.unstack(tf.expand_dims(shaped, 2), axis=1)  # each [B, 1, V]
    posed = columns[0] * axes[0] + columns[1] * axes[1] + columns[2] * axes[2] + shift

    def gradient(upstream):
        slopes = [tf.matmul(tf.reshape(part, [-1, points]), weights, transpose_b=True)
                  for part in (*(upstream * axis for axis in axes), upstream)]
        slopes = tf.stack([tf.reshape(slope, [-1, 3, bones]) for slope in slopes], axis=1)
        along = tf.stack([tf.reduce_sum(upstream * column, axis=1) for column in columns], axis=1)
        along = tf.matmul(tf.reshape(along, [-1, 3 * points]), basis, transpose_b=True)
        return along, tf.reshape(slopes, [-1, 12, bones]), None, None, None

    return posed, gradient
