"""The messages are TF Serving's: the same bytes as the official ones, both ways, and no TensorFlow is needed for it."""

import os
import subprocess
import sys

import numpy as np
import pytest

from hund_tf.client import requests, results, tensors
from hund_tf.client import serving_api_pb2 as ours
from tests.serving.fake_server import PHOTO, ROOT, FakeServer

DTYPES = ("float32", "float64", "int32", "int64", "uint8", "bool", "string")


@pytest.fixture(scope="module")
def official():
    from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

    return {"request": predict_pb2.PredictRequest, "response": predict_pb2.PredictResponse,
            "status_request": get_model_status_pb2.GetModelStatusRequest, "status": get_model_status_pb2.GetModelStatusResponse}


def array_of(dtype):
    values = np.random.default_rng(1).integers(0, 200, [3, 2])
    return np.array([[b"a", b""], [b"\0", b"b\xff"]], object) if dtype == "string" else values.astype(dtype)


def bytes_of(message):
    return message.SerializeToString(deterministic=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensorflow_reads_ours_and_we_read_its_lists(dtype):
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    array = array_of(dtype)
    theirs = tensor_pb2.TensorProto.FromString(bytes_of(tensors.encode(array)))
    np.testing.assert_array_equal(tf.make_ndarray(theirs), array)
    np.testing.assert_array_equal(tf.io.parse_tensor(bytes_of(tensors.encode(array)), dtype).numpy(), array)
    # Content and, of TF's C++ and Python, lists of values, whole and shortened.
    for made in (tf.make_tensor_proto(array), listed(array, array.size), listed(array, 2)):
        np.testing.assert_array_equal(
            tensors.decode(ours.TensorProto.FromString(made.SerializeToString())), tf.make_ndarray(made))


def listed(array, count):
    """The official TensorProto with a list of the first `count` values."""
    import tensorflow as tf

    made = tf.make_tensor_proto(array.ravel()[:1])
    field = {"float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val",
             "object": "string_val"}.get(array.dtype.name, "int_val")
    made.Clear()
    getattr(made, field).extend(array.ravel()[:count].tolist())
    made.dtype = tf.as_dtype(array.dtype).as_datatype_enum
    made.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    return made


@pytest.mark.parametrize("build", [
    lambda r: r.reconstruct(PHOTO, (64, 64, 32, 24), 3, 5, ("box", "joints3d")),
    lambda r: r.reconstruct(PHOTO), lambda r: r.reconstruct_boxes(PHOTO, [[1, 2, 30, 40]]),
    lambda r: r.reconstruct_bytes([b"one", b"two\0"]), lambda r: r.describe(),
    lambda r: r.reconstruct_crops(np.zeros([1, 480, 480, 3], np.uint8), [[480, 480, 240, 240]])])
def test_requests_are_the_same_bytes(official, build):
    for version in (None, 3):
        request = build(requests.RequestBuilder("hund", version)).request
        theirs = official["request"].FromString(bytes_of(request))
        assert bytes_of(theirs) == bytes_of(request)
        assert set(theirs.inputs) == set(request.inputs) and list(theirs.output_filter) == list(request.output_filter)
        assert theirs.model_spec.name == "hund" and theirs.model_spec.version.value == (version or 0)
        assert theirs.model_spec.HasField("version") == (version is not None)
        assert theirs.model_spec.signature_name == request.model_spec.signature_name != ""


def test_responses_and_states_are_read_as_the_official_ones(official):
    import tensorflow as tf

    response = official["response"]()
    response.model_spec.version.value = 12
    response.outputs["box"].CopyFrom(listed(np.arange(8, dtype=np.float32).reshape(2, 4), 8))
    response.outputs["num_people"].CopyFrom(tf.make_tensor_proto(1))
    result = results.of_photo(ours.PredictResponse.FromString(bytes_of(response)))
    assert (result.num_people, result.rows, result.model_version) == (1, 2, 12) and result.box.tolist() == [[0, 1, 2, 3]]
    status = official["status"]()
    status.model_version_status.add(version=2, state="AVAILABLE")
    entry = status.model_version_status.add(version=3, state="END")
    entry.status.error_code, entry.status.error_message = 5, "gone"
    assert results.of_status(ours.GetModelStatusResponse.FromString(bytes_of(status))) == (
        (3, "END", 5, "gone"), (2, "AVAILABLE", 0, ""))
    request = requests.RequestBuilder("hund", 3).status().request
    assert bytes_of(official["status_request"].FromString(bytes_of(request))) == bytes_of(request)


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "tensorflow_serving", "tensorflow_probability", "tensorflow_graphics"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
import numpy as np
"""


def run_without_tensorflow(program, *arguments, folder=None):
    done = subprocess.run([sys.executable, "-W", "error", "-c", BLOCKED + program, *arguments], capture_output=True, text=True,
                          timeout=60, cwd=folder, env={**os.environ, "PYTHONPATH": ROOT})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_client_works_without_tensorflow():
    program = """
from hund_tf.client import HundClient
with HundClient(sys.argv[1], timeout=20) as client:
    print(client.reconstruct(np.zeros([48, 64, 3], np.uint8)).num_people, client.status()[0].state)
assert not {"PIL", "cv2", "tensorflow"} & set(sys.modules)
"""
    with FakeServer() as server:
        assert run_without_tensorflow(program, server.address) == "2 AVAILABLE\n"


def test_command_works_without_tensorflow(tmp_path):
    from PIL import Image

    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    program = "from hund_tf import cli; sys.exit(cli.main(sys.argv[1:]))"
    with FakeServer() as server:
        out = run_without_tensorflow(program, *f"reconstruct a.png --server {server.address} -o r".split(), folder=tmp_path)
    assert "a.png: 2 people" in out and sorted(os.listdir(tmp_path / "r")) == ["a.glb", "a.json", "a.png"]
