"""Named presets: a folder with settings, weights and where they come from, found by name or path.

    config.json      settings of the networks; of a person, the names of the presets it is put together from
    weights.h5       weights of the HUND network of a body, a hand or a face
    parts.h5         of a body: weights of the part CNN, where the landmark networks look at the crops ("sensing": "landmarks")
    sensing.h5       weights of `MultitaskCNN` in its place, where that does ("sensing": "multitask")
    uncertainty.npz  of a body or a person, if it was calibrated: how far off its points may be
    metadata.json    its kind ("body", "hand", "face" or "person"), sensing, sha256 of each file, licence, data, command, metrics
"""

import hashlib
import json
import os
import shutil

from hund_tf.config import PARTS, HundConfig, PartConfig

SENSING_WEIGHTS = {"landmarks": "parts.h5", "multitask": "sensing.h5"}
BODY, PERSON = "body", "person"
KINDS = (BODY, *PARTS, PERSON)
MEMBERS = (BODY, *PARTS)  # of a person
UNCERTAINTY = "uncertainty.npz"
_CONFIG, _WEIGHTS, _METADATA = "config.json", "weights.h5", "metadata.json"
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
    """`HundConfig` of a body's preset folder."""
    return HundConfig.from_dict(_read_json(folder, _CONFIG))


def read_part_config(folder):
    """`PartConfig` of a hand's or a face's preset folder."""
    return PartConfig.from_dict(_read_json(folder, _CONFIG))


def read_members(folder):
    """Folders of the presets that a person's preset is put together from: dict of `MEMBERS`.

    Raises:
        FileNotFoundError: if there is none of such a name.
        ValueError: if one is not named, is of another kind, or holds other weights than when the person was made.
    """
    names, made = _read_json(folder, _CONFIG), _read_json(folder, _METADATA).get("members", {})
    if not isinstance(names, dict) or set(names) != set(MEMBERS) or not all(isinstance(n, str) for n in names.values()):
        raise ValueError(f"{_CONFIG} of a person must name {', '.join(MEMBERS)}. Received: {names}, in {folder}.")
    folders = {kind: find(names[kind]) for kind in MEMBERS}
    for kind, member in folders.items():
        found = _weights_of(kind, member)
        if found != made.get(kind):
            raise ValueError(f"{folder} was made with a {kind}'s weights of sha256 {made.get(kind)}. Received: {found}, in "
                             f"{member}. `hund train person` makes a preset with those.")
    return folders


def _weights_of(kind, folder):
    """Checksum of the weights of a preset of that kind."""
    metadata = read_metadata(folder)
    if metadata["kind"] != kind:
        raise ValueError(f"Preset {folder} must be a {kind}'s. Received: a {metadata['kind']}'s.")
    return metadata["sha256"][_WEIGHTS]


def files(kind=BODY, sensing="landmarks"):
    """Names of the files that a preset of a kind must hold.

    Args:
        kind: one of `KINDS`.
        sensing: "landmarks" or "multitask", what looks at the crops; of a body.

    Raises:
        ValueError: if there is no such kind or sensing.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {KINDS}. Received: {kind!r}.")
    if sensing not in SENSING_WEIGHTS:
        raise ValueError(f"`sensing` must be one of {tuple(SENSING_WEIGHTS)}. Received: {sensing!r}.")
    weights = {BODY: (_WEIGHTS, SENSING_WEIGHTS[sensing]), PERSON: ()}.get(kind, (_WEIGHTS,))
    return _CONFIG, *weights, _METADATA


def read_metadata(folder):
    """`metadata.json` of a preset folder, as a dict with "kind" and "sensing", after its checksums were compared.

    Raises:
        FileNotFoundError: if a file of the preset is missing.
        ValueError: if a file is not the one that the metadata names, or there is no such kind or sensing.
    """
    _check_there(folder, (_CONFIG, _METADATA))
    metadata = {"kind": BODY, "sensing": "landmarks", **_read_json(folder, _METADATA)}
    _check_there(folder, files(metadata["kind"], metadata["sensing"]))
    _check_there(folder, metadata["sha256"])
    for name, expected in metadata["sha256"].items():
        found = sha256(os.path.join(folder, name))
        if found != expected:
            raise ValueError(f"{name} of preset {folder} must have sha256 {expected}. Received: {found}.")
    return metadata


def save(folder, model, network, metadata, uncertainty=None):
    """Writes a body's preset.

    Args:
        folder: str.
        model: `HundBody`.
        network: `PartSegmentation`, for a preset that looks by the landmark networks, or `MultitaskCNN`.
        metadata: dict, to which kind, sensing and checksums are added.
        uncertainty: str, path of its calibration (tools/calibrate_uncertainty.py), or None.
    """
    os.makedirs(folder, exist_ok=True)
    model.save_weights(os.path.join(folder, _WEIGHTS))
    network.save_weights(os.path.join(folder, SENSING_WEIGHTS[network.sensing]))
    _finish(folder, model.config.to_dict(), {**metadata, "kind": BODY, "sensing": network.sensing}, uncertainty)


def save_part(folder, model, metadata):
    """Writes the preset of a hand or a face, a `HundPart`; arguments as of `save`."""
    os.makedirs(folder, exist_ok=True)
    model.save_weights(os.path.join(folder, _WEIGHTS))
    _finish(folder, model.config.to_dict(), {**metadata, "kind": model.config.kind}, None)


def save_person(folder, names, metadata, uncertainty=None):
    """Writes the preset of a person, put together from others.

    Args:
        folder: str.
        names: dict of `MEMBERS` to names of presets.
        metadata, uncertainty: as of `save`.

    Raises:
        FileNotFoundError: if there is no preset of such a name.
        ValueError: if one is of another kind.
    """
    folders = {kind: find(names[kind]) for kind in MEMBERS}
    members = {kind: _weights_of(kind, folders[kind]) for kind in MEMBERS}
    sensing = read_metadata(folders[BODY])["sensing"]
    # what was given as a path is found from elsewhere, too
    names = {kind: os.path.abspath(name) if folders[kind] == name else name for kind, name in names.items()}
    os.makedirs(folder, exist_ok=True)
    _finish(folder, names, {**metadata, "kind": PERSON, "sensing": sensing, "members": members}, uncertainty)


def _finish(folder, config, metadata, uncertainty):
    with open(os.path.join(folder, _CONFIG), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
    names = files(metadata["kind"], metadata.get("sensing", "landmarks"))[:-1]
    if uncertainty is not None:
        shutil.copyfile(uncertainty, os.path.join(folder, UNCERTAINTY))
        names += (UNCERTAINTY,)
    digests = {name: sha256(os.path.join(folder, name)) for name in names}
    with open(os.path.join(folder, _METADATA), "w", encoding="utf-8") as file:
        json.dump({**metadata, "sha256": digests}, file, indent=2)


def _read_json(folder, name):
    path = os.path.join(folder, name)
    with open(path, encoding="utf-8") as file:
        try:
            return json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} must be JSON. Received: something else ({error}).") from None


def _check_there(folder, names):
    for file in names:
        if not os.path.isfile(os.path.join(folder, file)):
            raise FileNotFoundError(f"A preset must hold {', '.join(names)}. Missing: {os.path.join(folder, file)}.")


def sha256(path):
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
