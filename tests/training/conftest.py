"""The toy network for the tests of training, by import and as a fixture."""

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session", name="toy_body")
def fixture_toy_body():
    import toy

    return toy.LinearBody()
