"""A server with TF Serving's methods and made-up answers, in this process or, as a program, in one that can be killed."""

import collections
import contextlib
import os
import subprocess
import sys
import threading
import time
from concurrent import futures

import grpc
import numpy as np

from hund_tf.client import serving_api_pb2 as api
from hund_tf.client import tensors
from tests.conftest import JOINTS, KEYPOINTS, StubState, make_person

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VERSION = 7  # of the model
FOUND, ROWS = 2, 8  # people in every photo; P
PHOTO = np.full([48, 64, 3], 120, np.uint8)
NOWHERE = "127.0.0.1:1"  # where nothing listens
Failure = collections.namedtuple("Failure", "code message")
UNAVAILABLE = Failure(grpc.StatusCode.UNAVAILABLE, "loading")


def people(count, rows):
    """Outputs `[rows, ...]` of `count` made-up people; what comes after them is not zero, so that a missing cut shows."""
    found = [make_person(i, x=0.5 * i) for i in range(count)]
    columns = {name: [getattr(person, name) for person in found] for name in (
        "box", "score", "vertices", "joints3d", "keypoints3d", "keypoints2d", "detected_keypoints2d", "keypoint_confidence",
        "joint_rotations", "stage_states", "stage_losses", "part_weights", "keypoint_uncertainty", "joint_uncertainty")}
    columns.update({name: [getattr(person.state, name) for person in found] for name in StubState._fields})
    wide = {"keypoints2d", "detected_keypoints2d"}
    arrays = {name: np.array(values, np.float64 if name in wide else np.float32) for name, values in columns.items()}
    return {name: np.concatenate([array, np.full([rows - count, *array.shape[1:]], 99, array.dtype)])
            for name, array in arrays.items()}


def names(kind, count):
    return np.array([f"{kind}{i}".encode() for i in range(count)], object)


def outputs_of(request):
    """The outputs of a request, as an export's signatures make them, before the output filter."""
    signature = request.model_spec.signature_name
    given = {name: tensors.decode(tensor) for name, tensor in request.inputs.items()}
    if signature == "describe":
        return {"faces": make_person().faces, "keypoint_names": names("keypoint", KEYPOINTS),
                "joint_names": names("joint", JOINTS), "preset": np.array(b"person", object), "version": np.array(b"0.9", object)}
    if signature == "reconstruct_crops":
        outputs = people(len(given["crops"]), len(given["crops"]))
        return {name: array for name, array in outputs.items() if name not in ("box", "score")}
    if signature == "serving_default":
        counts = [i % (FOUND + 1) for i in range(len(given["image_bytes"]))]
        filled = [people(max(n, 1), ROWS) for n in counts]
        return {**{name: np.stack([outputs[name] for outputs in filled]) for name in filled[0]},
                "num_people": np.array(counts, np.int32), "image_size": np.tile(np.array([48, 64], np.int32), [len(counts), 1]),
                "intrinsics": np.tile(np.array([64.0, 64, 32, 24]), [len(counts), 1])}
    height, width = given["image"].shape[:2]
    rows = len(given["boxes"]) if "boxes" in given else int(given.get("max_people", ROWS))
    count = rows if "boxes" in given else min(FOUND, rows)
    size = float(max(height, width))
    return {**people(count, rows), "num_people": np.array(count, np.int32), "image_size": np.array([height, width], np.int32),
            "intrinsics": given.get("intrinsics", np.array([size, size, width / 2, height / 2])).astype(np.float64)}


class FakeServer:
    """Answers every request with `outputs_of`, unless it is told to fail first.

    Args:
        failures: list of `Failure`, one for each of the first requests.
        delay: float, seconds that each answer takes.
        outputs: function of the request -> dict of arrays.
        port: int, or 0 for any free one.
        credentials: `grpc.ServerCredentials`.

    Attributes:
        address: str.
        requests: list of the messages that came.
        awake: `threading.Event`; while it is clear, requests come in and none is answered.
    """

    def __init__(self, failures=(), delay=0.0, outputs=outputs_of, port=0, credentials=None):
        self.failures, self.delay, self.outputs, self.requests = list(failures), delay, outputs, []
        self.running = self.most_running = 0
        self.awake = threading.Event()
        self.awake.set()
        self._lock = threading.Lock()
        self._server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1),
                                                                            ("grpc.so_reuseport", 0)])
        for service, method, message, answer in (("PredictionService", "Predict", api.PredictRequest, self._predict),
                                                 ("ModelService", "GetModelStatus", api.GetModelStatusRequest, self._status)):
            handler = grpc.unary_unary_rpc_method_handler(
                answer, message.FromString, lambda response: response.SerializeToString())
            self._server.add_generic_rpc_handlers((
                grpc.method_handlers_generic_handler(f"tensorflow.serving.{service}", {method: handler}),))
        if credentials is None:
            port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        else:
            port = self._server.add_secure_port(f"127.0.0.1:{port}", credentials)
        self.port, self.address = port, f"127.0.0.1:{port}"
        self._server.start()

    def stop(self, grace=None):
        self.awake.set()
        self._server.stop(grace).wait()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()

    def _predict(self, request, context):
        with self._lock:
            self.requests.append(request)
            failure = self.failures.pop(0) if self.failures else None
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            self.awake.wait()
            if failure:
                context.abort(*failure)
            time.sleep(self.delay)
            arrays = self.outputs(request)
        finally:
            with self._lock:
                self.running -= 1
        unknown = set(request.output_filter) - set(arrays)
        if unknown:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"output tensor alias not found in signature: {sorted(unknown)}")
        response = api.PredictResponse(model_spec=request.model_spec)
        response.model_spec.version.value = VERSION
        for name, array in arrays.items():
            if not request.output_filter or name in request.output_filter:
                response.outputs[name].CopyFrom(tensors.encode(array))
        return response

    def _status(self, request, context):
        if request.model_spec.name != "hund":
            context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {request.model_spec.name}")
        versions = api.GetModelStatusResponse()
        versions.model_version_status.add(version=6, state=50, status=api.StatusProto(error_code=1, error_message="replaced"))
        versions.model_version_status.add(version=VERSION, state=30)
        return versions


@contextlib.contextmanager
def server_process(delay):
    """A `FakeServer` in a process of its own: pair of its address and the process."""
    program = [sys.executable, os.path.abspath(__file__), str(delay)]
    environment = {**os.environ, "PYTHONPATH": ROOT}
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


if __name__ == "__main__":
    with FakeServer(delay=float(sys.argv[1])) as server:
        print(server.address, flush=True)
        threading.Event().wait()
