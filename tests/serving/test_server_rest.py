"""TensorFlow Serving's REST protocol; the same tests ask TensorFlow Serving where it is at hand."""

import base64
import gzip

import numpy as np
import pytest

from tests.serving.calls import http


def predict(url, body, signature=None, path=""):
    return http(f"{url}/v1/models/hund{path}:predict", {**body, **({"signature_name": signature} if signature else {})})


@pytest.mark.parametrize("path", ["", "/versions/1"])
def test_rows(rest_url, path):
    status, answer = predict(rest_url, {"instances": [{"x": [1, 2, 3]}, {"x": [4, 5, 6]}]}, path=path)
    assert status == 200
    assert answer == {"predictions": [{"y": [1, 2, 3], "total": 6}, {"y": [4, 5, 6], "total": 15}]}


def test_rows_without_names(rest_url):
    assert predict(rest_url, {"instances": [[1, 2, 3]]})[1]["predictions"][0]["total"] == 6
    assert predict(rest_url, {"instances": [4, 9]}, "roots") == (200, {"predictions": [2, 3]})


def test_columns(rest_url):
    assert predict(rest_url, {"inputs": {"x": [[1, 2, 3]]}}) == (200, {"outputs": {"y": [[1, 2, 3]], "total": [6]}})
    assert predict(rest_url, {"inputs": [[1, 2, 3]]})[1]["outputs"]["total"] == [6]
    assert predict(rest_url, {"inputs": [4, 9]}, "roots") == (200, {"outputs": [2, 3]})


def test_signatures_without_a_batch_take_columns(rest_url):
    assert predict(rest_url, {"inputs": {"x": [1, 2, 3], "factor": 3, "plus": 1}}, "one") == (200, {"outputs": [4, 7, 10]})


@pytest.mark.usefixtures("ours_only")
def test_inputs_with_defaults_may_be_left_out(rest_url):
    assert predict(rest_url, {"inputs": {"x": [1, 2, 3]}}, "one") == (200, {"outputs": [2, 4, 6]})
    assert predict(rest_url, {"inputs": [1, 2, 3]}, "one") == (200, {"outputs": [2, 4, 6]})


def test_keys_that_mean_nothing_are_passed_over(rest_url):
    assert predict(rest_url, {"instances": [4, 9], "strange": {"b64": 1}}, "roots") == (200, {"predictions": [2, 3]})


@pytest.mark.usefixtures("ours_only")
def test_outputs_can_be_picked(rest_url):
    body = {"instances": [[1, 2, 3]], "output_filter": ["total"]}
    assert predict(rest_url, body) == (200, {"predictions": [{"total": 6}]})
    assert predict(rest_url, {**body, "output_filter": ["total", "total"]})[0] == 400
    assert predict(rest_url, {**body, "output_filter": "total"})[0] == 400


@pytest.mark.usefixtures("ours_only")
def test_names_that_are_no_inputs_are_refused(rest_url):
    assert predict(rest_url, {"inputs": {"x": [[1, 2, 3]], "z": 1}})[0] == 400


def test_bytes(rest_url):
    data = base64.b64encode(b"\xff\x00").decode()
    status, answer = predict(rest_url, {"instances": [{"text": {"b64": data}}, {"text": "Gruß"}]}, "texts")
    assert status == 200
    assert answer["predictions"] == [{"length": 2, "same_bytes": {"b64": data}},
                                     {"length": 5, "same_bytes": {"b64": base64.b64encode("Gruß".encode()).decode()}}]
    assert predict(rest_url, {"instances": [{"b64": data}]}, "texts")[1]["predictions"][0]["length"] == 2


