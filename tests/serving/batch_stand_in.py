"""A small stand-in of an export, photos that it reads, and what a run of serving.batch made of them."""

import io
import json
import pathlib

import tensorflow as tf
from PIL import Image
from pyarrow import dataset

from serving.batch import options, pipeline, reading

PEOPLE, FACES = 3, [[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]
TETRAHEDRON = [[0.0, -0.8, 3.0], [0.4, 0.8, 3.0], [-0.4, 0.8, 3.0], [0.0, 0.5, 3.4]]


class StandIn(tf.Module):
    """Finds red // 50 people, three at most, in a photo whose pixels are all alike; `score` is its green, `keypoints3d` hold
    its blue."""

    def __init__(self, delay=0):
        super().__init__()
        self._delay = delay

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes):
        pixels = tf.map_fn(lambda one: tf.image.decode_image(one, channels=3, expand_animations=False)[0, 0], image_bytes,
                           fn_output_signature=tf.uint8)
        color = tf.ensure_shape(tf.cast(pixels, tf.float32), [None, 3])
        work = tf.ones([512, 512])
        for _ in tf.range(self._delay * tf.shape(image_bytes)[0]):
            work = tf.linalg.matmul(work, work) / 512.0
        number = tf.cast(tf.minimum(color[:, 0] // 50, PEOPLE), tf.int32) + tf.cast(work[0, 0] * 0, tf.int32)
        there = tf.sequence_mask(number, PEOPLE, tf.float32)
        keypoints = color[:, 2, None, None, None] + tf.reshape(tf.range(PEOPLE * 6.0), [PEOPLE, 2, 3])
        batch = tf.shape(image_bytes)[0]
        return {"num_people": number, "score": color[:, 1, None] * there, "keypoints3d": keypoints * there[..., None, None],
                "vertices": tf.tile(tf.constant(TETRAHEDRON)[None, None], [batch, PEOPLE, 1, 1]),
                "stage_states": tf.zeros([batch, PEOPLE, 6, 151]), "image_size": tf.tile([[48, 64]], [batch, 1])}

    @tf.function(input_signature=[])
    def describe(self):
        return {"faces": tf.constant(FACES)}


def save(folder, delay=0):
    module = StandIn(delay)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve, "describe": module.describe})
    return str(folder)


def encoded(red, green, blue, kind="PNG"):
    content = io.BytesIO()
    Image.new("RGB", (64, 48), (red, green, blue)).save(content, kind)
    return content.getvalue()


def make_photos(folder, number):
    """Photos p00 to p<number>: photo i has i % 4 people, and i is its blue."""
    folder.mkdir()
    for i in range(number):
        (folder / f"p{i:02d}.png").write_bytes(encoded(50 * (i % 4) + 5, 100 + i, i))
    return folder


def example(image=None, name=None):
    """A record of a TFRecord file, bytes."""
    given = {reading.ENCODED: image, reading.NAME: name}
    features = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                for key, value in given.items() if value is not None}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_records(path, records, compression=""):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
    return str(path)


def settings(output, export, **changes):
    given = {"photos": (), "videos": (), "tfrecords": (), "every": 1, "batch_size": 4, "shard_size": 4, **changes}
    return options.Settings(model=export, output=str(output), **given)


def run(output, export, **changes):
    return pipeline.run(pipeline.prepare(settings(output, export, **changes), ["--runner", options.RUNNER]))


def rows(output):
    return dataset.dataset(sorted(map(str, pathlib.Path(output).glob("states-*.parquet")))).to_table().to_pylist()


def dead_letters(output):
    return [json.loads(line) for path in sorted(pathlib.Path(output).glob("dead_letters-*.jsonl"))
            for line in path.read_text(encoding="utf-8").splitlines()]


def expected(folder, number):
    """(source, person) of every person of `make_photos`."""
    return [(str(folder / f"p{i:02d}.png"), person) for i in range(number) for person in range(i % 4)]
