"""Runs an export with nothing of hund_tf at hand: `load_alone.py FOLDER PHOTO OUT` writes what the signatures answer."""

import sys
import time

sys.modules["hund_tf"] = None  # an import of it fails

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
    answers = {
        "serving_default": signatures["serving_default"](image_bytes=tf.constant([encoded, tf.io.encode_png(image[:300]).numpy()])),
        "reconstruct": signatures["reconstruct"](image=image, intrinsics=unknown, max_people=tf.constant(2), num_stages=tf.constant(3)),
        "describe": signatures["describe"]()}
    np.savez(out, image=image, **{
        f"{name}/{key}": _plain(value) for name, answer in answers.items() for key, value in answer.items()})


def _plain(value):
    """Strings of a fixed length: NumPy would pickle others."""
    return np.asarray(value.numpy()).astype("S") if value.dtype == tf.string else value.numpy()


if __name__ == "__main__":
    main(*sys.argv[1:])