@pytest.mark.usefixtures("ours_only")
def test_signatures_without_inputs(rest_url):
    assert predict(rest_url, {"inputs": {}}, "constants") == (200, {"outputs": {
        "names": ["left", "right"], "version": 1, "one_bytes": {"b64": "/wA="}}})


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"\xff\xfe", b'{"instances": []}', b'{"instances": 1}',
    b'{"instances": [[1,2,3]], "inputs": [[1,2,3]]}', b"{}",
    b'{"instances": [{"x": [1,2]}]}', b'{"instances": [{"x": [1,2,3]}, {"z": [1,2,3]}]}', b'{"instances": [[1,2,3],[1,2]]}',
    b'{"instances": [["a","b","c"]]}', b'{"instances": [[null,1,2]]}', b'{"instances": [[[1],[2],[3]]]}',
    b'{"inputs": {"y": [[1,2,3]]}}', b'{"instances": [[1,2,3]], "signature_name": 5}',
    b'{"instances": [1], "signature_name": "nothing"}', b'{"inputs": {"steps": 1.5}, "signature_name": "slow"}',
    b'{"inputs": {"steps": 99999999999}, "signature_name": "slow"}', b'{"inputs": {"text": [1]}, "signature_name": "texts"}',
    b'{"inputs": {"text": [{"b64": "?"}]}, "signature_name": "texts"}', b'{"instances": [-1], "signature_name": "roots"}',
    b'{"instances": ' + b"[" * 40 + b"1" + b"]" * 40 + b"}"])
def test_bad_bodies(rest_url, body):
    status, answer = http(f"{rest_url}/v1/models/hund:predict", body)
    assert status in (400, 404 if b"nothing" in body else 400) and isinstance(answer["error"], str) and answer["error"]


@pytest.mark.usefixtures("ours_only")
def test_lists_in_lists_without_end(rest_url):
    assert http(f"{rest_url}/v1/models/hund:predict", b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")[0] == 400


def test_unknown_places(rest_url, address):
    for path in ("/v1/models/nobody:predict", "/v1/models/hund/versions/7:predict"):
        status, answer = http(rest_url + path, {"instances": [[1, 2, 3]]})
        assert status == 404 and answer["error"]
    assert http(f"{rest_url}/v1/models/nobody")[0] == 404
    assert http(f"{rest_url}/v1/models/nobody/metadata")[0] == 404
    if address.ours:
        assert http(f"{rest_url}/v1/models/hund/labels/best:predict", {"instances": [[1, 2, 3]]})[0] == 400
        assert http(f"{rest_url}/nowhere")[1]["error"] == "Not Found: GET /nowhere"
        assert http(f"{rest_url}/v1/models/hund:predict")[0] == 405


def test_status_and_metadata(rest_url):
    status, answer = http(f"{rest_url}/v1/models/hund")
    assert status == 200 and answer["model_version_status"] == [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]
    assert http(f"{rest_url}/v1/models/hund/versions/1")[1] == answer
    status, answer = http(f"{rest_url}/v1/models/hund/metadata")
    assert status == 200 and answer["model_spec"]["version"] == "1"
    definition = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in definition["inputs"]["x"]["tensor_shape"]["dim"]] == ["-1", "3"]


def test_numbers_come_back_as_they_went(rest_url):
    x = np.random.default_rng(0).normal(size=[30, 3]).astype(np.float32)
    status, answer = predict(rest_url, {"inputs": {"x": x.tolist()}})
    assert status == 200
    np.testing.assert_allclose(answer["outputs"]["y"], x, rtol=1e-6)
    status, answer = http(f"{rest_url}/v1/models/hund:predict", b'{"instances": [[NaN, Infinity, 1]]}')
    assert status == 200 and np.isnan(answer["predictions"][0]["y"][0]) and np.isinf(answer["predictions"][0]["y"][1])


def test_numbers_have_no_more_digits_than_they_need(rest_url):
    assert predict(rest_url, {"inputs": {"x": [[0.2, 288.5, 1e-7]]}})[1]["outputs"]["y"] == [[0.2, 288.5, 1e-7]]


def test_compressed_body(rest_url):
    body = gzip.compress(b'{"instances": [[1, 2, 3]]}')
    assert http(f"{rest_url}/v1/models/hund:predict", body, headers={"Content-Encoding": "gzip"})[0] == 200
