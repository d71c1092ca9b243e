"""What a user gives in, a checked request of one signature out, with the function that reads its answer."""

from typing import Any, Callable, NamedTuple

import numpy as np

from hund_tf import arguments
from hund_tf.client import results, tensors
from hund_tf.client import serving_api_pb2 as api

CROP_SIZE = 480  # pixels a side


class Call(NamedTuple):
    """One call, ready to be sent.

    Attributes:
        method: str, "Predict" or "GetModelStatus".
        request: the message.
        read: function of the response message; what the user gets.
    """

    method: str
    request: Any
    read: Callable


class RequestBuilder:
    """Builds the calls of one model.

    Args:
        model: str, its name on the server.
        version: int, or None for the newest.
    """

    def __init__(self, model="hund", version=None):
        arguments.check_count("version", version, 0)
        if not isinstance(model, str) or not model:
            raise ValueError(f"`model` must be the name of a model. Received: {model!r}.")
        self._model, self._version = model, version

    def reconstruct(self, image, intrinsics=None, max_people=None, num_stages=None, outputs=None):
        """Call whose answer is `HundResult`."""
        arguments.check_count("max_people", max_people, 1)
        inputs = {**_photo_inputs(image, intrinsics, num_stages), **_whole("max_people", max_people)}
        return self._predict("reconstruct", inputs, outputs, results.of_photo)

    def reconstruct_boxes(self, image, boxes, intrinsics=None, num_stages=None, outputs=None):
        """Call whose answer is `HundResult`, one row a box."""
        inputs = _photo_inputs(image, intrinsics, num_stages)
        inputs["boxes"] = arguments.checked_boxes(boxes, *inputs["image"].shape[:2])
        count = len(inputs["boxes"])
        return self._predict("reconstruct_boxes", inputs, outputs, lambda response: results.of_rows(response, count))

    def reconstruct_bytes(self, files, outputs=None):
        """Call whose answer is a list of `HundResult`, one a photo."""
        files = files if isinstance(files, (bytes, bytearray, str)) else list(files)
        alone = not isinstance(files, list)
        if alone or not files or not all(isinstance(file, (bytes, bytearray)) and file for file in files):
            came = f"one {type(files).__name__}" if alone else [f"{type(file).__name__} {file[:9]!r}" for file in files]
            raise ValueError(f"`files` must be a list of bytes, one JPEG or PNG file each, none empty. Received: {came}.")
        inputs = {"image_bytes": np.array([bytes(file) for file in files], object)}
        return self._predict("serving_default", inputs, outputs, lambda response: results.of_photos(response, len(files)))

    def reconstruct_crops(self, crops, intrinsics, outputs=None):
        """Call whose answer is `HundResult`, one row a crop."""
        crops, values = np.asarray(crops), np.asarray(intrinsics, np.float32)
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (CROP_SIZE, CROP_SIZE, 3) or not len(crops):
            raise ValueError(f"`crops` must be uint8 [B, {CROP_SIZE}, {CROP_SIZE}, 3], RGB, B at least 1. "
                             f"Received: {crops.dtype} {crops.shape}.")
        if values.shape != (len(crops), 4):
            raise ValueError(f"`intrinsics` must be [{len(crops)}, 4], fx, fy, cx, cy of each crop. Received: {values.shape}.")
        for row in values:
            arguments.checked_intrinsics(row)
        return self._predict("reconstruct_crops", {"crops": crops, "intrinsics": values}, outputs,
                             lambda response: results.of_rows(response, len(crops)))

    def describe(self):
        """Call whose answer is `Description`."""
        return self._predict("describe", {}, None, results.of_description)

    def status(self):
        """Call whose answer is a tuple of `VersionStatus`."""
        return Call("GetModelStatus", api.GetModelStatusRequest(model_spec=self._spec(None)), results.of_status)

    def _predict(self, signature, inputs, outputs, read):
        request = api.PredictRequest(model_spec=self._spec(signature), output_filter=_filter(outputs, signature))
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tensors.encode(array))
        return Call("Predict", request, read)

    def _spec(self, signature):
        spec = api.ModelSpec(name=self._model, signature_name=signature or "")
        if self._version is not None:
            spec.version.value = self._version
        return spec


def _photo_inputs(image, intrinsics, num_stages):
    arguments.check_count("num_stages", num_stages, 0)
    inputs = {"image": arguments.checked_image(image), **_whole("num_stages", num_stages)}
    if intrinsics is not None:
        inputs["intrinsics"] = arguments.checked_intrinsics(intrinsics).astype(np.float32)
    return inputs


def _whole(name, value):
    """An optional int32 input: absent if None."""
    if value is not None and value > np.iinfo(np.int32).max:
        raise ValueError(f"`{name}` must fit into an int32. Received: {value}.")
    return {} if value is None else {name: np.array(value, np.int32)}


def _filter(outputs, signature):
    """The outputs to ask for; that which the answer is cut by comes along. Empty: all."""
    if outputs is None:
        return []
    names = [outputs] if isinstance(outputs, str) else list(outputs)
    if not names or not set(names) <= set(results.OUTPUTS):
        raise ValueError(f"`outputs` must be some of {', '.join(results.OUTPUTS)}. Received: {outputs!r}.")
    if signature in ("reconstruct", "serving_default"):
        names.append("num_people")
    return list(dict.fromkeys(names))
