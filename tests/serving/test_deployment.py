"""The files for TensorFlow Serving are read by real parsers and agree with each other.

tensorflow-serving-api has the messages of models.config, but not those of the other two text files: of these the fields that
TensorFlow Serving publishes (session_bundle_config.proto, monitoring_config.proto) are written down here. The wheel
pythie-serving has the published messages, compiled; where it is installed, a test compares (Python 3.11:
`pip install --no-deps pythie-serving==3.4.3`).
"""

import base64
import concurrent.futures
import contextlib
import copy
import http.server
import importlib.util
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading

import grpc
import jsonschema
import kubernetes_validate
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from dockerfile_parse import DockerfileParser
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

from hund_tf.serving import settings

ROOT = pathlib.Path(__file__).parents[2] / "serving"
KUBERNETES = "1.29"
OVERLAYS = ("base", "gpu", "batching")
GRPC, REST = 8500, 8501


def message(name, fields, types=()):
    """A message class: fields are (name, number, type) or (name, number, type, label), type a scalar's or a message's name."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="published", syntax="proto3",
                                              dependency=["google/protobuf/wrappers.proto"])
    for kind, members in (*types, (name, fields)):
        made = file.message_type.add(name=kind)
        for field, number, value, *repeated in members:
            made.field.add(name=field, number=number, label=3 if repeated else 1,
                           **({"type": value} if isinstance(value, int) else {"type": 11, "type_name": value}))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"published.{name}"))


INT64, BOOL, STRING = (descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{name}") for name in ("INT64", "BOOL", "STRING"))
INT64_VALUE, BOOL_VALUE, STRING_VALUE = (f".google.protobuf.{name}Value" for name in ("Int64", "Bool", "String"))
BatchingParameters = message("BatchingParameters", [
    ("max_batch_size", 1, INT64_VALUE), ("batch_timeout_micros", 2, INT64_VALUE), ("max_enqueued_batches", 3, INT64_VALUE),
    ("num_batch_threads", 4, INT64_VALUE), ("thread_pool_name", 5, STRING_VALUE), ("allowed_batch_sizes", 6, INT64, "repeated"),
    ("pad_variable_length_inputs", 7, BOOL), ("enable_large_batch_splitting", 8, BOOL_VALUE),
    ("max_execution_batch_size", 9, INT64_VALUE)])
MonitoringConfig = message("MonitoringConfig", [("prometheus_config", 1, ".published.PrometheusConfig")],
                           [("PrometheusConfig", [("enable", 1, BOOL), ("path", 2, STRING)])])


def read_text(name, kind):
    return text_format.Parse((ROOT / name).read_text(encoding="utf-8"), kind())


def read_yaml(name):
    return [document for document in yaml.safe_load_all((ROOT / name).read_text(encoding="utf-8")) if document]


@pytest.fixture(scope="module")
def dockerfile():
    """Of the Dockerfile the instructions, list of (name, value), its environment and the image it is built on."""
    with open(ROOT / "Dockerfile", "rb") as file:
        parser = DockerfileParser(fileobj=file)
        found = [(line["instruction"], line["value"]) for line in parser.structure if line["instruction"] != "COMMENT"]
        return found, dict(parser.envs), parser.baseimage


@pytest.fixture(scope="module")
def model():
    [config] = read_text("models.config", model_server_config_pb2.ModelServerConfig).model_config_list.config
    return config


def command(dockerfile):
    return json.loads(next(value for name, value in dockerfile[0] if name == "CMD"))


def build(overlay):
    """The objects of an overlay by (kind, name), patched as kustomize does it."""
    [settings] = read_yaml(f"kubernetes/{overlay}/kustomization.yaml")
    objects = {}
    for resource in settings["resources"]:
        if resource.startswith("../"):
            objects.update(build(resource[3:]))
        else:
            found = read_yaml(f"kubernetes/{overlay}/{resource}")
            objects.update(((one["kind"], one["metadata"]["name"]), one) for one in found)
    for patch in settings.get("patches", ()):
        for change in read_yaml(f"kubernetes/{overlay}/{patch['path']}"):
            key = change["kind"], change["metadata"]["name"]
            assert key in objects, f"{key} of {patch} is patched and not there"
            if change.pop("$patch", "") == "delete":
                del objects[key]
            else:
                objects[key] = merged(objects[key], change)
    for image in settings.get("images", ()):
        for one in containers(objects):
            name, _, tag = one["image"].partition(":")
            if name == image["name"]:
                one["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"
    return objects


def merged(old, new):
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: merged(old[key], new[key]) if key in old else new[key] for key in new}}
    if isinstance(new, list) and new and isinstance(new[0], dict) and "name" in new[0]:  # containers, merged by name
        rest = {one["name"]: one for one in new}
        return [merged(one, rest.pop(one["name"])) if one["name"] in rest else one for one in old] + list(rest.values())
    return copy.deepcopy(new)


def containers(objects):
    return [one for value in objects.values() if value["kind"] == "Deployment"
            for one in value["spec"]["template"]["spec"]["containers"]]


def test_models_config_names_a_model_of_tensorflow(model):
    assert (model.name, model.base_path, model.model_platform) == ("hund", "/models/hund", "tensorflow")


def test_the_commented_labels_can_be_taken_in():
    text = (ROOT / "models.config").read_text(encoding="utf-8")
    with_labels = re.sub(r"^( *)# ((model_version_policy|version_labels) .*)$", r"\1\2", text, flags=re.MULTILINE)
    [config] = text_format.Parse(with_labels, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    assert dict(config.version_labels) == {"stable": 1, "canary": 2}
    assert set(config.version_labels.values()) <= set(config.model_version_policy.specific.versions)


def test_batching_parameters_hold_the_published_rules():
    batching = read_text("batching_parameters.txt", BatchingParameters)
    assert batching.max_batch_size.value >= 1 and batching.num_batch_threads.value >= 1
    assert 0 < batching.batch_timeout_micros.value < 100_000 and batching.max_enqueued_batches.value >= 1
    sizes = list(batching.allowed_batch_sizes)
    assert not sizes or (sizes == sorted(sizes) and sizes[-1] == batching.max_batch_size.value)
    with pytest.raises(text_format.ParseError, match="max_size"):
        text_format.Parse("max_size { value: 1 }", BatchingParameters())


def fields(descriptor):
    """Of a message's descriptor the fields: set of (name, number, type, label, name of the message it holds)."""
    return {(field.name, field.number, field.type, field.label, field.message_type and field.message_type.name)
            for field in descriptor.fields}


def test_the_embedded_server_reads_the_published_batching_parameters():
    unread = fields(BatchingParameters.DESCRIPTOR) ^ fields(settings.batching_parameters().DESCRIPTOR)
    assert {name for name, *_ in unread} == {"enable_large_batch_splitting", "max_execution_batch_size"}
    read = settings.read_batching(str(ROOT / "batching_parameters.txt"))
    published = read_text("batching_parameters.txt", BatchingParameters)
    for field, value in published.ListFields():
        assert getattr(read, field.name) == value.value
    assert len(published.ListFields()) == 4


@pytest.mark.skipif(importlib.util.find_spec("pythie_serving") is None, reason="pythie-serving is not installed")
def test_what_is_written_down_here_is_what_tensorflow_serving_publishes():
    folder = "pythie_serving.tensorflow_proto.tensorflow_serving"
    program = f"""if True:  # in a process of its own: in one with TensorFlow its messages would be there twice
        import base64
        from {folder}.config import monitoring_config_pb2
        from {folder}.servables.tensorflow import session_bundle_config_pb2
        for module in (monitoring_config_pb2, session_bundle_config_pb2):
            print(base64.b64encode(module.DESCRIPTOR.serialized_pb).decode())"""
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    published = {}
    for line in printed.splitlines():
        file = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(line))
        published.update((one.name, {(field.name, field.number, field.type, field.label, field.type_name.split(".")[-1] or None)
                                     for field in one.field}) for one in file.message_type)
    prometheus = MonitoringConfig.DESCRIPTOR.fields_by_name["prometheus_config"].message_type
    for descriptor in (BatchingParameters.DESCRIPTOR, MonitoringConfig.DESCRIPTOR, prometheus):
        assert fields(descriptor) == published[descriptor.name]


def test_session_config_rewrites_graphs_as_the_embedded_server_does():
    from tensorflow.core.protobuf import config_pb2

    from hund_tf.serving.servable import session_config

    assert read_text("session.config", config_pb2.ConfigProto).graph_options == session_config().graph_options


def test_dockerfile_takes_both_images_and_copies_what_its_flags_name(dockerfile, model):
    instructions, environment, image = dockerfile
    assert ("ARG", "TAG=2.15.1") in instructions and image == "tensorflow/serving:2.15.1"
    assert environment["MODEL_NAME"] == model.name
    user = next(value for name, value in instructions if name == "USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    copies = [value.split() for name, value in instructions if name == "COPY"]
    assert ["--from=export", f"--chown={user}", model.name, model.base_path] in copies
    for words in copies:  # COPY keeps permissions, and a strict umask lets others read nothing
        assert f"--chown={user}" in words or "--chmod=755" in words
    copied = {os.path.join(words[-1], name) for words in copies if words[-1].endswith("/")
              for name in words[:-1] if (ROOT / name).is_file()}
    flags = [*command(dockerfile), *read_yaml("compose.yaml")[0]["services"]["hund-batching"]["command"]]
    named = {flag.split("=")[1] for flag in flags if "_file=" in flag}
    assert named == copied


def test_compose_follows_the_compose_specification(dockerfile):
    [compose] = read_yaml("compose.yaml")
    schema = get_builtin_schema("vendor.compose-spec")
    jsonschema.validate(compose, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**compose, "services": {"hund": {"portz": []}}}, schema)
    services = compose["services"]
    assert [name for name in services if "profiles" not in services[name]] == ["hund"]
    for service in services.values():
        assert service["ports"] == [f"{GRPC}:{GRPC}", f"{REST}:{REST}"]
        assert (ROOT / service["build"]["context"] / "Dockerfile").is_file()
        assert "export" in service["build"]["additional_contexts"]
    gpu = services["hund-gpu"]
    [device] = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", 1, ["gpu"])
    assert gpu["image"] == f"{services['hund']['image']}-gpu" and gpu["build"]["args"]["TAG"] == "2.15.1-gpu"
    plain = [flag for flag in services["hund-batching"]["command"] if "batching" not in flag]
    assert plain == command(dockerfile) and len(services["hund-batching"]["command"]) == len(plain) + 2


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_objects_follow_its_schemas(overlay):
    objects = build(overlay)
    for one in objects.values():
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
    wrong = copy.deepcopy(objects["Deployment", "hund"])
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl, which has kustomize, is not installed")
def test_kustomize_builds_the_same(overlay):
    made = subprocess.run(["kubectl", "kustomize", ROOT / "kubernetes" / overlay], check=True, capture_output=True).stdout
    assert {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(made)} == build(overlay)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_agrees_with_the_image(overlay, dockerfile, model):
    objects = build(overlay)
    deployment = objects["Deployment", "hund"]["spec"]
    template = deployment["template"]
    [container] = containers(objects)
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"grpc": GRPC, "rest": REST}
    check = next(value.split()[-1] for name, value in dockerfile[0] if name == "COPY" and "healthcheck.sh" in value)
    for probe in ("startupProbe", "readinessProbe"):
        *asked, limit = container[probe]["exec"]["command"]
        assert asked == [check, model.name, str(REST)] and "httpGet" not in container[probe]
        assert container[probe]["timeoutSeconds"] > int(limit)
    assert container["livenessProbe"]["httpGet"] == {"path": f"/v1/models/{model.name}", "port": "rest"}
    labels = template["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert objects["PodDisruptionBudget", "hund"]["spec"]["selector"]["matchLabels"] == labels
    assert template["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] == labels
    for (kind, name), one in objects.items():
        if kind == "Service":
            assert one["spec"]["selector"] == labels
            assert all(port["port"] == {"grpc": GRPC, "rest": REST}[port["targetPort"]] for port in one["spec"]["ports"])
    annotations = template["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(REST)
    assert annotations["prometheus.io/path"] == read_text("monitoring.config", MonitoringConfig).prometheus_config.path
    of_a_cluster = ("batching", "grpc_channel_arguments")
    assert [flag for flag in container["args"] if not any(word in flag for word in of_a_cluster)] == command(dockerfile)
    user = next(value for name, value in dockerfile[0] if name == "USER")
    security = template["spec"]["securityContext"]
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == user
    assert template["spec"]["terminationGracePeriodSeconds"] > int(container["lifecycle"]["preStop"]["exec"]["command"][1])


def test_overlays_change_what_they_are_for():
    base, gpu, batching = (build(overlay) for overlay in OVERLAYS)
    [plain], [on_gpu], [batched] = containers(base), containers(gpu), containers(batching)
    assert on_gpu["image"] == f"{plain['image']}-gpu" and plain["image"].endswith(":2.15.1")
    assert on_gpu["resources"]["limits"]["nvidia.com/gpu"] == 1 and "nvidia.com/gpu" not in plain["resources"]["limits"]
    target = base["HorizontalPodAutoscaler", "hund"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in base
    assert ("HorizontalPodAutoscaler", "hund") not in gpu and gpu["Deployment", "hund"]["spec"]["replicas"] == 2
    assert set(batched["args"]) - set(plain["args"]) == {"--enable_batching",
                                                        "--batching_parameters_file=/models/batching_parameters.txt"}
    spare, no_spare = (one["Deployment", "hund"]["spec"]["strategy"]["rollingUpdate"] for one in (base, gpu))
    assert spare == {"maxUnavailable": 0, "maxSurge": 1} and no_spare == {"maxUnavailable": 1, "maxSurge": 0}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_connections_end_so_that_clients_come_to_newer_pods(overlay):
    [container] = containers(build(overlay))
    flags = dict(flag.lstrip("-").split("=", 1) for flag in container["args"] if "=" in flag)
    given = {name: int(value) for name, value in
             (one.split("=") for one in flags["grpc_channel_arguments"].split(","))}  # as TensorFlow Serving reads it
    age, grace = "grpc.max_connection_age_ms", "grpc.max_connection_age_grace_ms"
    assert given == {age: 300_000, grace: int(flags["rest_api_timeout_in_ms"])}  # who asks by gRPC has as long as by REST
    with served_for_ever([(name, value // 3000) for name, value in given.items()]) as call:
        with pytest.raises(grpc.RpcError) as error:
            call(b"", timeout=20)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE  # after 0.14 s; DEADLINE_EXCEEDED if gRPC knew no such names


@contextlib.contextmanager
def served_for_ever(options):
    """A gRPC server with these options; yields a call that it answers only when the connection has ended."""
    ended = threading.Event()

    def answer(_, context):
        context.add_callback(ended.set)
        ended.wait(30)
        return b""

    class Handler(grpc.GenericRpcHandler):
        def service(self, _):
            return grpc.unary_unary_rpc_method_handler(answer)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, handlers=[Handler()], options=options)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_retries", 0)]) as channel:
                yield channel.unary_unary("/any/call")
        finally:
            ended.set()
            server.stop(None).wait()


def versions(*states):
    """What TensorFlow Serving answers when asked for a model's status, of versions 1, 2, ... in these states."""
    from tensorflow_serving.apis import get_model_status_pb2

    response = get_model_status_pb2.GetModelStatusResponse()
    for number, state in enumerate(states, 1):
        one = response.model_version_status.add(version=number, state=state)
        one.status.error_message = 'was "AVAILABLE"' if state == "END" else ""
    return json_format.MessageToJson(response, including_default_value_fields=True, preserving_proto_field_name=True)


@pytest.mark.parametrize("states, code", [
    (["START"], 1), (["LOADING"], 1), (["AVAILABLE"], 0), (["UNLOADING"], 1), (["END"], 1), ([], 1), (["END", "AVAILABLE"], 0),
    (["AVAILABLE", "END"], 0), (["AVAILABLE", "LOADING"], 0), (["UNLOADING", "LOADING"], 1), (["END", "END"], 1)])
def test_health_check_reads_the_status(states, code):
    class Status(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.path == "/v1/models/hund"
            content = (versions(*states) if known else '{"error": "no such model"}').encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Status) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            assert check_health("hund", server.server_port) == code
            assert check_health("other", server.server_port) == 1
        finally:
            server.shutdown()
            thread.join()
    assert check_health("hund", server.server_port) == 1  # nobody listens


def test_health_check_takes_what_came_of_a_connection_that_stays_open():
    with socket.create_server(("127.0.0.1", 0)) as server, health_check("hund", server.getsockname()[1], "60") as check:
        connection, _ = server.accept()
        with connection:
            connection.sendall(f"HTTP/1.1 200 OK\r\n\r\n{versions('AVAILABLE')}\n".encode())
            assert check.wait(20) == 0


def test_health_check_ends_in_time_however_slowly_lines_come():
    with socket.create_server(("127.0.0.1", 0)) as server, health_check("hund", server.getsockname()[1], "1") as check:
        connection, _ = server.accept()
        with connection:
            for _ in range(400):  # 20 s
                with contextlib.suppress(OSError):  # nobody reads any more
                    connection.sendall(b"\n")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    assert check.wait(0.05) == 1
                    return
    pytest.fail("still running")


def check_health(model, port):
    with health_check(model, str(port), "60") as check:
        return check.wait(30)


@contextlib.contextmanager
def health_check(*arguments):
    """A process of healthcheck.sh."""
    with subprocess.Popen(["bash", ROOT / "healthcheck.sh", *map(str, arguments)], stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()
