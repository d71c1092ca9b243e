"""Pictures of the stages: where bodies and keypoints are drawn, and that TensorBoard gets them."""

import numpy as np
import toy

from hund_tf.training import panels


def test_stages_beside_the_keypoints(toy_body, tmp_path):
    model = toy.make(toy_body, 1)
    summary, _ = toy.batch(toy_body, 2)
    pictures = panels.draw_stages(model, summary, 48)
    assert pictures.shape == (2, 48, 3 * 48, 3) and pictures.dtype == np.uint8
    paper = np.uint8(np.round(panels._PAPER * 255))
    drawn = np.any(pictures != paper, -1).reshape(2, 48, 3, 48).sum((1, 3))
    assert np.all(drawn[:, 0] > 9) and np.all(drawn[:, 1:] > drawn[:, :1] + 20)  # a body covers more than its keypoints
    x, y = np.int64(np.asarray(summary.keypoints)[0, 0] * 48 / 480)
    np.testing.assert_allclose(pictures[0, y, [x, x + 48]], np.tile(panels._INK * 255, (2, 1)), atol=1)
    callback = panels.StagePanels(summary, str(tmp_path), 48)
    callback.set_model(model)
    callback.on_epoch_end(0)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > 1000
