"""The client against a server in this process: what is sent, what comes back, what is refused, what is tried again."""

import asyncio
import time

import grpc
import numpy as np
import pytest

from hund_tf.client import (AsyncHundClient, HundClient, HundInputError, HundServerError, HundTimeoutError,
                            HundUnavailableError, RetryPolicy)
from hund_tf.client import results, tensors
from tests.serving.fake_server import (FOUND, NOWHERE, PHOTO, ROWS, UNAVAILABLE, VERSION, Failure, FakeServer, outputs_of,
                                       people)

QUICK = RetryPolicy(first_wait=0.01)
FULL = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full")


def test_people_of_a_photo(fake_server, make_client):
    result = make_client(fake_server.address).reconstruct(PHOTO)
    assert (result.num_people, result.rows, result.image_size, result.model_version) == (FOUND, ROWS, (48, 64), VERSION)
    assert result.intrinsics.tolist() == [64, 64, 32, 24] and result.intrinsics.dtype == np.float64
    for name, expected in people(FOUND, ROWS).items():
        np.testing.assert_array_equal(getattr(result, name), expected[:FOUND])  # without the padding
        assert getattr(result, name).flags.writeable
    assert set(fake_server.requests[0].inputs) == {"image"} and not fake_server.requests[0].output_filter
    assert fake_server.requests[0].model_spec.name == "hund"


def test_arguments_reach_the_server(fake_server, make_client):
    client = make_client(fake_server.address, model="other", version=3)
    assert client.reconstruct(PHOTO, (50, 60, 30, 20), max_people=1, num_stages=0).num_people == 1
    request = fake_server.requests[0]
    sent = {name: tensors.decode(tensor) for name, tensor in request.inputs.items()}
    assert (request.model_spec.name, request.model_spec.version.value) == ("other", 3)
    assert {name: (array.dtype.name, array.shape) for name, array in sent.items()} == {
        "image": ("uint8", (48, 64, 3)), "intrinsics": ("float32", (4,)), "max_people": ("int32", ()),
        "num_stages": ("int32", ())}
    assert sent["intrinsics"].tolist() == [50, 60, 30, 20] and sent["max_people"] == 1 and sent["num_stages"] == 0


def test_boxes_crops_and_files(fake_server, make_client):
    client = make_client(fake_server.address)
    assert client.reconstruct_boxes(PHOTO, [[1, 2, 30, 40]] * 3).box.shape == (3, 4)
    assert client.reconstruct_boxes(PHOTO, []).num_people == 0
    crops = client.reconstruct_crops(np.zeros([2, 480, 480, 3], np.uint8), [[480, 480, 240, 240]] * 2)
    assert (crops.num_people, crops.joints3d.shape) == (2, (2, 63, 3))
    assert crops.box is None and crops.score is None and crops.image_size is None
    photos = client.reconstruct_bytes([b"a", bytearray(b"bb"), b"c"])
    assert [photo.num_people for photo in photos] == [0, 1, 2]
    assert [photo.vertices.shape for photo in photos] == [(0, 4, 3), (1, 4, 3), (2, 4, 3)]
    assert photos[2].image_size == (48, 64) and photos[2].intrinsics.shape == (4,)
    assert [request.model_spec.signature_name for request in fake_server.requests] == [
        "reconstruct_boxes", "reconstruct_boxes", "reconstruct_crops", "serving_default"]


def test_only_the_outputs_asked_for(fake_server, make_client):
    client = make_client(fake_server.address)
    result = client.reconstruct(PHOTO, outputs=("joints3d", "box"))
    assert result.joints3d.shape == (FOUND, 63, 3) and result.box.shape == (FOUND, 4)
    assert {name for name, value in result._asdict().items() if value is None} == set(results.OUTPUTS) - {
        "joints3d", "box", "num_people"}
    assert list(fake_server.requests[0].output_filter) == ["joints3d", "box", "num_people"]
    assert client.reconstruct(PHOTO, outputs="num_people").num_people == FOUND
    assert client.reconstruct_boxes(PHOTO, [[1, 2, 30, 40]], outputs=["score"]).score.shape == (1,)
    assert client.reconstruct_bytes([b"a", b"b"], outputs=["score"])[1].score.shape == (1,)


def test_description_is_asked_for_once(fake_server, make_client):
    client = make_client(fake_server.address)
    about = client.describe()
    assert about.faces.shape == (4, 3) and (about.keypoint_names[136], about.joint_names[0]) == ("keypoint136", "joint0")
    assert (about.preset, about.version) == ("person", "0.9")
    assert client.describe() is about and len(fake_server.requests) == 1
    assert client.describe(refresh=True).preset == "person" and len(fake_server.requests) == 2


