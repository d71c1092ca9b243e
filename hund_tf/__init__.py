"""hund_tf: 3D pose and body shape of every person in a photo, by neural descent (HUND, CVPR 2021)."""

__version__ = "0.1.0"

_PUBLIC = {
    "GenerativeBody": "hund_tf.body.generative_body",
    "HundBody": "hund_tf.hund",
    "HundConfig": "hund_tf.config",
    "HundPart": "hund_tf.whole_body.hund_part",
    "ImageEvidence": "hund_tf.state",
    "ModelState": "hund_tf.state",
    "PartConfig": "hund_tf.config",
    "PerspectiveProjection": "hund_tf.geometry.camera",
    "Reconstruction": "hund_tf.results",
    "Reconstructor": "hund_tf.reconstruct",
    "SoftRasterizer": "hund_tf.geometry.soft_rasterizer",
    "load_part": "hund_tf.reconstruct",
    "load_preset": "hund_tf.reconstruct",
    "start_quickly": "hund_tf.reconstruct",
}
__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name):
    """Imports a public name when it is first used, so that `hund --help` need not wait for TensorFlow."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'hund_tf' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PUBLIC[name]), name)
