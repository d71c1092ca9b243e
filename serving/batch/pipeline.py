"""Settings in, files of people out: plans the shards, leaves out finished ones, runs the others through Beam.

    shard -> RunInference, which reads its records a few at a time -> writes its files

A shard goes this way as one element, with no step that waits for all of them, so each is written as soon as it is through.
"""

from typing import NamedTuple

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from serving.batch import model, options, plan, reading, writing


class Work(NamedTuple):
    """A run that is checked and planned.

    Attributes:
        settings: `options.Settings`.
        columns: list of `model.Column`.
        shards: list of `plan.Shard`, all of them.
        waiting: list of `plan.Shard`, those that are not done.
        pipeline: `beam.Pipeline` without steps.
    """

    settings: options.Settings
    columns: list
    shards: list
    waiting: list
    pipeline: beam.Pipeline


class Summary(NamedTuple):
    """What an output folder holds after a run: counts; `found_done` shards were finished before it."""

    shards: int
    found_done: int
    inputs: int
    people: int
    dead_letters: int


def prepare(settings, beam_arguments=()):
    """Checks settings and plans the shards; writes the plan to the output folder.

    Args:
        settings: `options.Settings`.
        beam_arguments: sequence of str, for `PipelineOptions`.

    Returns:
        `Work`.

    Raises:
        FileNotFoundError: if a pattern names no file, or there is no model.
        ValueError: if the model is no export, the output folder is for other inputs or settings, or Beam refuses its options.
    """
    pipeline = beam.Pipeline(options=PipelineOptions(list(beam_arguments)))  # first, since file systems read its options
    columns = model.columns(settings.model, vertices=settings.meshes == "vertices")
    if settings.meshes != "none" and not any(column.name == model.VERTICES for column in model.columns(settings.model, True)):
        raise ValueError(f"--meshes must be given a model with vertices. Received: {settings.model}, which has none.")
    inputs = plan.find(settings.photos, settings.videos, settings.tfrecords)
    counts = [reading.count(source, settings.every) for source in inputs]
    size = plan.size_for(settings.shards, counts) if settings.shards else settings.shard_size or options.SHARD_SIZE
    shards = plan.cut(inputs, counts, size)
    plan.keep(settings.output, {  # what decides which records a shard has and what is written of them
        "inputs": plan.fingerprint(inputs, counts), "every": settings.every, "shard_size": size, "format": settings.format,
        "meshes": settings.meshes, "model": model.fingerprint(settings.model)})
    done = writing.finished(settings.output)
    return Work(settings, columns, shards, [shard for shard in shards if shard.name not in done], pipeline)


def run(work):
    """Runs a prepared pipeline to its end.

    Args:
        work: `Work`, which can be run once.

    Returns:
        `Summary`.

    Raises:
        Exception: what the runner raises if a step fails; the shards that are done stay.
    """
    if work.waiting:
        with work.pipeline as pipeline:
            build(pipeline, work.waiting, work.settings, work.columns)
    held = writing.finished(work.settings.output).values()
    totals = [sum(counts[name] for counts in held) for name in ("inputs", "people", "dead_letters")]
    return Summary(len(work.shards), len(work.shards) - len(work.waiting), *totals)


def build(pipeline, shards, settings, columns):
    """Adds the steps for some shards to a `beam.Pipeline`; the result is a PCollection of each shard's counts."""
    kept = [column.name for column in columns]
    glb = settings.meshes == "glb"
    handler = model.ShardHandler(settings.model, settings.batch_size, [*kept, model.VERTICES] if glb else kept,
                                 every=settings.every, faces=glb)
    return (pipeline
            | "Shards" >> beam.Create([shard.to_json() for shard in shards])
            | "Spread" >> beam.Reshuffle()
            | "Reconstruct" >> RunInference(handler)
            | "Write" >> beam.ParDo(_Write(settings.output, columns, settings.format, glb)))


class _Write(beam.DoFn):
    def __init__(self, output, columns, format, meshes):
        self._output, self._columns, self._format, self._meshes = output, columns, format, meshes

    def process(self, result):
        yield writing.write(result, self._output, self._columns, self._format, self._meshes)
