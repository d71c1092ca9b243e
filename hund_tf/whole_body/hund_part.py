"""HUND for one part of a person: evidence of a hand's or a face's crop in, its state and its way there out."""

import dataclasses

import keras
import tensorflow as tf

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.config import PartConfig
from hund_tf.networks.descent_cell import DescentCell
from hund_tf.networks.neural_descent import NeuralDescent
from hund_tf.whole_body.part_context import PartContextEncoder, PartEvidence
from hund_tf.whole_body.part_objective import PartObjective
from hund_tf.whole_body.part_shapes import PartShape
from hund_tf.whole_body.part_state import PartStateCodec
from hund_tf.whole_body.polish import polish


@keras.saving.register_keras_serializable("hund_tf")
class HundPart(keras.Model):
    """HUND for hands or for faces: `PartEvidence` -> `Descent` (paper, Fig. 2).

    One set of weights serves both hands: a right hand is shown as the left one that a mirror makes of it.

    Args:
        config: `PartConfig`.
        body: `GenerativeBody`; that of the config if None.

    Call arguments:
        evidence: `PartEvidence`.
        num_stages: int, M; the config's if None.

    Returns:
        `Descent` with a `PartReport` for every state.
    """

    def __init__(self, config=PartConfig(), body=None, **kwargs):
        super().__init__(autocast=False, **kwargs)  # evidence stays float32 under any policy
        self.config = config
        self.body = GenerativeBody(**dataclasses.asdict(config.body)) if body is None else body
        self.part_shape = PartShape(self.body, config.kind)
        self.codec = PartStateCodec(self.part_shape.num_codes, self.part_shape.reference_size)
        self.context_encoder = PartContextEncoder(self.codec.size, config.context_dim, dtype=self.dtype_policy)
        self.objective = self._make_objective()
        cell = DescentCell(self.codec.size, config.units, dtype=self.dtype_policy)
        self.neural_descent = NeuralDescent(cell, self.objective, config.num_stages)

    def _make_objective(self):
        return PartObjective(self.part_shape, self.codec, self.config.keypoint_weight, self.config.prior_weight)

    def call(self, evidence, num_stages=None):
        context, state = self.context_encoder(evidence, self.codec.initial(tf.shape(evidence.intrinsics)[0]))
        return self.neural_descent(state, context, evidence, num_stages)

    def solve(self, evidence, num_stages=None):
        """The last stage's `PartState` alone, polished, by loops in the graph.

        The stages are those of `call`, in a sixth of its graph. Then `polish_steps` of the config follow a smooth L_u down: the
        stages bring the part near, and these lay it onto the points.
        """
        stages = self.config.num_stages if num_stages is None else num_stages
        count, cell = tf.shape(evidence.intrinsics)[0], self.neural_descent.cell
        context, packed = self.context_encoder(evidence, self.codec.initial(count))

        def step(i, packed, memory):
            return i + 1, *cell(packed, memory, self.objective(packed, evidence).feedback, context)

        _, packed, _ = tf.while_loop(lambda i, *_: i < stages, step, [0, packed, cell.initial_memory(count)],
                                     parallel_iterations=1)
        if self.config.polish_steps:
            packed = polish(lambda x: self.objective.smooth(x, evidence), packed, self.codec.natural_steps(),
                            self.config.polish_steps)
        return self.codec.unpack(packed, evidence.intrinsics)

    def build_weights(self):
        """Creates every weight by one stage on empty evidence, so that weights can be loaded."""
        points = self.part_shape.num_keypoints
        nothing = PartEvidence(tf.zeros([1, points, 2]), tf.zeros([1, points]), tf.zeros([1, points]), tf.zeros([1, 16]),
                               tf.constant([[480.0, 480.0, 240.0, 240.0]]))
        context, state = self.context_encoder(nothing, self.codec.initial(1))
        cell = self.neural_descent.cell
        cell(state, cell.initial_memory(1), tf.zeros([1, self.objective.feedback_size]), context)
        self.neural_descent.built = self.built = True

    def get_config(self):
        return {"name": self.name, "config": self.config.to_dict()}

    @classmethod
    def from_config(cls, config):
        """A network of the same settings."""
        return cls(PartConfig.from_dict(config["config"]), name=config["name"])