def test_status(fake_server, make_client):
    assert make_client(fake_server.address).status() == ((7, "AVAILABLE", 0, ""), (6, "END", 1, "replaced"))
    with pytest.raises(HundServerError, match="NOT_FOUND: Could not find any versions of model x"):
        make_client(fake_server.address, model="x").status()


@pytest.mark.parametrize("call, words", [
    (lambda c: c.reconstruct(PHOTO, (np.nan, 64, 32, 24)), "`intrinsics` must be"),
    (lambda c: c.reconstruct(PHOTO, (64, 64, 32)), "`intrinsics` must be"),
    (lambda c: c.reconstruct(PHOTO / 255), "`image` must be uint8 \\[H, W, 3\\], RGB. Received: float64"),
    (lambda c: c.reconstruct(PHOTO[None]), "Received: uint8 \\(1, 48, 64, 3\\)"),
    (lambda c: c.reconstruct(PHOTO, max_people=0), "`max_people` must be"),
    (lambda c: c.reconstruct(PHOTO, max_people=1 << 40), "int32"),
    (lambda c: c.reconstruct(PHOTO, num_stages=-1), "`num_stages`"),
    (lambda c: c.reconstruct(PHOTO, outputs=["box", "mesh"]), "`outputs` must be some of .*Received: \\['box', 'mesh'\\]"),
    (lambda c: c.reconstruct(PHOTO, outputs=[]), "`outputs` must be some of"),
    (lambda c: c.reconstruct(PHOTO, timeout=0), "`timeout` must be a positive number"),
    (lambda c: c.reconstruct_boxes(PHOTO, [[900, 2, 30, 40]]), "must overlap the photo"),
    (lambda c: c.reconstruct_boxes(PHOTO, [[1, 2, np.nan, 40]]), "`boxes` must be"),
    (lambda c: c.reconstruct_bytes(b"photo"), "a list of bytes, .* Received: one bytes"),
    (lambda c: c.reconstruct_bytes([]), "Received: \\[\\]"), (lambda c: c.reconstruct_bytes(["a.jpg"]), "str 'a.jpg'"),
    (lambda c: c.reconstruct_bytes([b"a", b""]), "none empty. Received: .*bytes b''"),
    (lambda c: c.reconstruct_crops(np.zeros([1, 48, 48, 3], np.uint8), [[1, 1, 1, 1]]), "must be uint8 \\[B, 480, 480, 3\\]"),
    (lambda c: c.reconstruct_crops(np.zeros([2, 480, 480, 3], np.uint8), [[1, 1, 1, 1]]), "must be \\[2, 4\\]"),
    (lambda c: c.reconstruct_crops(np.zeros([1, 480, 480, 3], np.uint8), [[1, np.nan, 1, 1]]), "`intrinsics` must be")])
