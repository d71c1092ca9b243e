"""Measures how well posed hands fall on the hands that the landmark networks see in photos, and draws them.

    python tools/evaluate_hands_on_photos.py PHOTO_OR_FOLDER ... --sheet hands.png

There is no 3D truth for such photos. Per hand, in per cent of the longer side of the box of its 21 detected points: the mean
distance in the image between these and the points of the hand's network, in its own place ("network"), and of the person who
is given back ("person"), whose wrists are where the arms put them; and of that person's hand pushed onto the detected one
("pushed"). People who are found at a second look alone, beside others, are left out.
"""

import argparse
import json
import os

import numpy as np
import tensorflow as tf
from tqdm import tqdm

import hund_tf
from hund_tf import cli_values, images
from hund_tf.geometry import camera
from hund_tf.sensing import sightings
from hund_tf.whole_body import attention
from hund_tf.whole_body.part_networks import part_landmarks
from hund_tf.whole_body.part_objective import pose

_SEEN = 0.6  # mean confidence of a hand's points from which it is measured
_HANDS = {"left_hand": slice(95, 116), "right_hand": slice(116, 137)}
_COLUMNS, _MARGIN = 7, 0.35


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", metavar="PHOTO_OR_FOLDER")
    parser.add_argument("--preset", default="person", help="of a person, name or folder (default: %(default)s)")
    parser.add_argument("--least", type=cli_values.between(0, 1e4), default=40.0, metavar="PIXELS",
                        help="hands whose box is smaller are left out (default: %(default)s)")
    parser.add_argument("--sheet", metavar="FILE", help="a picture of the hands: detected points white, the network's red, the "
                                                        "person's blue")
    parser.add_argument("--json", metavar="FILE", help="also write the figures here")
    options = parser.parse_args(arguments)
    paths, problems = images.find_photos(options.photos)
    for _, sentence in problems:
        parser.error(sentence)
    hund_tf.start_quickly()
    try:
        model = hund_tf.load_preset(options.preset)
        if model.parts is None:
            parser.error(f"--preset must be of a person. Received: {options.preset!r}, which has no hands.")
        hands = [hand for path in tqdm(paths) for hand in measure(model, path, options.least)]
    except (ValueError, FileNotFoundError, images.ImageError) as error:
        parser.error(str(error))
    figures = summary(hands)
    print(json.dumps(figures, indent=1))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"figures": figures, "hands": [{k: v for k, v in hand.items() if np.isscalar(v)} for hand in hands]}, file,
                      indent=1)
    if options.sheet and hands:
        draw(hands, options.sheet)


def measure(model, path, least):
    """The hands that are seen in a photo, as dicts: `photo`, `side`, shares of the box by name, and what `draw` needs."""
    photo = images.read_photo(path)
    result = model.reconstruct(photo.pixels, intrinsics=photo.intrinsics)
    if not result.people:
        return []
    boxes = np.stack([person.box for person in result.people])
    seen = sightings.look(model.sensing.find_landmarks, tf.constant(photo.pixels), result.intrinsics, boxes,
                          np.ones(len(boxes), np.float32))
    hands, landmarks = [], part_landmarks(seen.landmarks)
    for side, part in _HANDS.items():
        mirrored = side == "right_hand"
        view = attention.look_at(
            "hand", landmarks.keypoints[:, part], landmarks.confidence[:, part], landmarks.depths[:, part],
            np.stack([person.state.shape for person in result.people]), seen.intrinsics, mirrored)
        hand = model.parts.hand
        points = attention.points_back(view, pose(hand.part_shape, hand.solve(view.evidence), view.evidence.shape))
        drawn = camera.project(tf.cast(points, tf.float64), np.tile(result.intrinsics, [len(boxes), 1])).numpy()
        for person, network, looked in zip(result.people, drawn, seen.keypoints.numpy()[:, part]):
            detected, posed = person.detected_keypoints2d[part], person.keypoints2d[part]
            box = np.ptp(detected, axis=0).max()
            if person.keypoint_confidence[part].mean() < _SEEN or box < least or np.abs(detected - looked).max() > 1.0:
                continue
            pushed = posed + (detected - posed).mean(0)
            hands.append({"photo": os.path.basename(path), "side": side, "box": float(box),
                          **{name: float(100 * np.linalg.norm(at - detected, axis=-1).mean() / box) for name, at in (
                              ("network", network), ("person", posed), ("pushed", pushed))},
                          "weight": float(person.part_weights[list(_HANDS).index(side)]),
                          "pixels": photo.pixels, "points": (detected, network, posed)})
    return hands


def summary(hands):
    """Median per cent and the share of hands under 5, by name, of `measure`'s dicts."""
    figures = {"hands": len(hands), "photos": len({hand["photo"] for hand in hands})}
    for name in ("network", "person", "pushed"):
        values = np.array([hand[name] for hand in hands])
        if len(values):
            figures[name] = {"median_percent": round(float(np.median(values)), 2),
                             "hands_under_5_percent": round(float(100 * np.mean(values < 5)), 1)}
    return figures


def draw(hands, path):
    """Writes a sheet of the hands with their points over the photo."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = -(-len(hands) // _COLUMNS)
    figure, axes = pyplot.subplots(rows, _COLUMNS, figsize=(2.4 * _COLUMNS, 2.6 * rows), squeeze=False)
    for axis in axes.ravel():
        axis.axis("off")
    for hand, axis in zip(hands, axes.ravel()):
        axis.imshow(hand["pixels"])
        for points, color in zip(hand["points"], ("white", "red", "deepskyblue")):
            for finger in range(5):
                axis.plot(*points[[0, *range(1 + 4 * finger, 5 + 4 * finger)]].T, color=color, linewidth=1.2)
        middle, half = hand["points"][0].mean(0), hand["box"] * (0.5 + _MARGIN)
        axis.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] + half, middle[1] - half))
        axis.set_title(f"{hand['network']:.1f} / {hand['person']:.1f} / {hand['pushed']:.1f} %", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
