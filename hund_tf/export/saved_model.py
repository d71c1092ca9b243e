"""A preset in, a folder that TensorFlow Serving serves out: SavedModel, warm-up requests, licences, model config.

    OUT/models.config                    for tensorflow_model_server --model_config_file
    OUT/<name>/<version>/                the SavedModel
        assets.extra/tf_serving_warmup_requests
        assets.extra/preset/             config.json and metadata.json of the preset; of a person's also its members'
        assets.extra/licences/           what everything in it comes from, and the texts
"""

import os
import re
import shutil
import tempfile
from importlib import metadata

import numpy as np
import tensorflow as tf

import hund_tf
from hund_tf import arguments, files, images, presets
from hund_tf.export import signatures
from hund_tf.sensing import crops

NAME = "hund"
WARMUP = "tf_serving_warmup_requests"  # fixed by TensorFlow Serving, as its folder is
_EXTRA = "assets.extra"
_PACKAGE = os.path.dirname(os.path.abspath(hund_tf.__file__))
_SAMPLE = os.path.join(_PACKAGE, "assets", "samples", "street.jpg")
_LICENCES = {"body.md": ("assets", "body", "README.md"),
             "body_CC0.txt": ("assets", "body", "LICENSE"), "sensing.md": ("assets", "sensing", "README.md"),
             "presets.md": ("assets", "presets", "README.md")}


def export(preset, out, version=None, name=NAME, max_people=signatures.MAX_PEOPLE):
    """Writes a servable version of a preset, whole or not at all.

    Args:
        preset: str, name or folder.
        out: str, folder; made if missing.
        version: int, at least 1; the one after the highest there if None.
        name: str, of the model: letters, digits, `_` and `-`.
        max_people: int, people a photo in `serving_default`.

    Returns:
        str, the folder of the version.

    Raises:
        FileExistsError: if the version is there.
        FileNotFoundError: if there is no such preset.
        ImportError: if tensorflow-serving-api, which warm-up requests are written with, is missing.
        ValueError: if an argument breaks its rule.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"`name` must be of letters, digits, _ and -. Received: {name!r}.")
    if not 1 <= max_people <= arguments.MOST_PEOPLE:
        raise ValueError(f"`max_people` must be from 1 to {arguments.MOST_PEOPLE}. Received: {max_people}.")
    if version is not None and version < 1:
        raise ValueError(f"`version` must be at least 1. Received: {version}.")
    _import_serving_api()
    source = presets.find(preset)
    base = os.path.join(os.path.abspath(out), name)
    version = _next_version(base) if version is None else version
    target = os.path.join(base, str(version))
    if os.path.exists(target):
        raise FileExistsError(f"A version must be new. Received: {target}, which exists.")
    os.makedirs(base, exist_ok=True)
    # without a number for a name no server takes it for a version
    with tempfile.TemporaryDirectory(prefix=".hund-", dir=base) as folder:
        made = os.path.join(folder, "model")
        reconstructor = hund_tf.load_preset(preset)
        module = signatures.ServedReconstructor(
            reconstructor, {"preset": os.path.basename(os.path.normpath(source)), "version": hund_tf.__version__}, max_people)
        tf.saved_model.save(module, made, signatures=module.functions)
        _write_extra(made, source, name)
        os.rename(made, target)
    _write_model_config(out, name, base)
    return target


def _import_serving_api():
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError as error:
        raise ImportError("An export needs tensorflow-serving-api, for warm-up requests. Received: "
                          f"{error}. Remedy: pip install 'hund-tf[serve]' (in a checkout -e '.[serve]').") from error
    return predict_pb2, prediction_log_pb2


def _next_version(base):
    there = [int(entry) for entry in os.listdir(base) if entry.isdigit()] if os.path.isdir(base) else []
    return max(there, default=0) + 1


def _write_extra(folder, preset, name):
    extra = os.path.join(folder, _EXTRA)
    for part in ("preset", "licences"):
        os.makedirs(os.path.join(extra, part))
    _write_preset(os.path.join(extra, "preset"), preset)
    if presets.read_metadata(preset)["kind"] == presets.PERSON:
        for kind, member in presets.read_members(preset).items():
            os.makedirs(os.path.join(extra, "preset", kind))
            _write_preset(os.path.join(extra, "preset", kind), member)
    for file, path in _LICENCES.items():
        shutil.copyfile(os.path.join(_PACKAGE, *path), os.path.join(extra, "licences", file))
    shutil.copyfile(_own_licence(), os.path.join(extra, "licences", "hund_tf_Apache-2.0.txt"))
    write_warmup(os.path.join(extra, WARMUP), name)


def _write_preset(folder, preset):
    for file in ("config.json", "metadata.json"):
        shutil.copyfile(os.path.join(preset, file), os.path.join(folder, file))


def _own_licence():
    """The LICENSE of hund_tf: beside its folder where that is a checkout, else among the files of the installed package."""
    beside = os.path.join(os.path.dirname(_PACKAGE), "LICENSE")
    if os.path.exists(os.path.join(os.path.dirname(_PACKAGE), "setup.cfg")) and os.path.exists(beside):
        return beside
    for file in metadata.files("hund-tf") or ():
        if os.path.basename(str(file)) == "LICENSE":
            return str(file.locate())
    raise FileNotFoundError("The package must hold its LICENSE. Searched: the installed files of hund-tf.")


def write_warmup(path, name):
    """Writes one request of each signature: a model that has answered them is quick from its first request on."""
    predict_pb2, prediction_log_pb2 = _import_serving_api()
    with tf.io.TFRecordWriter(path) as writer:
        for signature, inputs in warmup_inputs().items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = name, signature
            for key, value in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def warmup_inputs():
    """Inputs of one request of each signature, of the sample photo: dict of dicts of arrays."""
    with open(_SAMPLE, "rb") as file:
        encoded = file.read()
    photo = images.read_image(_SAMPLE)
    height, width = photo.shape[:2]
    box = np.array([[0.35 * width, 0.1 * height, 0.3 * width, 0.8 * height]], np.float32)
    crop = np.round(255 * crops.crop_images(photo, box)[0].numpy()).astype(np.uint8)
    return {"serving_default": {"image_bytes": np.array([encoded], object)}, "reconstruct": {"image": photo},
            "reconstruct_boxes": {"image": photo, "boxes": box},
            "reconstruct_crops": {"crops": crop, "intrinsics": np.array([[480, 480, 240, 240]], np.float32)}, "describe": {}}


def _write_model_config(out, name, base):
    """Adds the model to OUT/models.config unless it is there."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    path, config = os.path.join(out, "models.config"), model_server_config_pb2.ModelServerConfig()
    if os.path.exists(path):  # with other models, labels or policies of the user's, which stay
        with open(path, encoding="utf-8") as file:
            text_format.Parse(file.read(), config)
        if name in [model.name for model in config.model_config_list.config]:
            return
    config.model_config_list.config.add(name=name, base_path=base, model_platform="tensorflow")

    def write(temporary):
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text_format.MessageToString(config))

    files.write_atomically(path, write)
