"""What the tests of the server ask it with: the official stubs, and plain HTTP."""

import json
import urllib.error
import urllib.request

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

from tests.serving.waiting import TIMEOUT, wait_until  # noqa: F401  (for those who import this alone)


class Caller:
    """The official stubs at an address."""

    def __init__(self, address, credentials=None, options=()):
        self.channel = (grpc.secure_channel(address, credentials, options) if credentials
                        else grpc.insecure_channel(address, options))
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, signature="", outputs=(), timeout=TIMEOUT, **inputs):
        return arrays(self.prediction.Predict(request(signature, outputs, **inputs), timeout=timeout))

    def start(self, signature="", timeout=TIMEOUT, **inputs):
        return self.prediction.Predict.future(request(signature, **inputs), timeout=timeout)

    def states(self):
        """Dict, name of the state by version."""
        query = get_model_status_pb2.GetModelStatusRequest()
        query.model_spec.name = "hund"
        answer = self.models.GetModelStatus(query, timeout=TIMEOUT)
        return {entry.version: (get_model_status_pb2.ModelVersionStatus.State.Name(entry.state), entry.status)
                for entry in answer.model_version_status}

    def version(self):
        return int(self.predict("constants")["version"])


def request(signature="", outputs=(), name="hund", **inputs):
    message = predict_pb2.PredictRequest(output_filter=outputs)
    message.model_spec.name, message.model_spec.signature_name = name, signature
    for key, value in inputs.items():
        message.inputs[key].CopyFrom(value if isinstance(value, tensor_pb2.TensorProto) else tf.make_tensor_proto(value))
    return message


def arrays(response):
    return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}


def floats(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def http(url, body=None, context=None, headers=None):
    """(status, parsed JSON or text) of a GET, or a POST of `body` (bytes, or what becomes JSON)."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    try:
        asked = urllib.request.Request(url, body, headers or {})
        with urllib.request.urlopen(asked, timeout=TIMEOUT, context=context) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            status, text = error.code, error.read().decode()
    return status, json.loads(text) if text.startswith("{") else text
