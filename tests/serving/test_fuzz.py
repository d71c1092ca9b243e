"""Thousands of broken and hostile requests: each is told what is wrong, the server stays well, memory comes back.

`hostile` makes them from seeds; a failure names kind, number and seed. The photo model has the rules and the decoder of an
export without its networks, so that thousands take seconds; a whole export is asked by `pytest -m slow`.
"""

import base64
import collections
import gc
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from typing import NamedTuple

import grpc
import numpy as np
import pytest

from hund_tf.serving.image_checks import check_images
from tests.export import photos
from tests.serving import calls, hostile, photo_model

CODE = grpc.StatusCode
REFUSALS = (CODE.INVALID_ARGUMENT, CODE.NOT_FOUND, CODE.RESOURCE_EXHAUSTED)
# Ours say what came, as gRPC does of a long message; of broken photos TensorFlow speaks; of labels we say what TF Serving says.
RULE = re.compile(r"Received|Invalid (JPEG|PNG)|Unrecognized servable version label")
AT_ONCE = 16  # requests on their way: good and bad ones meet in batches
MIB = 2**20
LARGE_GROWTH_MIB = 400  # less than one photo of 25 megapixels takes while it is looked at
MOST_GROWTH_MIB = 32  # of the process, after the first few hundred requests: allocators keep what they will use again
PICTURE = photos.picture(height=24, width=32)


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory):
    return photo_model.save(tmp_path_factory.mktemp("photo_model"))


@pytest.fixture
def server(serve, request):
    """Function of the folder and checks: (server, raw call of bytes, `Caller`); the server takes messages of 1 MiB."""
    def start(folder, checks=(), load=True, **settings):
        running = serve(**({"model": folder} if folder else {}), input_checks=checks, load=load, **settings)
        caller = calls.Caller(running.address)
        request.addfinalizer(caller.channel.close)
        return running, caller.channel.unary_unary("/tensorflow.serving.PredictionService/Predict"), caller

    return start


def test_small_model(server):
    good = [calls.request(x=calls.floats(2, 3)), calls.request("texts", text=np.array([b"a", b"\xff\0"], object)),
            calls.request("one", x=calls.floats(3), factor=np.float32(2), plus=np.int32(1)),
            calls.request("roots", n=np.float32([1, 4])), calls.request("image", image=PICTURE), calls.request("constants"),
            calls.request(outputs=["total"], x=calls.floats(1, 3))]
    _, call, caller = server(None, max_message_bytes=MIB)
    counts = answers(call, hostile.shots(good, 300, seed=1))
    before = resident_mib()
    counts += answers(call, hostile.shots(good, 1000, seed=2))
    counts += answers(call, hostile.shots(good, 20, seed=12, kinds=["too long", "good"]))
    assert counts[CODE.RESOURCE_EXHAUSTED] == 10
    assert_well(counts, before)
    np.testing.assert_allclose(caller.predict(x=np.ones([1, 3], np.float32))["total"], [3])


def test_requests_of_photos(server, photo_folder):
    crops = np.zeros([2, photo_model.SIDE, photo_model.SIDE, 3], np.uint8)
    _, call, caller = server(photo_folder, max_message_bytes=MIB)
    good = photo_requests(crops)
    counts = answers(call, hostile.shots(good, 100, seed=3))
    before = resident_mib()
    counts += answers(call, hostile.shots(good, 300, seed=4))
    assert_well(counts, before)
    assert caller.predict("reconstruct", image=PICTURE)["checksum"].tolist() == [PICTURE.sum(), 0, 0, 0]


@pytest.mark.parametrize("checks", [(), (check_images,)], ids=["the graph alone", "checked before"])
def test_photos(server, photo_folder, checks):
    _, call, caller = server(photo_folder, checks, max_message_bytes=MIB)
    counts = answers(call, photo_messages(100, seed=5))
    before = resident_mib()
    counts += answers(call, photo_messages(300, seed=6))
    assert_well(counts, before)
    found = caller.predict(image_bytes=np.array(list(hostile.good_photos().values()), object))
    assert found["image_size"].tolist() == [[32, 24] if kind == "turned" else [24, 32] for kind in hostile.good_photos()]


