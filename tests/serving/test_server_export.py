"""A real TensorFlow Serving with a hund export in it, where there is one: HUND_EXPORT_ADDRESS is its gRPC host:port."""

import os

import grpc
import numpy as np
import pytest

from hund_tf import cli
from tests.serving.calls import Caller

ADDRESS = os.environ.get("HUND_EXPORT_ADDRESS")
VERTICES, TIMEOUT_S = 13_886, 300  # the first request with an `output_filter` prepares a graph of its own

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not ADDRESS, reason="HUND_EXPORT_ADDRESS names no server of a hund export")]


@pytest.fixture(scope="module")
def caller():
    asking = Caller(ADDRESS, options=[("grpc.max_receive_message_length", -1)])
    yield asking
    asking.channel.close()


@pytest.mark.parametrize("outputs", [(), ("num_people", "vertices")], ids=["all outputs", "some outputs"])
def test_people_of_the_sample_photo(caller, outputs):
    with open(cli.SAMPLE, "rb") as file:
        photo = np.array([file.read()], object)
    found = caller.predict(outputs=outputs, timeout=TIMEOUT_S, image_bytes=photo)
    count, = found["num_people"]
    assert count > 0 and found["vertices"].ndim == 4 and found["vertices"].shape[::2] == (1, VERTICES)
    assert found["vertices"].shape[1] >= count and found["vertices"].shape[3] == 3
    assert np.all(np.isfinite(found["vertices"])) and not np.any(found["vertices"][0, count:])
    assert np.all(found["vertices"][0, :count, :, 2] > 0)  # before the camera
    assert outputs == () or set(found) == set(outputs)


def test_broken_photo(caller):
    with pytest.raises(grpc.RpcError) as failure:
        caller.predict(timeout=TIMEOUT_S, image_bytes=np.array([b"no photo"], object))
    assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT
