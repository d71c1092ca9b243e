"""Runs an export with nothing at hand but TensorFlow: `load_alone.py FOLDER PHOTO OUT` writes what the signatures answer."""

import sys
import time

# an import of these fails: the package, and what it needs beside TensorFlow and what TensorFlow itself is made of
for name in ("hund_tf", "keras", "tensorflow_graphics", "tensorflow_probability", "tensorflow_addons", "cv2", "PIL", "trimesh",
             "tqdm", "scipy", "grpc_health", "aiohttp", "tensorflow_serving"):
    sys.modules[name] = None

import numpy as np
import tensorflow as tf


def main(folder, photo, out):
    start = time.perf_counter()
    signatures = tf.saved_model.load(folder).signatures
    print(f"loaded in {time.perf_counter() - start:.1f} s")
    with open(photo, "rb") as file:
        encoded = file.read()
    image = tf.io.decode_jpeg(encoded, 3, dct_method="INTEGER_ACCURATE")
    unknown = tf.constant([-1.0] * 4)
    photos = tf.constant([encoded, tf.io.encode_png(image[:300]).numpy()])
    answers = {
        "serving_default": signatures["serving_default"](image_bytes=photos),
        "reconstruct": signatures["reconstruct"](image=image, intrinsics=unknown, max_people=tf.constant(2),
                                                 num_stages=tf.constant(3)),
        "describe": signatures["describe"]()}
    np.savez(out, image=image, **{
        f"{name}/{key}": _plain(value) for name, answer in answers.items() for key, value in answer.items()})


def _plain(value):
    """Strings of a fixed length: NumPy would pickle others."""
    return np.asarray(value.numpy()).astype("S") if value.dtype == tf.string else value.numpy()


if __name__ == "__main__":
    main(*sys.argv[1:])
