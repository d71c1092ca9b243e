"""One HUND network: evidence of a crop in, the course of its descent out; and how it learns."""

import dataclasses

import keras
import tensorflow as tf

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.config import HundConfig
from hund_tf.geometry.soft_rasterizer import SoftRasterizer
from hund_tf.losses.objective import BodyObjective
from hund_tf.networks.context_encoder import ContextEncoder, summarize
from hund_tf.networks.descent_cell import DescentCell
from hund_tf.networks.neural_descent import NeuralDescent
from hund_tf.state import BodyStateCodec, ImageEvidence


@keras.saving.register_keras_serializable("hund_tf")
class HundBody(keras.Model):
    """HUND for the body: `ImageEvidence` -> `Descent` (paper, Fig. 1 from the second CNN on).

    Args:
        config: `HundConfig`.
        body: `GenerativeBody`; that of the config if None.

    Call arguments:
        evidence: `ImageEvidence`.
        num_stages: int, M; the config's if None.

    Returns:
        `Descent`; `reports[i].state` and `reports[i].body` are the state and the posed body of stage i.
    """

    def __init__(self, config=HundConfig(), body=None, **kwargs):
        super().__init__(autocast=False, **kwargs)  # evidence stays float32 under any policy
        self.config = config
        self.body = GenerativeBody(**dataclasses.asdict(config.body)) if body is None else body
        self.codec = BodyStateCodec()
        self.context_encoder = ContextEncoder(self.codec.size, config.context_dim, dtype=self.dtype_policy)
        size = config.objective.part_map_size
        rasterizer = SoftRasterizer(size) if size else None
        self.objective = self._make_objective(rasterizer)
        cell = DescentCell(self.codec.size, config.units, dtype=self.dtype_policy)
        self.neural_descent = NeuralDescent(cell, self.objective, config.num_stages)

    def _make_objective(self, rasterizer):
        return BodyObjective(self.body, self.codec, self.config.objective, rasterizer)

    def call(self, evidence, num_stages=None):
        return self.descend(summarize(evidence), num_stages)

    def descend(self, summary, num_stages=None):
        """The descent from an `EvidenceSummary`."""
        mean = self.codec.initial(tf.shape(summary.intrinsics)[0])
        context, state = self.context_encoder(summary, mean)
        return self.neural_descent(state, context, summary, num_stages)

    def build_weights(self):
        """Creates every weight by one stage on empty evidence, so that weights can be loaded; no body is posed for it."""
        shapes = ((60, 60, 256), (60, 60, 137), (60, 60, 15), (25, 3), (25,))
        nothing = [tf.zeros((1, *shape)) for shape in shapes]
        summary = summarize(ImageEvidence(*nothing, intrinsics=tf.constant([[480.0, 480.0, 240.0, 240.0]])))
        context, state = self.context_encoder(summary, self.codec.initial(1))
        cell = self.neural_descent.cell
        cell(state, cell.initial_memory(1), tf.zeros([1, self.objective.feedback_size]), context)
        self.neural_descent.built = self.built = True

    def get_config(self):
        return {"name": self.name, "config": self.config.to_dict()}

    @classmethod
    def from_config(cls, config):
        """A network of the same settings."""
        return cls(HundConfig.from_dict(config["config"]), name=config["name"])
