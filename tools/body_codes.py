"""Linear components of shape and expression, and their VAEs: drawn bodies and faces in, schema arrays out."""

import numpy as np

import makehuman
import train_code_vae
from hund_tf.body import learned_priors

SHAPE, EXPRESSION = 16, 20  # codes
SHAPE_COMPONENTS, EXPRESSION_COMPONENTS = 40, 32
SHAPE_SPREAD_M, EXPRESSION_SPREAD_M = 0.0005, 0.0002  # what the VAEs' likelihoods take for granted
VAE_STEPS = 5000
EXPRESSION_SCALE_M = 0.002
_OFTEN = ("jawOpen", "brow", "mouthSmile", "eyeBlink")
_NOT_EXPRESSIONS = ("eyeLook", "tongueOut")  # gaze belongs to the eye joints


def principal_shapes(offsets, areas):
    """Directions `[40, V, 3]` scaled to unit second moment of the components, and the components `[N, 40]`."""
    flat = offsets.reshape(len(offsets), -1)
    scaled = (offsets * np.sqrt(areas / areas.sum())[:, None]).reshape(flat.shape)
    vectors = np.linalg.eigh((scaled @ scaled.T).astype(np.float64))[1][:, ::-1][:, :SHAPE_COMPONENTS]
    components = vectors * np.sqrt(len(offsets))  # second moment 1 about the mean adult
    basis = np.linalg.lstsq(components, flat, rcond=None)[0].reshape(SHAPE_COMPONENTS, -1, 3)
    foot = offsets[..., 1].max(0).argmax()  # signs are fixed: a larger component lifts the sole, nearer to the pelvis
    sign = np.where(basis[:, foot, 1] < 0, -1.0, 1.0)
    return basis * sign[:, None, None], components * sign


def shape_vae(basis, areas, start, targets, people, rng):
    """Arrays `shape_vae_*` of the schema.

    Args:
        basis: `[40, V, 3]`, metres.
        areas: `[V]`, weights of the vertices.
        start: `[V, 3]`, a body without targets, less the template.
        targets: `[T, V, 3]`.
        people: `[N, T]`, target weights of people to learn from.
        rng: `np.random.Generator`.
    """
    root = np.sqrt(areas / areas.sum())[:, None]
    weighted = (basis * root).reshape(len(basis), -1)
    to_components = np.linalg.pinv(weighted)  # [3V, 40]
    components = people @ ((targets * root).reshape(len(targets), -1) @ to_components) + (start * root).ravel() @ to_components
    return learned_priors.vae_arrays("shape", train_code_vae.fit(
        components, np.linalg.norm(weighted, axis=1), SHAPE, SHAPE_SPREAD_M, VAE_STEPS, rng))


class Faces:
    """Random mixtures of facial units.

    Args:
        folder: str, MakeHuman data.
        kept: `[V]`, base-mesh vertices of the body.
    """

    def __init__(self, folder, kept):
        units = {name: offsets[kept] for name, offsets in makehuman.load_facial_units(folder).items()
                 if not name.startswith(_NOT_EXPRESSIONS)}
        self._names = list(units)
        self.offsets = np.stack(list(units.values()))  # [U, V, 3]

    def draw(self, count, rng):
        """Amounts `[count, U]` in 0..1."""
        often = np.array([0.35 if name.startswith(_OFTEN) else 0.15 for name in self._names])
        amount = (rng.random((count, len(often))) < often) * rng.uniform(0, 1, (count, len(often)))
        for i, name in enumerate(self._names):  # most expressions are nearly symmetric
            if name.endswith("Right"):
                same = rng.random(count) < 0.85
                amount[same, i] = amount[same, self._names.index(name[:-5] + "Left")]
        return amount


def principal_expressions(faces, amount):
    """Directions `[32, V, 3]` through the neutral face, unit second moment, and components of the units `[U, 32]`.

    Vertices that move little count almost as much as the jaw, or brows and lids would be lost.
    """
    root = np.linalg.cholesky(amount.T @ amount / len(amount)).T
    moved = np.sqrt(np.square(np.tensordot(root, faces.offsets, 1)).sum((0, 2)))
    weight = 1 / (moved + EXPRESSION_SCALE_M)[:, None]
    weighted = (faces.offsets * weight).reshape(len(faces.offsets), -1)
    _, singular, directions = np.linalg.svd(root @ weighted, full_matrices=False)
    kept = slice(EXPRESSION_COMPONENTS)
    of_units = weighted @ directions[kept].T / singular[kept]
    directions = (singular[kept, None] * directions[kept]).reshape(EXPRESSION_COMPONENTS, -1, 3)
    return directions / weight, of_units


def expression_vae(basis, faces, of_units, rng, count=60000):
    """Arrays `expression_vae_*` of the schema; arguments as `principal_expressions` gives them."""
    moving = np.linalg.norm(faces.offsets, axis=2).max(0) > 1e-3
    scales = np.sqrt(np.square(basis[:, moving]).sum(2).mean(1))
    return learned_priors.vae_arrays("expression", train_code_vae.fit(
        faces.draw(count, rng) @ of_units, scales, EXPRESSION, EXPRESSION_SPREAD_M, VAE_STEPS, rng))
