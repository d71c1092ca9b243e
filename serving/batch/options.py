"""Command line in, settings out; what is not ours goes to Beam and its runner."""

import argparse
from typing import NamedTuple, Optional

from apache_beam.options.pipeline_options import PipelineOptions

FORMATS = ("parquet", "tfrecord")
MESHES = ("none", "glb", "vertices")
RUNNER = "FnApiRunner"  # in this process; Beam's "DirectRunner" may download a server of its own first
SHARD_SIZE = 64  # records: about a minute's work of two cores, and so the most that a killed worker loses


class Settings(NamedTuple):
    """What to do.

    Attributes:
        photos: tuple of str, patterns of image files, or folders.
        videos: tuple of str, patterns of video files.
        tfrecords: tuple of str, patterns of TFRecord files.
        every: int, each so many-th frame of a video.
        model: str, folder of one version of an export, with saved_model.pb.
        output: str, folder.
        format: str, one of `FORMATS`.
        meshes: str, one of `MESHES`.
        batch_size: int, records the model gets at once.
        shard_size: int or None, records a shard; None: `shards` decides, or `SHARD_SIZE`.
        shards: int or None, how many shards.
    """

    photos: tuple
    videos: tuple
    tfrecords: tuple
    every: int
    model: str
    output: str
    format: str = "parquet"
    meshes: str = "none"
    batch_size: int = 4
    shard_size: Optional[int] = None
    shards: Optional[int] = None


def parse(arguments=None):
    """Reads the command line (argparse exits with 2 if it is wrong, or has an option that neither this nor Beam knows).

    Returns:
        `(Settings, list of str)`: ours, and the arguments for Beam.
    """
    parser = argparse.ArgumentParser(
        prog="python -m serving.batch", allow_abbrev=False,
        description="The people of photos and videos, by a model that `hund export` wrote.",
        epilog="Other options go to Apache Beam: --runner DataflowRunner|FlinkRunner|SparkRunner ..., "
               f"--direct_num_workers 4 --direct_running_mode multi_processing. The runner is {RUNNER} by default.")
    parser.add_argument("--input", action="append", default=[], metavar="GLOB", dest="photos",
                        help="photos or folders of them; may be given several times")
    parser.add_argument("--video", action="append", default=[], metavar="GLOB", dest="videos", help="videos; may be repeated")
    parser.add_argument("--every", type=_positive, default=1, metavar="N", help="each N-th frame of the videos (default 1)")
    parser.add_argument("--tfrecord", action="append", default=[], metavar="GLOB", dest="tfrecords",
                        help="TFRecords of tf.train.Example with image/encoded and, if wanted, image/filename; may be repeated")
    parser.add_argument("--model", required=True, metavar="DIR/hund/VERSION", help="one version of an export")
    parser.add_argument("--output", required=True, metavar="DIR", help="results; finished shards in it are not done again")
    parser.add_argument("--format", choices=FORMATS, default="parquet")
    parser.add_argument("--meshes", nargs="?", const="glb", default="none", choices=MESHES,
                        help="glb (what the bare option means): a file a photo; vertices: a column of each person's")
    parser.add_argument("--batch-size", type=_positive, default=4, metavar="N",
                        help="records in memory at once, which the model gets together")
    cut = parser.add_mutually_exclusive_group()
    cut.add_argument("--shard-size", type=_positive, metavar="K", help=f"records a shard (default {SHARD_SIZE})")
    cut.add_argument("--shards", type=_positive, metavar="N", help="at most so many shards, of equal size")
    ours, others = parser.parse_known_args(arguments)
    if not (ours.photos or ours.videos or ours.tfrecords):
        parser.error("there must be something to read: --input, --video or --tfrecord")
    unknown = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=lambda beams: unknown.extend(beams.parse_known_args(others)[1]))
    if unknown:
        parser.error(f"options must be known to this command or to Apache Beam. Received: {' '.join(unknown)}")
    if not any(word.split("=")[0] == "--runner" for word in others):
        others = ["--runner", RUNNER, *others]
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(ours).items()}
    return Settings(**values), others


def _positive(word):
    value = int(word)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more. Received: {word}.")
    return value
