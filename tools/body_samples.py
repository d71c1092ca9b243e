"""Draws bodies from a simple distribution of people: phenotypes in, MakeHuman shapes out.

The population: as many women as men, nine adults (18 to 80 years) to one child (5 to 17). Stature is normal about
a mean per sex and age with the spread of large surveys; MakeHuman's height detail is solved for it. Weight, muscle,
proportions and limb lengths are drawn about MakeHuman's averages.
"""

import os

import numpy as np

import makehuman

CHILD_SHARE = 0.1
_AGE_YEARS = (1, 10, 25, 90)  # of MakeHuman's age anchors
# Mean stature in metres by age, female and male; spread as a share of it. Rounded from growth charts (WHO, CDC).
_STATURE_AGES = (5, 8, 10, 12, 14, 16, 18, 50, 80)
_STATURE = ((1.09, 1.27, 1.38, 1.51, 1.60, 1.625, 1.635, 1.63, 1.58), (1.10, 1.28, 1.38, 1.49, 1.63, 1.73, 1.765, 1.76, 1.71))
_STATURE_SPREAD = 0.041
_LOCAL = (  # pairs of targets "-incr"/"-decr" that change proportions, drawn N(0, spread)
    ("arms/measure-upperarm-length", 0.35), ("arms/measure-lowerarm-length", 0.35),
    ("legs/measure-upperleg-height", 0.35), ("legs/measure-lowerleg-height", 0.35),
    ("torso/measure-shoulder-dist", 0.3), ("torso/torso-scale-vert", 0.3), ("torso/measure-waist-circ", 0.3),
    ("torso/measure-hips-circ", 0.3), ("neck/measure-neck-height", 0.3), ("head/head-scale-vert", 0.25),
    ("head/head-scale-horiz", 0.25), ("head/head-scale-depth", 0.25))


def sample_phenotypes(count, rng):
    """Phenotypes of `count` people, adults first: dict for `MacroTargets.weights` and target stature, metres."""
    years = np.concatenate([rng.uniform(18, 80, count - int(CHILD_SHARE * count)),
                            rng.uniform(5, 18, int(CHILD_SHARE * count))])
    gender = np.clip((rng.random(count) < 0.5) + rng.normal(0, 0.08, count), 0, 1)
    means = [np.interp(years, _STATURE_AGES, row) for row in _STATURE]
    stature = (means[0] + (means[1] - means[0]) * gender) * (1 + _STATURE_SPREAD * rng.normal(size=count))

    def level(mean, spread):
        return np.clip(rng.normal(mean, spread, count), 0, 1)

    return {"gender": gender, "age": np.interp(years, _AGE_YEARS, makehuman.AGE_ANCHORS),
            "weight": np.clip(0.5 + 0.22 * rng.normal(size=count) + 0.05 * rng.exponential(size=count), 0, 1),
            "muscle": level(0.5, 0.18), "proportions": level(0.5, 0.2), "cup": level(0.5, 0.2),
            "firmness": level(0.5, 0.2), "race": rng.dirichlet([1, 1, 1], count), "stature": stature}


def sample_bodies(folder, base, columns, count, rng):
    """Shapes of `count` people at the base-mesh vertices `columns`: float32 `[count, C, 3]`, metres."""
    macro = makehuman.MacroTargets(folder)
    people = sample_phenotypes(count, rng)
    root = os.path.join(folder, "mpfb2/targets")
    offsets, draws = [], []
    for name, spread in _LOCAL:
        amount = np.clip(rng.normal(0, spread, count), -1, 1)
        for suffix, part in (("incr", amount), ("decr", -amount)):
            offsets.append(makehuman.load_target(os.path.join(root, f"{name}-{suffix}.target.gz")))
            draws.append(np.maximum(part, 0))
    local, draws = np.stack(offsets), np.stack(draws, axis=1)

    skin = base[slice(*makehuman.SKIN)]
    ends = [skin[:, 1].argmax(), skin[:, 1].argmin()]

    def stature(height):
        weights = macro.weights({**people, "height": np.full(count, height)})
        y = base[ends, 1] + weights @ macro.offsets[:, ends, 1] + draws @ local[:, ends, 1]
        return y[:, 0] - y[:, 1]

    levels = np.stack([stature(h) for h in (0.0, 0.5, 1.0)], axis=1)
    people["height"] = np.array([np.interp(want, have, (0.0, 0.5, 1.0))
                                 for want, have in zip(people["stature"], levels)])
    weights = np.concatenate([macro.weights(people), draws], axis=1).astype(np.float32)
    flat = np.concatenate([macro.offsets[:, columns], local[:, columns]]).reshape(weights.shape[1], -1)
    return (weights @ flat).reshape(count, -1, 3) + base[columns].astype(np.float32)
