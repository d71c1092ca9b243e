"""Draws every person found on photos: the photo with the body's keypoints, and the body from the front and the side.

    python tools/render_people_sheet.py my_photos --out sheets

Tiles are numbered in the order of photos and people; `sheets/people.csv` says who is where and has a column to fill in
what one sees.
"""

import argparse
import csv
import io
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np
from tqdm import tqdm

import hund_tf
from hund_tf import images
from hund_tf.files import write_atomically
from hund_tf.outputs import save_png
from hund_tf.visualization import overlay

_HEIGHT, _COLUMNS, _ROWS = 240, 3, 6
_VIEWS = ((0.0, 0.0), (90.0, 0.0))  # yaw and pitch, degrees
_MARGIN = 1.25


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="folder of photos")
    parser.add_argument("--out", required=True, help="folder of the sheets")
    parser.add_argument("--preset", default="person", help="name or folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    paths, problems = images.find_photos([options.photos])
    if not paths:
        parser.error(problems[0][1])
    os.makedirs(options.out, exist_ok=True)
    model = hund_tf.load_preset(options.preset)
    tiles, rows = [], [("number", "photo", "person", "plausible")]
    for path in tqdm(paths):
        photo = images.read_photo(path)
        for index, person in enumerate(model.reconstruct(photo.pixels, intrinsics=photo.intrinsics).people):
            rows.append((len(tiles), os.path.basename(path), index, ""))
            tiles.append(_tile(photo.pixels, person, len(tiles)))
    page = _COLUMNS * _ROWS
    for start in range(0, len(tiles), page):
        sheet = _page(tiles[start:start + page])
        path = os.path.join(options.out, f"people-{start // page:02d}.png")
        write_atomically(path, lambda temporary, sheet=sheet: save_png(sheet, temporary))
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    write_atomically(os.path.join(options.out, "people.csv"), lambda temporary: _write(temporary, text.getvalue()))
    print(f"{len(tiles)} people on {(len(tiles) + page - 1) // page} sheets in {options.out}")


def _tile(pixels, person, number):
    x, y, width, height = person.box
    side = int(max(width, height) * _MARGIN)
    left, top = int(x + width / 2 - side / 2), int(y + height / 2 - side / 2)
    crop = np.zeros([side, side, 3], np.uint8)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, pixels.shape[1]), min(top + side, pixels.shape[0])
    crop[y0 - top:y1 - top, x0 - left:x1 - left] = pixels[y0:y1, x0:x1]
    crop = cv2.resize(crop, (_HEIGHT, _HEIGHT), interpolation=cv2.INTER_AREA)
    cv2.putText(crop, str(number), (4, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 0), 2, cv2.LINE_AA)
    mesh = [(person.vertices, person.faces)]
    bodies = [overlay.draw_scene(mesh, _HEIGHT, _HEIGHT * 2 // 3, *view) for view in _VIEWS]
    points = (person.keypoints2d[:25] - [left, top]) * (_HEIGHT / side)
    for point, sure in zip(points, person.keypoint_confidence[:25]):
        if sure > 0.3:
            cv2.circle(crop, tuple(int(v) for v in np.clip(point, -9, 999)), 2, (0, 255, 0), -1, cv2.LINE_AA)
    return np.concatenate([crop, *bodies], axis=1)


def _page(tiles):
    blank = np.full_like(tiles[0], 255)
    tiles = tiles + [blank] * (-len(tiles) % _COLUMNS)
    return np.concatenate([np.concatenate(tiles[i:i + _COLUMNS], 1) for i in range(0, len(tiles), _COLUMNS)])


def _write(path, text):
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)


if __name__ == "__main__":
    main()