def test_wrong_arguments_are_refused_before_anything_is_sent(fake_server, make_client, call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call(make_client(fake_server.address))
    assert not isinstance(caught.value, HundServerError) and not fake_server.requests


@pytest.mark.parametrize("code, kind", [
    (grpc.StatusCode.INVALID_ARGUMENT, HundInputError), (grpc.StatusCode.NOT_FOUND, HundServerError),
    (grpc.StatusCode.INTERNAL, HundServerError), (grpc.StatusCode.RESOURCE_EXHAUSTED, HundServerError)])
def test_errors_of_the_server(fake_server, make_client, code, kind):
    fake_server.failures = [Failure(code, "the rule")]
    with pytest.raises(kind) as caught:
        make_client(fake_server.address).reconstruct(PHOTO)
    assert (caught.value.code, caught.value.message, caught.value.address) == (code, "the rule", fake_server.address)
    assert len(fake_server.requests) == 1  # not tried again


@pytest.mark.parametrize("failures, policy", [([UNAVAILABLE] * 2, QUICK), ([FULL, UNAVAILABLE],
                                                                           RetryPolicy(first_wait=0.01, exhausted=True))])
def test_what_passes_is_tried_again(fake_server, make_client, failures, policy):
    fake_server.failures = list(failures)
    assert make_client(fake_server.address, retries=policy).reconstruct(PHOTO).num_people == FOUND
    assert len(fake_server.requests) == 3


def test_retries_are_limited(fake_server, make_client):
    fake_server.failures = [UNAVAILABLE] * 9
    with pytest.raises(HundUnavailableError, match="UNAVAILABLE: loading"):
        make_client(fake_server.address, retries=1).reconstruct(PHOTO)
    assert len(fake_server.requests) == 2


def test_deadline(fake_server, make_client):
    fake_server.delay = 0.5
    client, start = make_client(fake_server.address), time.monotonic()
    with pytest.raises(HundTimeoutError):
        client.reconstruct(PHOTO, timeout=0.1)
    assert time.monotonic() - start < 0.4
    assert client.reconstruct(PHOTO).num_people == FOUND  # that of the client is longer


def test_deadline_holds_over_retries(make_client):
    client, start = make_client(NOWHERE, retries=RetryPolicy(rounds=1000, first_wait=0.05, longest_wait=0.05)), time.monotonic()
    with pytest.raises(HundUnavailableError, match=NOWHERE):
        client.describe(timeout=0.5)
    assert time.monotonic() - start < 1.5


def test_large_messages_go_both_ways(make_client):
    vertices = np.ones([ROWS, 60_000, 3], np.float32)  # 5.8 MB
    with FakeServer(outputs=lambda request: {**outputs_of(request), "vertices": vertices}) as server:
        photo = np.zeros([1500, 2000, 3], np.uint8)  # 9 MB
        assert make_client(server.address).reconstruct(photo, outputs=["vertices"]).vertices.shape == (FOUND, 60_000, 3)
        small = make_client(server.address, most_bytes=4 << 20, retries=RetryPolicy(exhausted=True))
        with pytest.raises(HundServerError, match="larger than max"):
            small.reconstruct(PHOTO)
        assert len(server.requests) == 2


@pytest.mark.parametrize("outputs, words", [
    ({"num_people": None}, "'num_people' must be of shape \\(\\)"), ({"num_people": np.array(9, np.int32)}, "at least 9"),
    ({"box": np.zeros([3, 4], np.float32)}, "the same number of rows"), ({"score": np.array(1, np.float32)}, "number of rows"),
    ({"num_people": np.array(-1, np.int32)}, "not negative")])
def test_answers_that_contradict_themselves(make_client, outputs, words):
    def answer(request):
        return {name: array for name, array in {**outputs_of(request), **outputs}.items() if array is not None}

    with FakeServer(outputs=answer) as server, pytest.raises(HundServerError, match=words) as caught:
        make_client(server.address).reconstruct(PHOTO)
    assert caught.value.code == grpc.StatusCode.DATA_LOSS and caught.value.address == server.address


def test_server_of_another_model(make_client):
    with FakeServer(outputs=lambda request: {"y": np.zeros(1, np.float32)}) as server:
        with pytest.raises(HundServerError, match="`describe` must give faces"):
            make_client(server.address).describe()


def test_async_calls_run_beside_each_other():
    async def run(address):
        async with AsyncHundClient(address, timeout=20) as client:
            return await asyncio.gather(*(client.reconstruct(PHOTO, max_people=1 + i % 2) for i in range(12)))

    with FakeServer(delay=0.1) as server:
        found = asyncio.run(run(server.address))
        assert [result.num_people for result in found] == [1, 2] * 6 and server.most_running > 6


def test_wrong_timeout_is_an_error_at_the_call_of_asyncio():
    client = AsyncHundClient(NOWHERE)
    for call in (client.describe, client.status, lambda timeout: client.reconstruct(PHOTO, timeout=timeout)):
        with pytest.raises(ValueError, match="`timeout` must be a positive number of seconds. Received: 0"):
            call(timeout=0)


@pytest.mark.parametrize("settings, words", [
    ({"addresses": "localhost"}, "An address must be HOST:PORT. Received: 'localhost'"),
    ({"addresses": "a:0"}, "Received: 'a:0'"), ({"addresses": "a:99999"}, "HOST:PORT"), ({"addresses": "a:1,"}, "Received: ''"),
    ({"addresses": []}, "at least one address"), ({"addresses": [5]}, "Received: 5"),
    ({"addresses": "http://a:1"}, "HOST:PORT"), ({"timeout": -1}, "`timeout`"),
    ({"timeout": "5"}, "`timeout`"), ({"retries": -1}, "`rounds`"), ({"model": ""}, "`model`"), ({"version": -1}, "`version`")])
def test_wrong_settings_are_refused(settings, words):
    for kind in (HundClient, AsyncHundClient):
        with pytest.raises(ValueError, match=words):
            kind(**{"addresses": "localhost:1", **settings})


@pytest.mark.parametrize("addresses, expected", [
    ("a.b:80, [::1]:81", ["a.b:80", "[::1]:81"]), (("c:1",), ["c:1"]), ("dns:///hund:8500", ["dns:///hund:8500"]),
    ("unix:/tmp/x", ["unix:/tmp/x"])])
def test_addresses(addresses, expected):
    with HundClient(addresses) as client:
        assert client.addresses == expected
