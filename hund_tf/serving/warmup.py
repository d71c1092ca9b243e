"""Recorded requests in (assets.extra/tf_serving_warmup_requests), a version that has run each of them out."""

import logging
import os

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from hund_tf.serving.tensors import decode

FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
_LOG = logging.getLogger(__name__)
MAX_RECORDS = 1000  # TensorFlow Serving's
_MAX_BYTES = 2**31
_RULE = "Warm-up requests must be a whole TFRecord file."


def replay(servable):
    """Runs the recorded requests of a version, if it has any.

    Args:
        servable: `Servable`.

    Returns:
        int, how many.

    Raises:
        ValueError: if the file is no TFRecord of PredictionLog with Predict requests.
        RequestError: if a request fails.
    """
    path = os.path.join(servable.folder, FILE)
    if not os.path.exists(path):
        return 0
    count = 0
    for record in _records(path):
        if count == MAX_RECORDS:
            raise ValueError(f"{path}: there must be at most {MAX_RECORDS} warm-up requests. Received: more.")
        log = prediction_log_pb2.PredictionLog()
        try:
            log.ParseFromString(record)
        except ValueError as error:  # protobuf's DecodeError is one
            raise ValueError(f"{path}: records must be PredictionLog messages. Received: {error}.") from None
        if log.WhichOneof("log_type") != "predict_log":
            raise ValueError(f"{path}: records must be Predict requests. Received: {log.WhichOneof('log_type')}.")
        request = log.predict_log.request
        signature = servable.signature(request.model_spec.signature_name)
        feeds = {name: decode(proto, f"Input {name!r}", _MAX_BYTES) for name, proto in request.inputs.items()}
        for name, array in feeds.items():
            signature.check(name, array, request.inputs[name].dtype)
        servable.run(signature, signature.completed(feeds), signature.wanted(request.output_filter))
        count += 1
        _LOG.info("version %d: warm-up request %d answered, %s", servable.version, count, signature.name)
    if not count and os.path.getsize(path):
        raise ValueError(f"{path}: {_RULE} Received: no record in {os.path.getsize(path)} bytes.")
    return count


def _records(path):
    try:
        yield from tf.data.TFRecordDataset(path).as_numpy_iterator()
    except tf.errors.OpError as error:
        raise ValueError(f"{path}: {_RULE} Received: {error.message}.") from None