@pytest.mark.parametrize("inputs, words", [
    ({"image": PICTURE, "intrinsics": np.float32([np.nan, 1, 1, 1])}, "`intrinsics` must be"),
    ({"image": PICTURE, "intrinsics": np.float32([np.inf, 1, 1, 1])}, "`intrinsics` must be"),
    ({"image": PICTURE, "boxes": np.float32([[0, 0, -5, 5]])}, "`boxes` must be"),
    ({"image": PICTURE, "boxes": np.float32([[-50, -50, 5, 5]])}, "A box must overlap the photo"),
    ({"image": PICTURE, "boxes": np.ones([51, 4], np.float32)}, "at most 50 boxes"),
    ({"image": PICTURE[:0], "boxes": np.zeros([0, 4], np.float32)}, "A photo must have sides"),
    ({"image": PICTURE, "max_people": np.int32(2**31 - 1)}, "`max_people` must be from 1 to 50"),
    ({"image": PICTURE, "num_stages": np.int32(-1)}, "`num_stages` must be from 0 to 50"),
    ({"image_bytes": np.array([b""], object)}, "A photo must be JPEG or PNG"),
    ({"image_bytes": np.array([photos.claiming(photos.encoded(PICTURE, "PNG"), 2**31, 2**31)], object)}, "65 megapixels")])
def test_rules_arrive(server, photo_folder, inputs, words):
    _, _, caller = server(photo_folder)
    signature = "" if "image_bytes" in inputs else "reconstruct_boxes" if "boxes" in inputs else "reconstruct"
    with pytest.raises(grpc.RpcError) as failure:
        caller.predict(signature, **inputs)
    assert failure.value.code() == CODE.INVALID_ARGUMENT and "{{node" not in failure.value.details()
    assert words in failure.value.details() and "Received:" in failure.value.details()


def test_rest(server, photo_folder):
    small, _, _ = server(None, max_message_bytes=MIB)
    texts = [{"instances": [[1, 2, 3], [4, 5, 6]]}, {"inputs": {"x": [[1.5, 2, 3]]}, "output_filter": ["total"]},
             {"instances": [{"b64": "/wA="}], "signature_name": "texts"}, {"instances": [4, 9], "signature_name": "roots"},
             {"inputs": {"x": [1, 2, 3], "plus": 3}, "signature_name": "one"}]
    counts = collections.Counter(rest_status(small.rest, body) for body in hostile.bodies(texts, 300, seed=7))
    photo, _, _ = server(photo_folder, (check_images,), max_message_bytes=MIB)
    for what, data, valid in hostile.photo_shots(60, seed=8):
        status = rest_status(photo.rest, json.dumps({"instances": [{"b64": base64.b64encode(data).decode()}]}).encode())
        assert valid is None or valid == (status == 200), what
        counts[status] += 1
    assert set(counts) <= {200, 400, 404, 429} and min(counts[200], counts[400]) >= 20
    for running, body in ((small, texts[0]), (photo, {"instances": [{"b64": base64.b64encode(photos.encoded(
            PICTURE, "PNG")).decode()}]})):
        assert rest_status(running.rest, json.dumps(body).encode()) == 200


