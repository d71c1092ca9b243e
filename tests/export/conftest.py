"""A body network with random weights behind stand-ins, and what is exported of it; each is made once."""

import pytest

from hund_tf.config import BodyConfig, HundConfig, ObjectiveConfig
from hund_tf.export.signatures import ServedReconstructor
from hund_tf.hund import HundBody
from hund_tf.reconstruct import Reconstructor
from tests.export import stand_ins


@pytest.fixture(scope="session", name="line")
def fixture_line():
    """`Reconstructor`."""
    hund = HundBody(HundConfig(body=BodyConfig(pose_prior="gaussian"), objective=ObjectiveConfig(part_map_size=0)))
    hund.build_weights()
    return Reconstructor(hund, stand_ins.Sensing(), {}, stand_ins.Detector())


@pytest.fixture(scope="session", name="served")
def fixture_served(line):
    """`ServedReconstructor` of it, three people at most."""
    return ServedReconstructor(line, {"preset": "small", "version": "0"}, max_people=3)
