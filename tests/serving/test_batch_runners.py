"""The command's options, and what serving/README.md says of clusters, read by Beam's own parsers."""

import configparser
import pathlib
import re
import shlex

import pytest
from apache_beam import Pipeline
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, WorkerOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms import environments
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement

from serving.batch import __main__ as command, model, options, pipeline, plan
from tests.serving.batch_stand_in import make_photos

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "serving/README.md").read_text(encoding="utf-8")


def lines_of_readme(start):
    """Words of each command in the page's code that begins with `start`."""
    code = "\n".join(re.findall(r"```bash\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in code.splitlines() if line.startswith(start)]


CLUSTERS = {words[words.index("--runner") + 1]: words[3:] for words in lines_of_readme("python -m serving.batch")
            if "--runner" in words}


@pytest.fixture(scope="module")
def dockerfile():
    with open(ROOT / "serving/batch/Dockerfile", "rb") as file:
        parser = DockerfileParser(fileobj=file)
        found = [(line["instruction"], line["value"]) for line in parser.structure if line["instruction"] != "COMMENT"]
        return found, dict(parser.envs), parser.baseimage


@pytest.mark.parametrize("runner", ["DataflowRunner", "FlinkRunner", "SparkRunner"])
def test_the_page_has_a_line_for_each_cluster_that_gives_workers_the_image(runner, batch_export):
    settings, others = options.parse(CLUSTERS[runner])
    beams = PipelineOptions(others)
    assert beams.get_all_options()["runner"] == runner
    assert all(path.startswith("gs://") for path in (*settings.photos, settings.model, settings.output))
    [build] = lines_of_readme("docker build . -f serving/batch/Dockerfile")
    image = build[build.index("-t") + 1]
    if runner == "DataflowRunner":  # as its run_pipeline does it
        environment = environments.DockerEnvironment.from_container_image(beams.view_as(WorkerOptions).sdk_container_image)
    else:
        environment = environments.Environment.from_options(beams.view_as(PortableOptions))
    assert isinstance(environment, environments.DockerEnvironment) and environment.container_image == image
    shards = plan.cut([plan.Input(plan.PHOTO, settings.photos[0], 1)], [1], 1)
    unrun = Pipeline()
    pipeline.build(unrun, shards, settings, model.columns(batch_export))
    written = unrun.to_runner_api(default_environment=environment)
    images = {beam_runner_api_pb2.DockerPayload.FromString(one.payload).container_image
              for one in written.components.environments.values() if one.urn == common_urns.environments.DOCKER.urn}
    assert images == {image}
    assert beam_runner_api_pb2.Pipeline.FromString(written.SerializeToString()) == written


def test_the_image_has_the_package_of_this_page(dockerfile):
    instructions, environment, image = dockerfile
    version = dict(value.split("=") for name, value in instructions if name == "ARG" and "=" in value)["BEAM"]
    assert image == f"apache/beam_python3.11_sdk:{version}"
    [build] = lines_of_readme("docker build . -f serving/batch/Dockerfile")
    assert build[-1].endswith(f":{version}") and build[2] == "."
    [installed] = [words for words in lines_of_readme("uv pip install") if ".[batch-gcp]" in words]
    assert f"apache-beam=={version}" in installed
    extras = configparser.ConfigParser()
    extras.read(ROOT / "setup.cfg", encoding="utf-8")
    extra = extras["options.extras_require"]["batch-gcp"].split("\n")
    [beam] = [Requirement(line) for line in extra if line.startswith("apache-beam")]
    assert beam.extras == {"gcp"} and version in beam.specifier
    copies = [value.split() for name, value in instructions if name == "COPY"]
    assert all((ROOT / source).exists() for *sources, _ in copies for source in sources)
    assert ["serving", f"{environment['PYTHONPATH']}/serving"] in copies
    assert not [name for name, _ in instructions if name in ("ENTRYPOINT", "CMD")]  # Beam's own starts the worker
    [run] = [value for name, value in instructions if name == "RUN"]
    assert f"{environment['PYTHONPATH']}[batch-gcp]" in run and "apache-beam==${BEAM}" in run


def test_every_line_of_the_page_is_taken():
    lines = lines_of_readme("python -m serving.batch")
    assert len(lines) == 6
    for words in lines:
        options.parse(words[3:])


@pytest.mark.parametrize("wrong", [["--batchsize", "7"], ["--shard_size=3"], ["photo.jpg"], ["--meshes", "glb", "ply"]])
def test_options_that_nobody_knows_are_refused(wrong, capsys):
    with pytest.raises(SystemExit) as caught:
        options.parse(["--input", "x", "--model", "m", "--output", "o", "--direct_num_workers", "2", *wrong])
    assert caught.value.code == 2
    assert f"known to this command or to Apache Beam. Received: {wrong[-1] if 'glb' in wrong else ' '.join(wrong)}" in (
        capsys.readouterr().err)


def test_the_command_says_what_it_did_and_passes_options_on(tmp_path, batch_export, capsys):
    photos = make_photos(tmp_path / "photos", 4)
    arguments = ["--input", f"{photos}/p00.png", "--input", f"{photos}/p0[12].png", "--model", batch_export, "--shards", "2"]
    assert command.main([*arguments, "--output", str(tmp_path / "out")]) == 0
    assert "3 records, 3 people, 0 dead letters in 2 shards (0 of them done before)" in capsys.readouterr().out
    settings, others = options.parse([*arguments, "--output", "o", "--meshes", "--runner=FlinkRunner", "--parallelism", "4"])
    assert (settings.photos, settings.meshes) == ((f"{photos}/p00.png", f"{photos}/p0[12].png"), "glb")
    assert PipelineOptions(others).get_all_options()["runner"] == "FlinkRunner"


def test_options_that_beam_refuses_are_wrong_arguments(tmp_path, batch_export, capsys):
    photos = make_photos(tmp_path / "photos", 1)
    arguments = ["--input", str(photos), "--model", batch_export, "--output", str(tmp_path / "out")]
    assert command.main([*arguments, "--runner", "DataflowRunner", "--project", "x", "--temp_location", "gs://bucket/t",
                         "--staging_location", "gs://bucket/s"]) == 2
    assert "Invalid Project ID (x)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
