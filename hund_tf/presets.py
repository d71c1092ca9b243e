"""Named presets: a folder with settings, weights and where they come from, found by name or path.

    config.json     settings of the networks
    weights.h5      weights of the HUND network
    parts.h5        weights of the part CNN, where the landmark networks look at the crops ("sensing": "landmarks")
    sensing.h5      weights of `MultitaskCNN` in its place, where that does ("sensing": "multitask")
    metadata.json   which of the two, sha256 of each file, licence, data, command, metrics
"""

import hashlib
import json
import os

from hund_tf.config import HundConfig

SENSING_WEIGHTS = {"landmarks": "parts.h5", "multitask": "sensing.h5"}
_FILES = ("config.json", "weights.h5", "metadata.json")  # of every preset, beside its sensing's weights
PACKAGED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "assets", "presets")


def places(name):
    """Every folder where preset `name` is looked for, in order."""
    folders = [name] if os.sep in name or os.path.isdir(name) else []
    home = os.environ.get("HUND_TF_HOME")
    if home:
        folders.append(os.path.join(home, name))
    folders.append(os.path.join(PACKAGED, name))
    folders.append(os.path.join(os.path.expanduser("~"), ".cache", "hund_tf", name))
    return folders


def find(name):
    """The folder of preset `name`.

    Raises:
        FileNotFoundError: if there is none; the message lists every place that was searched.
    """
    for folder in places(name):
        if os.path.isfile(os.path.join(folder, "config.json")):
            return folder
    raise FileNotFoundError(f"No preset {name!r}. Searched: {', '.join(places(name))}. "
                            f"Packaged presets: {', '.join(packaged())}. `hund train preset` makes one.")


def packaged():
    """Names of the presets that come with the package."""
    folders = sorted(os.listdir(PACKAGED)) if os.path.isdir(PACKAGED) else []
    return [name for name in folders if os.path.isfile(os.path.join(PACKAGED, name, "config.json"))]


def read_config(folder):
    """`HundConfig` of a preset folder."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        return HundConfig.from_dict(json.load(file))


def files(sensing="landmarks"):
    """Names of the files of a preset whose crops are looked at by "landmarks" or "multitask".

    Raises:
        ValueError: if there is no such sensing.
    """
    if sensing not in SENSING_WEIGHTS:
        raise ValueError(f"`sensing` must be one of {tuple(SENSING_WEIGHTS)}. Received: {sensing!r}.")
    return *_FILES[:2], SENSING_WEIGHTS[sensing], _FILES[2]


def read_metadata(folder):
    """`metadata.json` of a preset folder, as a dict with "sensing", after its checksums were compared.

    Raises:
        FileNotFoundError: if a file of the preset is missing.
        ValueError: if a file is not the one that the metadata names, or there is no such sensing.
    """
    _check_there(folder, _FILES)
    with open(os.path.join(folder, "metadata.json"), encoding="utf-8") as file:
        metadata = json.load(file)
    metadata.setdefault("sensing", "landmarks")
    _check_there(folder, files(metadata["sensing"]))
    for name, expected in metadata["sha256"].items():
        found = sha256(os.path.join(folder, name))
        if found != expected:
            raise ValueError(f"{name} of preset {folder} must have sha256 {expected}. Received: {found}.")
    return metadata


def save(folder, model, network, metadata):
    """Writes a preset.

    Args:
        folder: str.
        model: `HundBody`.
        network: `PartSegmentation`, for a preset that looks by the landmark networks, or `MultitaskCNN`.
        metadata: dict, to which sensing and checksums are added.
    """
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(model.config.to_dict(), file, indent=2)
    model.save_weights(os.path.join(folder, "weights.h5"))
    network.save_weights(os.path.join(folder, SENSING_WEIGHTS[network.sensing]))
    digests = {name: sha256(os.path.join(folder, name)) for name in files(network.sensing)[:3]}
    with open(os.path.join(folder, "metadata.json"), "w", encoding="utf-8") as file:
        json.dump({**metadata, "sensing": network.sensing, "sha256": digests}, file, indent=2)


def _check_there(folder, names):
    for file in names:
        if not os.path.isfile(os.path.join(folder, file)):
            raise FileNotFoundError(f"A preset holds {', '.join(names)}. Missing: {os.path.join(folder, file)}.")


def sha256(path):
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
