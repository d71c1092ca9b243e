"""Pictures of how well training goes: the bodies of stages s_0 ... s_M beside the keypoints, for TensorBoard."""

import keras
import numpy as np
import tensorflow as tf

from hund_tf.sensing.heatmaps import CROP_SIZE
from hund_tf.visualization import renderer

_SKIN = (0.47, 0.66, 0.86)
_PAPER = np.float32([0.965, 0.968, 0.975])
_INK = np.float32([0.86, 0.30, 0.22])
_DOT = 1  # pixels around a keypoint's own


class StagePanels(keras.callbacks.Callback):
    """Writes one picture a validation example after each epoch: keypoints, then the body of each stage with them.

    Args:
        summary: `EvidenceSummary` of the examples.
        log_dir: str, folder of TensorBoard logs.
        size: int, pixels, side of one panel.
    """

    def __init__(self, summary, log_dir, size=160):
        super().__init__()
        self._summary, self._log_dir, self._size, self._writer = summary, log_dir, size, None

    def on_epoch_end(self, epoch, logs=None):
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self._log_dir)
        with self._writer.as_default():
            tf.summary.image("stages", draw_stages(self.model, self._summary, self._size), step=epoch, max_outputs=16)
        self._writer.flush()


def draw_stages(model, summary, size=160):
    """Bodies of all stages beside the keypoints.

    Args:
        model: `HundBody`.
        summary: `EvidenceSummary` of B examples.
        size: int, pixels, side of one panel.

    Returns:
        uint8 `[B, size, (M + 2) * size, 3]`.
    """
    descent = model.descend(summary)
    faces = model.body.faces("low")
    stages = [model.body(report.state, mesh="low").vertices.numpy() for report in descent.reports]
    intrinsics = np.asarray(summary.intrinsics) * (size / CROP_SIZE)
    points, seen = np.asarray(summary.keypoints) * (size / CROP_SIZE), np.asarray(summary.confidence) > 0.05
    rows = []
    for example, (camera, keypoints, known) in enumerate(zip(intrinsics, points, seen)):
        row = [np.tile(_PAPER, [size, size, 1])]
        row += [_draw_body(vertices[example], faces, camera, size) for vertices in stages]
        rows.append(np.concatenate([_draw_points(panel, keypoints[known]) for panel in row], axis=1))
    return np.uint8(np.round(np.stack(rows) * 255))


def _draw_body(vertices, faces, intrinsics, size):
    if not np.all(np.isfinite(vertices)):
        return np.tile(_PAPER, [size, size, 1])
    fragments = renderer.render(vertices, faces, tuple(intrinsics), size, size)
    colors = renderer.lit_colors(vertices, renderer.vertex_normals(vertices, faces), _SKIN)
    return np.where(fragments.face_index[..., None] >= 0, renderer.shade(fragments, faces, colors), _PAPER)


def _draw_points(panel, points):
    for x, y in np.int64(np.floor(points)):
        rows, columns = (slice(max(at - _DOT, 0), max(at + _DOT + 1, 0)) for at in (y, x))
        panel[rows, columns] = _INK
    return panel
