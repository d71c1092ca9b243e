"""Draws bodies from a simple distribution of people: phenotypes in, MakeHuman shapes out.

The population: as many women as men, nine adults (18 to 80 years) to one child (2 to 17). Stature is normal about
a mean per sex and age with the spread of large surveys; MakeHuman's height detail is solved for it. Muscle,
proportions and limb lengths are drawn about MakeHuman's averages, weight so that the mean adult has a usual body mass index.
"""

import os

import numpy as np

import makehuman

CHILD_SHARE = 0.1
_AGE_YEARS = (1, 10, 25, 90)  # of MakeHuman's age anchors
# Mean stature in metres by age, female and male; spread as a share of it. Rounded from growth charts (WHO, CDC).
_STATURE_AGES = (2, 3, 5, 8, 10, 12, 14, 16, 18, 50, 80)
_STATURE = ((0.86, 0.95, 1.09, 1.27, 1.38, 1.51, 1.60, 1.625, 1.635, 1.63, 1.58),
            (0.87, 0.96, 1.10, 1.28, 1.38, 1.49, 1.63, 1.73, 1.765, 1.76, 1.71))
_STATURE_SPREAD = 0.041
_ADULT_WEIGHT = 0.74  # of MakeHuman's weight detail: its middle has a body mass index of 21, adults have 24 to 25 (NCD-RisC, 2016)
_LOCAL = (  # pairs of targets "-incr"/"-decr" that change proportions, drawn N(0, spread)
    ("arms/measure-upperarm-length", 0.35), ("arms/measure-lowerarm-length", 0.35),
    ("legs/measure-upperleg-height", 0.35), ("legs/measure-lowerleg-height", 0.35),
    ("torso/measure-shoulder-dist", 0.3), ("torso/torso-scale-vert", 0.3), ("torso/measure-waist-circ", 0.3),
    ("torso/measure-hips-circ", 0.3), ("neck/measure-neck-height", 0.3), ("head/head-scale-vert", 0.25),
    ("head/head-scale-horiz", 0.25), ("head/head-scale-depth", 0.25))


def sample_phenotypes(count, rng):
    """Phenotypes of `count` people, adults first: dict for `MacroTargets.weights` and target stature, metres."""
    years = np.concatenate([rng.uniform(18, 80, count - int(CHILD_SHARE * count)),
                            rng.uniform(2, 18, int(CHILD_SHARE * count))])
    gender = np.clip((rng.random(count) < 0.5) + rng.normal(0, 0.08, count), 0, 1)
    means = [np.interp(years, _STATURE_AGES, row) for row in _STATURE]
    stature = (means[0] + (means[1] - means[0]) * gender) * (1 + _STATURE_SPREAD * rng.normal(size=count))

    def level(mean, spread):
        return np.clip(rng.normal(mean, spread, count), 0, 1)

    return {"gender": gender, "age": np.interp(years, _AGE_YEARS, makehuman.AGE_ANCHORS),
            "weight": np.clip(np.where(years < 18, 0.5, _ADULT_WEIGHT) + 0.25 * rng.normal(size=count), 0, 1),
            "muscle": level(0.5, 0.18), "proportions": level(0.5, 0.2), "cup": level(0.5, 0.2),
            "firmness": level(0.5, 0.2), "race": rng.dirichlet([1, 1, 1], count), "stature": stature,
            "years": years}


class Population:
    """Bodies of people, each a mixture of shape targets.

    Args:
        folder: str, MakeHuman data.
        base: `[19158, 3]`, the base mesh.
        points: `[C, 19158]` sparse matrix; a body's points are mixtures of its vertices.
    """

    def __init__(self, folder, base, points):
        self._macro = makehuman.MacroTargets(folder)
        root = os.path.join(folder, "mpfb2/targets")
        local = np.stack([makehuman.load_target(os.path.join(root, f"{name}-{suffix}.target.gz"))
                          for name, _ in _LOCAL for suffix in ("incr", "decr")])
        skin = base[slice(*makehuman.SKIN)]
        ends = [skin[:, 1].argmax(), skin[:, 1].argmin()]
        self._ends = base[ends, 1], self._macro.offsets[:, ends, 1], local[:, ends, 1]
        self.base = points @ base  # [C, 3]
        self.targets = np.stack([points @ target for part in (self._macro.offsets, local) for target in part])  # [T, C, 3]

    def draw(self, count, rng):
        """Target weights of `count` people, float32 `[count, T]`, and their phenotypes."""
        people = sample_phenotypes(count, rng)
        draws = []
        for _, spread in _LOCAL:
            amount = np.clip(rng.normal(0, spread, count), -1, 1)
            draws += [np.maximum(amount, 0), np.maximum(-amount, 0)]
        draws = np.stack(draws, axis=1)
        levels = np.stack([self._stature(people, draws, height) for height in (0.0, 0.5, 1.0)], axis=1)
        people["height"] = np.array([np.interp(want, have, (0.0, 0.5, 1.0))
                                     for want, have in zip(people["stature"], levels)])
        return np.concatenate([self._macro.weights(people), draws], axis=1).astype(np.float32), people

    def _stature(self, people, draws, height):
        weights = self._macro.weights({**people, "height": np.full(len(draws), height)})
        base, macro, local = self._ends
        y = base + weights @ macro + draws @ local
        return y[:, 0] - y[:, 1]
