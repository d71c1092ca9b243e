"""One body and one fitter for all tests of fits: its graph takes longer to make than to run."""

import pytest

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.fitting import points


@pytest.fixture(scope="session")
def body():
    return GenerativeBody.from_asset(pose_prior="gaussian", codes="vae")


@pytest.fixture(scope="session")
def fitter(body):
    return points.PointFitter(body, mesh="low")
