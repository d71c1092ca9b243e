"""A model and a data set's path in, one record per case out: 3D error with ground truth, fit without."""

import json
import os
import time

import numpy as np

from hund_tf import images
from hund_tf.evaluation import metrics

# BODY_25 index of the 12 limb joints; names as data sets write them, lower case without separators.
LIMB_JOINTS = {
    "rightshoulder": 2, "rightelbow": 3, "rightwrist": 4, "leftshoulder": 5, "leftelbow": 6, "leftwrist": 7,
    "righthip": 9, "rightknee": 10, "rightankle": 11, "lefthip": 12, "leftknee": 13, "leftankle": 14}
ROOT = (LIMB_JOINTS["righthip"], LIMB_JOINTS["lefthip"])
LEAST_OVERLAP = 0.2  # of the true box and a found one; below, the person counts as missed
CLOSE_SHARE = 0.05  # of the box: reprojected keypoints nearer than this are close


def pose_cases(model, path, boxes="detector", num_stages=None, progress=iter):
    """3D error on photos with ground truth and calibrated cameras.

    The photo's lens distortion is taken out before the model sees it. The person is the found one whose box overlaps
    the true box best.

    Args:
        model: `Reconstructor`.
        path: str, a `cases.json` or its folder. Each case: `image` (beside the file), `camera` (fx, fy, cx, cy, dist;
            OpenCV), `joint_names`, `joints3d_cam_m`, `valid`, `bbox_xywh`.
        boxes: "detector", or "truth" to hand the true box over.
        num_stages: int, M; the preset's if None.
        progress: wraps the list of cases, for a bar.

    Returns:
        list of dict: `id`, `missed`, `pa_mpjpe_mm`, `mpjpe_mm`, `translation_error_mm`, `pck_150mm`,
        `reprojection_share`, `joint_errors_mm` (by joint, after Procrustes), `seconds`.

    Raises:
        FileNotFoundError: if there is no cases file.
        ValueError: if `boxes` is another word.
    """
    if boxes not in ("detector", "truth"):
        raise ValueError(f"`boxes` must be 'detector' or 'truth'. Received: {boxes!r}.")
    path = os.path.join(path, "cases.json") if os.path.isdir(path) else path
    with open(path, encoding="utf-8") as file:
        cases = json.load(file)
    return [_pose_case(model, case, os.path.dirname(path), boxes, num_stages) for case in progress(cases)]


def photos(model, path, num_stages=None, progress=iter):
    """Fit to the detections on photos without ground truth.

    Args:
        model: `Reconstructor`.
        path: str, a folder of photos; an `index.json` in it (`file`, `kind`) groups them.
        num_stages: int, M; the preset's if None.
        progress: wraps the list of paths, for a bar.

    Returns:
        list of dict, one per person: `photo`, `kind`, `reprojection_share`, `close`, `loss_first`, `loss_last`,
        `loss_fell` (from stage 1 to stage M), `loss_fell_from_start` (from s_0 to stage M), None with fewer than two
        stages, `finite`. A photo without people is one record whose `person` is None; one that cannot be read has the
        reason as `problem` beside it.

    Raises:
        FileNotFoundError: if the folder has no photos.
    """
    paths, problems = images.find_photos([path])
    if not paths:
        raise FileNotFoundError(problems[0][1])
    kinds = _kinds(path)
    records = []
    for name in progress(paths):
        base = {"photo": os.path.basename(name), "kind": kinds.get(os.path.basename(name), "photo")}
        try:
            photo = images.read_photo(name)
        except images.ImageError as error:
            records.append({**base, "person": None, "problem": str(error)})
            continue
        result = model.reconstruct(photo.pixels, intrinsics=photo.intrinsics, num_stages=num_stages)
        records += [{**base, "person": i, **fit(person)} for i, person in enumerate(result.people)]
        if not result.people:
            records.append({**base, "person": None})
    return records


def fit(person):
    """How well one `Person` fits its detections: dict, see `photos`."""
    share = metrics.reprojection_share(person.keypoints2d, person.detected_keypoints2d, person.keypoint_confidence,
                                       person.box)
    losses = np.asarray(person.stage_losses, np.float64)
    record = {"reprojection_share": share, "close": bool(share <= CLOSE_SHARE), "loss_fell": None,
              "loss_fell_from_start": None,
              "finite": bool(np.isfinite(person.vertices).all() and np.isfinite(losses).all())}
    if len(losses) < 3:  # fewer than two stages: nothing can fall
        return record
    return {**record, "loss_first": float(losses[1]), "loss_last": float(losses[-1]),
            "loss_fell": bool(losses[-1] < losses[1]), "loss_fell_from_start": bool(losses[-1] < losses[0])}


