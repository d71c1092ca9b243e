"""A SavedModel of a few sums, with every kind of signature that a server must know; it loads in a blink.

`python -m tests.serving.small_model DIR` writes DIR/1, for another server than ours.
"""

import os
import sys

import tensorflow as tf


class Small(tf.Module):
    """`version` is what the model multiplies by, so that answers tell which version gave them."""

    def __init__(self, version):
        super().__init__()
        self.factor = tf.Variable(float(version))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def rows(self, x):
        return {"y": x * self.factor, "total": tf.reduce_sum(x, -1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def texts(self, text):
        return {"length": tf.strings.length(text), "same_bytes": tf.identity(text)}

    @tf.function(input_signature=[tf.TensorSpec([3], tf.float32, name="x"), tf.TensorSpec([], tf.float32, name="factor"),
                                  tf.TensorSpec([], tf.int32, name="plus")])
    def one(self, x, factor=tf.constant(2.0), plus=tf.constant(0)):
        return {"y": x * factor + tf.cast(plus, tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="n")])
    def roots(self, n):
        tf.debugging.assert_non_negative(n, message="n must not be negative. Received: a negative one.")
        return {"root": tf.sqrt(n)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32, name="steps")])
    def slow(self, steps):
        return {"steps": _work(steps)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="steps")])
    def slow_rows(self, steps):
        return {"steps": steps + 0 * _work(tf.reduce_max(steps)), "rows": tf.fill(tf.shape(steps), tf.size(steps))}

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8, name="image")])
    def image(self, image):
        return {"size": tf.shape(image)[:2]}

    @tf.function(input_signature=[])
    def constants(self):
        return {"names": tf.constant(["left", "right"]), "version": tf.cast(self.factor, tf.int32),
                "one_bytes": tf.constant(b"\xff\x00")}


def _work(steps):
    """About a millisecond a step; it can be interrupted between two steps."""
    matrix = tf.random.stateless_uniform([300, 300], [1, 2])
    i = tf.constant(0)
    while i < steps:
        matrix = tf.matmul(matrix, matrix)
        matrix = matrix / tf.reduce_max(matrix)
        i += 1
    return i + tf.cast(matrix[0, 0] * 0, tf.int32)


def save(base, version):
    """Writes base/<version>; returns its path."""
    path = os.path.join(base, str(version))
    model = Small(version)
    signatures = {name: getattr(model, name) for name in ("texts", "one", "roots", "slow", "slow_rows", "image", "constants")}
    tf.saved_model.save(model, path, signatures={"serving_default": model.rows, **signatures})
    return path


def write_warmup(path, signature="serving_default", **inputs):
    """Writes a warm-up request with these arrays beside a saved version."""
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "any", signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    os.makedirs(os.path.join(path, "assets.extra"), exist_ok=True)
    with tf.io.TFRecordWriter(os.path.join(path, "assets.extra", "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("The folder must be named: python -m tests.serving.small_model DIR")
    print(save(sys.argv[1], 1))
