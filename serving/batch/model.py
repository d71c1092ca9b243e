"""An export in, its columns and a Beam `ModelHandler` out: a shard of work goes in, states of its people come out."""

import hashlib
import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from apache_beam.ml.inference.base import ModelHandler
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from serving.batch import plan, reading, storage

SIGNATURE, INPUT, NUMBER = "serving_default", "image_bytes", "num_people"
PER_PHOTO = ("intrinsics", "image_size")  # these outputs belong to the photo, the others to a person
VERTICES = "vertices"
_LEFT_OUT = ("stage_states",)  # 151 numbers a stage, of use to who mends the model alone


class Column(NamedTuple):
    """An output: its name, NumPy dtype and shape of one value, a dimension None if it varies."""

    name: str
    dtype: str
    shape: tuple


class Reconstructed(NamedTuple):
    """One record's result: `source`, `frame` and `name` as in `reading.Record`, `number` of people, `outputs` by name:
    `[number, ...]`, those of `PER_PHOTO` `[...]`."""

    source: str
    frame: int
    name: str
    number: int
    outputs: dict


class ShardResult(NamedTuple):
    """What became of the shard `name`: lists of `Reconstructed` and `reading.DeadLetter`; faces int32 `[F, 3]` if asked for."""

    name: str
    results: list
    dead_letters: list
    faces: object = None


def columns(folder, vertices=False):
    """The columns that an export's outputs make, without loading it.

    Args:
        folder: str, of one version, with saved_model.pb.
        vertices: bool, whether the vertices are one.

    Returns:
        list of `Column`.

    Raises:
        FileNotFoundError: if there is no model.
        ValueError: if it is none of `hund export`'s.
    """
    path = storage.join(folder, "saved_model.pb")
    if not storage.exists(path):
        raise FileNotFoundError("A model must be the folder of one version of an export, such as out/hund/1. Received: "
                                f"{folder}, without saved_model.pb; `hund export --out out` makes one.")
    try:
        graphs = saved_model_pb2.SavedModel.FromString(storage.read(path)).meta_graphs
    except DecodeError:
        graphs = []
    signature = graphs[0].signature_def[SIGNATURE] if graphs and SIGNATURE in graphs[0].signature_def else None
    if signature is None or list(signature.inputs) != [INPUT] or NUMBER not in signature.outputs:
        raise ValueError(f"A model must have the signature {SIGNATURE}({INPUT}) with the output {NUMBER}. Received: {folder}, "
                         "which has not.")
    made = []
    for name, info in sorted(signature.outputs.items()):
        if name == NUMBER or name in _LEFT_OUT or (name == VERTICES and not vertices):
            continue
        sizes = [dim.size if dim.size >= 0 else None for dim in info.tensor_shape.dim]
        shape = [None] if info.tensor_shape.unknown_rank else sizes[1:] if name in PER_PHOTO else sizes[2:]
        made.append(Column(name, tf.dtypes.as_dtype(info.dtype).as_numpy_dtype.__name__, tuple(shape)))
    return made


def fingerprint(folder):
    """Digest of an export's graph and weights, str; of the weights, their index, which holds a checksum of each."""
    digest = hashlib.sha256()
    for names in (("saved_model.pb",), ("variables", "variables.index")):
        path = storage.join(folder, *names)
        digest.update(storage.read(path) if storage.exists(path) else b"")
    return digest.hexdigest()


class ShardHandler(ModelHandler):
    """Runs a SavedModel on the records of whole shards; Beam loads it once a process.

    An example is the JSON of a `plan.Shard`, so that a shard stays together and can be written at once. Its records are read
    here, `batch_size` at a time, so that no more of them are in memory. When the model refuses a batch or has no memory for it,
    its members run one by one; those that it refuses again become dead letters. Whatever else fails is raised and leaves the
    shard undone, as no fault of its records.

    Args:
        folder: str, of one version of an export.
        batch_size: int.
        names: sequence of str, outputs to keep.
        every: int, of videos each so many-th frame is taken.
        faces: bool, whether results need the mesh's faces.
    """

    def __init__(self, folder, batch_size, names, every=1, faces=False):
        super().__init__()
        self._folder, self._batch_size, self._names, self._every, self._faces = folder, batch_size, tuple(names), every, faces

    def load_model(self):
        return tf.saved_model.load(self._folder)  # it must outlive its signatures

    def batch_elements_kwargs(self):
        return {"min_batch_size": 1, "max_batch_size": 1}

    def get_metrics_namespace(self):
        return "hund"

    def run_inference(self, batch, model, inference_args=None):
        faces = model.signatures["describe"]()["faces"].numpy() if self._faces else None
        for text in batch:
            shard = plan.Shard.from_json(text)
            records = (record for piece in shard.pieces for record in reading.read(piece, self._every))
            results, dead = [], []
            while some := list(itertools.islice(records, self._batch_size)):
                good = [record for record in some if isinstance(record, reading.Record)]
                dead += [record for record in some if isinstance(record, reading.DeadLetter)]
                for answer in self._answers(model.signatures[SIGNATURE], good) if good else ():
                    (dead if isinstance(answer, reading.DeadLetter) else results).append(answer)
            yield ShardResult(shard.name, results, dead, faces)

    def _answers(self, signature, records):
        try:
            outputs = signature(**{INPUT: tf.constant([record.encoded for record in records])})
        except tf.errors.InvalidArgumentError as error:  # what decoding and the model's own rules raise
            if len(records) == 1:
                return [reading.DeadLetter(*records[0][:3], reading.reason(error))]
        except tf.errors.ResourceExhaustedError:
            if len(records) == 1:
                raise
        else:
            numbers = outputs[NUMBER].numpy()
            kept = {name: outputs[name].numpy() for name in self._names}
            return [Reconstructed(*record[:3], int(numbers[i]),
                                  {name: values[i] if name in PER_PHOTO else np.array(values[i, :numbers[i]])
                                   for name, values in kept.items()}) for i, record in enumerate(records)]
        return [answer for record in records for answer in self._answers(signature, [record])]