def limb_joints(names, points, valid):
    """Picks the 12 limb joints by name.

    Args:
        names: list of str, such as "RShoulder", "right_shoulder", "R Shoulder".
        points: `[J, 3]`.
        valid: bool `[J]`.

    Returns:
        `(points [25, 3], valid [25])` at BODY_25 places; NaN and False elsewhere.
    """
    placed, present = np.full([25, 3], np.nan), np.zeros(25, bool)
    for name, point, good in zip(names, points, valid):
        index = LIMB_JOINTS.get(_spell_out(name))
        if index is not None:
            placed[index], present[index] = point, good
    return placed, present


def undistorted(pixels, camera, box):
    """The photo, camera and box of the same view through a lens without distortion.

    Args:
        pixels: uint8 `[H, W, 3]`.
        camera: dict, fx, fy, cx, cy, dist in OpenCV's convention: pixel centres at whole numbers.
        box: x, y, width, height, or None.

    Returns:
        `(pixels, intrinsics, box)`, in our convention: pixel centres at halves.
    """
    matrix = np.array([[camera["fx"], 0, camera["cx"]], [0, camera["fy"], camera["cy"]], [0, 0, 1]], np.float64)
    distortion = np.asarray(camera.get("dist") or [0.0], np.float64)
    if np.any(distortion):
        cv2 = images.opencv()
        pixels = cv2.undistort(pixels, matrix, distortion)
        if box is not None:
            x, y, width, height = box
            corners = np.array([[x, y], [x + width, y], [x, y + height], [x + width, y + height]], np.float64)
            corners = cv2.undistortPoints(corners[:, None], matrix, distortion, P=matrix)[:, 0]
            box = (*corners.min(0), *(corners.max(0) - corners.min(0)))
    if box is not None:
        box = (box[0] + 0.5, box[1] + 0.5, box[2], box[3])
    return pixels, (camera["fx"], camera["fy"], camera["cx"] + 0.5, camera["cy"] + 0.5), box


def _pose_case(model, case, folder, boxes, num_stages):
    pixels = images.read_image(os.path.join(folder, case["image"]))
    pixels, intrinsics, box = undistorted(pixels, case["camera"], case.get("bbox_xywh"))
    if box is None:
        raise ValueError(f"A case must have `bbox_xywh`. Received: {case.get('id', case['image'])} without.")
    start = time.perf_counter()
    given = np.array([box], np.float32) if boxes == "truth" else None
    people = model.reconstruct(pixels, intrinsics=intrinsics, boxes=given, num_stages=num_stages).people
    record = {"id": case.get("id", case["image"]), "missed": True, "seconds": time.perf_counter() - start}
    person = max(people, key=lambda one: metrics.box_overlap(one.box, box), default=None)
    if person is None or metrics.box_overlap(person.box, box) < LEAST_OVERLAP:
        return record
    names = case["joint_names"]
    truth, valid = limb_joints(names, case["joints3d_cam_m"], case.get("valid") or [True] * len(names))
    estimate = np.asarray(person.keypoints3d[:25], np.float64)
    return {**record, "missed": False, **pose_errors(estimate, truth, valid),
            "reprojection_share": fit(person)["reprojection_share"]}


def pose_errors(estimate, truth, valid):
    """All 3D errors of one person: BODY_25 points `[25, 3]` in metres, `valid` bool `[25]` -> dict."""
    names = {index: name for name, index in LIMB_JOINTS.items()}
    used = np.flatnonzero(valid)
    by_joint = {}
    if len(used) >= 3:
        aligned = metrics.procrustes_align(estimate[used], truth[used])
        errors = np.linalg.norm(aligned - truth[used], axis=-1) * metrics.MM
        by_joint = {names[index]: float(error) for index, error in zip(used, errors)}
    return {
        "pa_mpjpe_mm": metrics.pa_mpjpe_mm(estimate, truth, valid),
        "mpjpe_mm": metrics.mpjpe_mm(estimate, truth, ROOT, valid),
        "translation_error_mm": metrics.translation_error_mm(estimate, truth, ROOT, valid),
        "pck_150mm": metrics.pck(estimate, truth, ROOT, 150.0, valid),
        "joint_errors_mm": by_joint}


def _kinds(folder):
    path = os.path.join(folder, "index.json")
    if not os.path.isfile(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return {entry["file"]: entry.get("kind", "photo") for entry in json.load(file)}


def _spell_out(name):
    name = "".join(letter for letter in name if letter.isalpha())
    if name[:1] in "RL" and name[1:2].isupper():
        name = ("right" if name[0] == "R" else "left") + name[1:]
    name = name.lower()
    for side, letter in (("right", "r"), ("left", "l")):
        if name[:1] == letter and name[1:] in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"):
            return side + name[1:]
    return name
