"""Shape codes of people: limbs in proportion, everything else as the prior has it."""

import numpy as np
import pytest

from hund_tf.body.generative_body import GenerativeBody
from hund_tf.training import proportions


@pytest.fixture(name="body", scope="module")
def fixture_body():
    return GenerativeBody.from_asset()


def test_limbs_vary_as_people_do(body):
    codes = np.random.default_rng(7).normal(size=(400, 16))
    spread = np.log(proportions.measure(body, codes @ proportions.human(body))).std(0)
    wanted = np.array(list(proportions.SPREAD.values()))
    assert np.all(spread < 1.35 * wanted) and np.all(spread > 0.7 * wanted)
    assert np.log(proportions.measure(body, codes)).std(0)[1] > 3 * wanted[1]  # thigh to shin, of the prior


def test_nothing_but_proportions_is_held(body):
    singular = np.linalg.svd(proportions.human(body))[1]
    assert np.sum(np.isclose(singular, 1.0)) == 16 - len(proportions.SPREAD)