@pytest.mark.slow
def test_export(served_export, request):
    """`hund serve` of the whole model: a thousand requests and more, then photos so large that their memory is seen to go."""
    caller = calls.Caller(served_export.address)
    request.addfinalizer(caller.channel.close)
    call = caller.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    good = photo_requests(np.zeros([1, 480, 480, 3], np.uint8))
    counts = answers(call, photo_messages(24, seed=9), timeout=300)
    before = resident_mib(served_export.pid)
    counts += answers(call, hostile.shots([*good, calls.request("describe")], 700, seed=10), timeout=300)
    counts += answers(call, photo_messages(400, seed=11), timeout=300)
    assert_well(counts, before, 512, served_export.pid)  # networks meet inputs of new sizes, whose plans TensorFlow keeps
    assert len(caller.predict("reconstruct", image=PICTURE, timeout=300)["translation"]) == 8

    large = calls.request(image_bytes=np.array([photos.encoded(np.zeros([5000, 5000, 3], np.uint8), "PNG")], object))
    before = resident_mib(served_export.pid)
    for count in (1, 3):
        for answer in [call.future(large.SerializeToString(), timeout=300) for _ in range(count)]:
            assert answer.code() is CODE.OK
    assert before is None or resident_mib(served_export.pid) - before < LARGE_GROWTH_MIB


class Served(NamedTuple):
    address: str
    pid: int


@pytest.fixture
def served_export(person_export):
    """`hund serve` of the whole export, in a process of its own, ready."""
    command = "import sys; from hund_tf.cli import main; sys.exit(main())"
    with subprocess.Popen([sys.executable, "-c", command, "serve", "--model", os.path.dirname(person_export), "--port", "0",
                           "--rest-port", "0", "--max-message-mb", "1"], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Served(re.search(r"on (\S+) \(gRPC\)", process.stdout.readline())[1], process.pid)
        finally:
            process.kill()


def photo_requests(crops):
    intrinsics, boxes = np.float32([30, 30, 16, 12]), np.float32([[2, 2, 20, 20], [-3, 0, 10, 10]])
    return [calls.request(image_bytes=np.array([photos.encoded(PICTURE, "JPEG")], object)),
            calls.request("reconstruct", image=PICTURE, intrinsics=intrinsics, max_people=np.int32(3), num_stages=np.int32(2)),
            calls.request("reconstruct_boxes", image=PICTURE, boxes=boxes, intrinsics=intrinsics),
            calls.request("reconstruct_crops", crops=crops, intrinsics=np.tile(intrinsics, [len(crops), 1]))]


def photo_messages(count, seed):
    """Each hostile photo as a request, every third beside a good one."""
    beside = photos.encoded(PICTURE, "JPEG")
    for i, (what, data, valid) in enumerate(hostile.photo_shots(count, seed)):
        several = np.empty([1 + (i % 3 == 0)], object)
        several[:] = [data, beside][:len(several)]
        yield hostile.Shot(what, calls.request(image_bytes=several).SerializeToString(), valid)


def answers(call, shots, timeout=calls.TIMEOUT):
    """Sends all shots, a few at once, and checks each answer; how many there were of each status."""
    counts, waiting = collections.Counter(), collections.deque()
    for shot in shots:
        waiting.append((shot, call.future(shot.message, timeout=timeout)))
        if len(waiting) >= AT_ONCE:
            counts[_checked(*waiting.popleft())] += 1
    return counts + collections.Counter(_checked(*one) for one in waiting)


def _checked(shot, answer):
    code, words = answer.code(), answer.details()
    assert code is CODE.OK or (code in REFUSALS and RULE.search(words)), f"{shot.what}: {code} {words!r}"
    assert shot.valid is None or shot.valid == (code is CODE.OK), f"{shot.what}: {code} {words!r}"
    return code


def rest_status(url, body):
    """Status of an answer that is JSON, with a sentence in it if it is a refusal."""
    try:
        with urllib.request.urlopen(f"{url}/v1/models/hund:predict", body, timeout=calls.TIMEOUT) as answer:
            json.load(answer)
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            assert RULE.search(json.load(error)["error"])
        return error.code


def assert_well(counts, before_mib, most=MOST_GROWTH_MIB, process="self"):
    total = sum(counts.values())
    assert counts[CODE.INVALID_ARGUMENT] > total / 3 and counts[CODE.OK] > total / 50, counts
    if before_mib is not None:
        gc.collect()
        assert resident_mib(process) - before_mib < most


def resident_mib(process="self"):
    """What a process holds, or None where /proc does not say."""
    try:
        with open(f"/proc/{process}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB
    except OSError:
        return None
