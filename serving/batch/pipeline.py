"""Settings in, files of people out: plans the shards, leaves out finished ones, runs the others through Beam.

    shard -> reads its records -> RunInference -> writes its files

A shard goes this way as one element, with no step that waits for all of them, so each is written as soon as it is through.
"""

from typing import NamedTuple

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from serving.batch import model, options, plan, reading, storage, writing


class Summary(NamedTuple):
    """What an output folder holds after a run: counts; `found_done` shards were finished before it."""

    shards: int
    found_done: int
    inputs: int
    people: int
    dead_letters: int


def run(settings, beam_arguments=()):
    """Runs the pipeline to its end.

    Args:
        settings: `options.Settings`.
        beam_arguments: sequence of str, for `PipelineOptions`.

    Returns:
        `Summary`.

    Raises:
        FileNotFoundError: if a pattern names no file, or there is no model.
        ValueError: if the model is no export, or the output folder is for other inputs or settings.
        Exception: what the runner raises if a worker fails.
    """
    columns = model.columns(settings.model, vertices=settings.meshes == "vertices")
    if settings.meshes != "none" and not any(column.name == model.VERTICES for column in model.columns(settings.model, True)):
        raise ValueError(f"--meshes must be given a model with vertices. Received: {settings.model}, which has none.")
    inputs = plan.find(settings.photos, settings.videos, settings.tfrecords)
    counts = [reading.count(source, settings.every) for source in inputs]
    size = plan.size_for(settings.shards, counts) if settings.shards else settings.shard_size or options.SHARD_SIZE
    shards = plan.cut(inputs, counts, size)
    plan.keep(settings.output, _decides(settings, inputs, size))
    done = set(writing.finished(settings.output))
    waiting = [shard for shard in shards if shard.name not in done]
    if waiting:
        with beam.Pipeline(options=PipelineOptions(list(beam_arguments))) as pipeline:
            build(pipeline, waiting, settings, columns)
    held = writing.finished(settings.output).values()
    totals = [sum(counts[name] for counts in held) for name in ("inputs", "people", "dead_letters")]
    return Summary(len(shards), len(shards) - len(waiting), *totals)


def build(pipeline, shards, settings, columns):
    """Adds the steps for some shards to a `beam.Pipeline`; the result is a PCollection of each shard's counts."""
    kept = [column.name for column in columns]
    glb = settings.meshes == "glb"
    handler = model.ShardHandler(settings.model, settings.batch_size, [*kept, model.VERTICES] if glb else kept, faces=glb)
    return (pipeline
            | "Shards" >> beam.Create([shard.to_json() for shard in shards])
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_Read(settings.every))
            | "Reconstruct" >> RunInference(handler)
            | "Write" >> beam.ParDo(_Write(settings.output, columns, settings.format, glb)))


class _Read(beam.DoFn):
    def __init__(self, every):
        self._every = every

    def process(self, text):
        shard = plan.Shard.from_json(text)
        yield shard, [record for piece in shard.pieces for record in reading.read(piece, self._every)]


class _Write(beam.DoFn):
    def __init__(self, output, columns, format, meshes):
        self._output, self._columns, self._format, self._meshes = output, columns, format, meshes

    def process(self, result):
        yield writing.write(result, self._output, self._columns, self._format, self._meshes)


def _decides(settings, inputs, shard_size):
    """What decides which records a shard has and what is written of them."""
    return {"inputs": plan.fingerprint(inputs), "every": settings.every, "shard_size": shard_size, "format": settings.format,
            "meshes": settings.meshes, "model": model.fingerprint(settings.model)}
