"""TensorFlow Serving's gRPC protocol, by the official stubs; the same tests ask TensorFlow Serving where it is at hand.

Where ours is told to differ (another code for the same mistake) both codes are allowed.
"""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from tests.serving.calls import TIMEOUT, arrays, floats, request

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


def test_predict_default_signature(caller):
    x = floats(4, 3)
    answer = caller.prediction.Predict(request(x=x), timeout=TIMEOUT)
    assert answer.model_spec.name == "hund" and answer.model_spec.version.value == 1
    assert answer.model_spec.signature_name == "serving_default"
    found = arrays(answer)
    assert set(found) == {"y", "total"} and found["y"].dtype == np.float32
    np.testing.assert_allclose(found["y"], x, rtol=1e-6)
    np.testing.assert_allclose(found["total"], x.sum(-1), rtol=1e-5)


def test_output_filter(caller):
    assert set(caller.predict(outputs=["total"], x=floats(1, 3))) == {"total"}


@pytest.mark.parametrize("inputs, expected", [({}, [2, 4, 6]), ({"factor": np.float32(3)}, [3, 6, 9]),
                                              ({"factor": np.float32(1), "plus": np.int32(1)}, [2, 3, 4])])
def test_optional_inputs_have_defaults(caller, inputs, expected):
    np.testing.assert_allclose(caller.predict("one", x=np.float32([1, 2, 3]), **inputs)["y"], expected)


def test_bytes_come_back_as_they_went(caller):
    text = np.array([b"\xff\xd8\x00", b"", "Grüße".encode()], object)
    found = caller.predict("texts", text=text)
    assert list(found["same_bytes"]) == list(text)
    np.testing.assert_array_equal(found["length"], [3, 0, 7])


def test_signature_without_inputs(caller):
    found = caller.predict("constants")
    assert list(found["names"]) == [b"left", b"right"] and found["version"] == 1 and found["one_bytes"].item() == b"\xff\x00"


def test_version_can_be_named(caller):
    message = request("constants")
    message.model_spec.version.value = 1
    assert arrays(caller.prediction.Predict(message, timeout=TIMEOUT))["version"] == 1


def test_every_number_type_of_value_fields(caller):
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1, 2, 3])
    proto.tensor_shape.dim.add(size=1)
    proto.tensor_shape.dim.add(size=3)
    np.testing.assert_allclose(caller.predict(x=proto)["y"], [[1, 2, 3]])
    proto.float_val[:] = [5]  # the last value is repeated
    np.testing.assert_allclose(caller.predict(x=proto)["y"], [[5, 5, 5]])


def fails(caller, *codes, **arguments):
    with pytest.raises(grpc.RpcError) as failure:
        caller.predict(**arguments)
    assert failure.value.code() in codes, failure.value
    return failure.value.details()


def test_unknown_signature(caller):
    assert "nothing" in fails(caller, INVALID, grpc.StatusCode.FAILED_PRECONDITION, signature="nothing", x=floats(1, 3))


def test_unknown_and_missing_inputs(caller, address):
    assert "strange" in fails(caller, INVALID, x=floats(1, 3), strange=floats(1))
    said = fails(caller, INVALID)
    if address.ours:
        assert said == "Signature 'serving_default' needs the inputs 'x'. Received: none."


def test_unknown_and_doubled_outputs(caller):
    assert "strange" in fails(caller, INVALID, outputs=["strange"], x=floats(1, 3))
    assert "total" in fails(caller, INVALID, outputs=["total", "total"], x=floats(1, 3))


@pytest.mark.parametrize("x", [np.zeros([1, 3], np.int32), np.zeros([1, 4], np.float32), np.zeros([3], np.float32),
                               np.array([["a", "b", "c"]], object)])
def test_wrong_type_or_shape(caller, address, x):
    said = fails(caller, INVALID, x=x)
    if address.ours:
        assert "must be float32 [?, 3]. Received: " in said and str(x.shape[-1]) in said


def test_assertion_of_the_model(caller):
    said = fails(caller, INVALID, signature="roots", n=np.float32([1, -1]))
    assert "n must not be negative" in said and "{{node" not in said.split("must not be negative")[0]


def test_unknown_model_version_label(caller):
    for change, codes in ((dict(name="nobody"), [NOT_FOUND]), (dict(version=99), [NOT_FOUND]), (dict(label="best"), [INVALID]),
                          (dict(name=""), [INVALID])):
        message = request("constants", name=change.get("name", "hund"))
        if "version" in change:
            message.model_spec.version.value = change["version"]
        if "label" in change:
            message.model_spec.version_label = change["label"]
        with pytest.raises(grpc.RpcError) as failure:
            caller.prediction.Predict(message, timeout=TIMEOUT)
        assert failure.value.code() in codes, failure.value


def test_metadata(caller):
    query = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    query.model_spec.name = "hund"
    answer = caller.prediction.GetModelMetadata(query, timeout=TIMEOUT)
    assert answer.model_spec.version.value == 1
    found = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    assert {"serving_default", "texts", "one", "constants"} <= set(found.signature_def)
    one = found.signature_def["one"]
    assert one.inputs["x"].dtype == types_pb2.DT_FLOAT and [dim.size for dim in one.inputs["x"].tensor_shape.dim] == [3]
    assert tf.make_ndarray(one.defaults["factor"]) == 2.0
    for field in ([], ["everything"]):
        query.metadata_field[:] = field
        with pytest.raises(grpc.RpcError) as failure:
            caller.prediction.GetModelMetadata(query, timeout=TIMEOUT)
        assert failure.value.code() == INVALID


def test_status(caller):
    state, status = caller.states()[1]
    assert state == "AVAILABLE" and status.error_code == 0
    query = get_model_status_pb2.GetModelStatusRequest()
    query.model_spec.name = "nobody"
    with pytest.raises(grpc.RpcError) as failure:
        caller.models.GetModelStatus(query, timeout=TIMEOUT)
    assert failure.value.code() == NOT_FOUND


@pytest.mark.usefixtures("ours_only")
def test_calls_that_are_not_served(caller):
    from tensorflow_serving.apis import model_management_pb2

    with pytest.raises(grpc.RpcError) as failure:
        caller.models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), timeout=TIMEOUT)
    assert failure.value.code() == grpc.StatusCode.UNIMPLEMENTED
