"""The wire: what goes through, and what every wrong request is answered."""

from __future__ import annotations

import http.client
import json
import re
from typing import Any

import pytest

from headway.lifecycle.rollouts.routing import RoutingTable
from tests.serving.processes import Server, request


def test_health_and_metadata(server: Server) -> None:
    assert server.call("GET", "/v2/health/live") == (200, {"live": True, "ready": True})
    assert server.call("GET", "/v2/health/ready") == (200, {"live": True, "ready": True})
    assert server.call("GET", "/v2")[1]["name"] == "headway"
    assert server.call("GET", "/v2/models/flights/ready") == (200, {"name": "flights", "ready": True})
    status, metadata = server.call("GET", "/v2/models/flights")
    assert status == 200
    assert metadata["versions"] == ["1"]
    assert metadata["inputs"][0] == {"name": "temp", "datatype": "FP32", "shape": [-1, 1]}
    assert metadata["outputs"][1] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]}


def test_what_triton_tells_besides(server: Server) -> None:
    assert "binary_tensor_data" in server.call("GET", "/v2")[1]["extensions"]
    entry = {"name": "flights", "version": "1", "state": "READY", "reason": ""}
    assert server.call("POST", "/v2/repository/index", {"ready": True}) == (200, [entry])
    config = server.call("GET", "/v2/models/flights/config")[1]
    assert config["input"][1] == {"name": "carrier", "data_type": "TYPE_STRING", "dims": [-1, 1]}
    for verb in ("load", "unload"):
        status, answer = server.call("POST", f"/v2/repository/models/flights/{verb}", {})
        assert (status, "rollout" in answer["error"]) == (400, True)
        assert server.call("POST", f"/v2/repository/models/nix/{verb}")[0] == 404


def test_statistics(server: Server) -> None:
    def counts() -> list[int]:
        [said] = server.call("GET", "/v2/models/flights/stats")[1]["model_stats"]
        assert server.call("GET", "/v2/models/stats")[1]["model_stats"] == [said]
        inference = said["inference_stats"]
        return [said["inference_count"], inference["success"]["count"], inference["fail"]["count"]]

    before = counts()
    for body in (request([70.0, 80.0], ["UA", "AA"]), request(), request(999)):
        server.infer(body)
    assert [after - first for after, first in zip(counts(), before, strict=True)] == [3, 2, 1]


def test_one_row(server: Server) -> None:
    status, answer = server.infer(request(70.0, "UA", id="id-1"))
    assert status == 200
    assert answer["id"] == "id-1"
    assert (answer["model_name"], answer["model_version"]) == ("flights", "1")
    assert answer["parameters"] == {"release": "rl_a"}
    label, probabilities = answer["outputs"]
    assert (label["name"], label["datatype"], label["shape"], label["data"]) == ("label", "INT64", [1], [1])
    assert (probabilities["datatype"], probabilities["shape"]) == ("FP32", [1, 2])
    assert sum(probabilities["data"]) == pytest.approx(1, abs=1e-6)


def test_many_rows_are_as_each_alone(server: Server) -> None:
    temps, carriers = [20.0, 60, 99.5], ["AA", "B6", "UA"]
    together = server.infer(request(temps, carriers))[1]["outputs"][1]["data"]
    alone = [server.infer(request(*row))[1]["outputs"][1]["data"] for row in zip(temps, carriers, strict=True)]
    assert together == pytest.approx([value for row in alone for value in row], abs=1e-6)


def test_nested_and_flat_data_and_shapes_are_the_same(server: Server) -> None:
    flat, nested, short = (request([20.0, 60.0], ["AA", "B6"]) for _ in range(3))
    nested["inputs"][0]["data"] = [[20.0], [60.0]]
    for tensor in short["inputs"]:
        tensor["shape"] = [2]
    answers = [server.infer(body)[1]["outputs"] for body in (flat, nested, short)]
    assert answers[0] == answers[1] == answers[2]


def test_order_of_inputs_is_free_and_unknown_fields_are_ignored(server: Server) -> None:
    body = request(parameters={"unknown": [1, {"deep": True}]}, unknown=1)
    expected = server.infer(body)[1]["outputs"]
    body["inputs"].reverse()
    body["inputs"][0]["parameters"] = {"binary_data_size": 3}
    assert server.infer(body)[1]["outputs"] == expected


def test_id_is_made_when_absent(server: Server) -> None:
    first, second = (server.infer(request())[1]["id"] for _ in range(2))
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


def test_outputs_filter(server: Server) -> None:
    answer = server.infer(request(outputs=[{"name": "probabilities"}]))[1]
    assert [output["name"] for output in answer["outputs"]] == ["probabilities"]
    status, answer = server.infer(request(outputs=[{"name": "nix"}]))
    assert status == 400
    assert "'nix'" in answer["error"]


def test_missing_number_scores_as_the_model_does(server: Server) -> None:
    status, answer = server.infer(request(None))
    assert status == 200
    assert answer["outputs"][1]["data"] == [None, None]


def changed(place: int, **fields: Any) -> dict[str, Any]:
    body = request()
    body["inputs"][place] |= fields
    return body


def without(place: int, field: str) -> dict[str, Any]:
    body = request()
    del body["inputs"][place][field]
    return body


WRONG: dict[str, tuple[Any, int, str]] = {
    "empty": (b"", 400, "truncated"),
    "cut": (json.dumps(request()).encode()[:-5], 400, "truncated"),
    "no JSON": (b"temp=70", 400, "malformed"),
    "not UTF-8": (b'{"inputs": [{"name": "\xff"}]}', 400, "utf-8"),
    "NaN literal": (json.dumps(changed(0, data=[float("nan")])).encode(), 400, "a missing number is null"),
    "Infinity literal": (json.dumps(changed(0, data=[float("-inf")])).encode(), 400, "neither NaN nor Infinity"),
    "lone surrogate": (b'{"inputs": [], "id": "\\ud800"}', 400, "not an inference request"),
    "deep": (b'{"inputs": [{"name": "temp", "data": ' + b"[" * 100_000, 400, "recursion"),
    "a list": ([1], 400, "object"),
    "no inputs": ({}, 400, "inputs"),
    "inputs of none": ({"inputs": []}, 400, "temp"),
    "inputs null": ({"inputs": None}, 400, "inputs"),
    "missing input": ({"inputs": request()["inputs"][:1]}, 400, "carrier"),
    "input twice": ({"inputs": [request()["inputs"][0]] * 2}, 400, "temp"),
    "unknown input": (changed(0, name="temperature"), 400, "temperature"),
    "no datatype": (without(0, "datatype"), 400, "datatype"),
    "no shape": (without(0, "shape"), 400, "shape"),
    "no data": (without(1, "data"), 400, "data"),
    "other datatype": (changed(0, datatype="FP64"), 400, "temp"),
    "unknown datatype": (changed(0, datatype="X"), 400, "'X', but the model takes FP32"),
    "FP16 in JSON": (changed(0, datatype="FP16"), 400, "in binary only; in JSON send FP32"),
    "BF16 in JSON": (changed(0, datatype="BF16"), 400, "in binary only"),
    "text as number": (changed(0, data=["70"]), 400, "temp"),
    "bool as number": (changed(0, data=[True]), 400, "temp"),
    "number as text": (changed(1, data=[1]), 400, "carrier"),
    "null as text": (changed(1, data=[None]), 400, "carrier"),
    "object as number": (changed(0, data=[{}]), 400, "temp"),
    "too large for FP32": (changed(0, data=[1e39]), 400, "range of FP32"),
    "integer too large for FP32": (changed(0, data=[10**50]), 400, "range of FP32"),
    "too large for JSON": (json.dumps(request()).replace("70.0", "1e999").encode(), 400, "out of range"),
    "too few elements": (changed(0, shape=[2, 1]), 400, "temp"),
    "too many elements": (changed(0, data=[1.0, 2.0]), 400, "temp"),
    "no rows": (changed(0, shape=[0, 1], data=[]), 400, "temp"),
    "negative shape": (changed(0, shape=[-1, 1]), 400, "temp"),
    "huge shape": (changed(0, shape=[2**62, 1]), 400, "temp"),
    "no dimensions": (changed(0, shape=[]), 400, "temp"),
    "three dimensions": (changed(0, shape=[1, 1, 1]), 400, "temp"),
    "other width": (changed(0, shape=[1, 2], data=[1.0, 2.0]), 400, "temp"),
    "fraction in shape": (changed(0, shape=[1.5, 1]), 400, "shape"),
    "ragged": (changed(0, shape=[2, 1], data=[[1.0], []]), 400, "temp"),
    "too deeply nested": (changed(0, data=[[[1.0]]]), 400, "temp"),
    "half nested": (changed(0, shape=[2, 1], data=[[1.0], 2.0]), 400, "temp"),
    "rows differ": (changed(0, shape=[2, 1], data=[1.0, 2.0]), 400, "carrier"),
    "id too long": (request(id="i" * 201), 400, "id"),
    "id a number": (request(id=1), 400, "id"),
    "event without zone": (request(parameters={"event_at": "2013-01-01T00:00:00"}), 400, "event_at"),
    "event no time": (request(parameters={"event_at": "yesterday"}), 400, "event_at"),
    "event too early": (request(parameters={"event_at": "0001-01-01T00:00:00+23:59"}), 400, "1970"),
    "prediction ids too many": (request(parameters={"prediction_ids": ["a", "b"]}), 400, "prediction_ids"),
    "prediction id empty": (request(parameters={"prediction_ids": [""]}), 400, "prediction_ids"),
    "key an object": (request(parameters={"key": {}}), 400, "key"),
    "below the contract": (request(-40.5), 422, "temp"),
    "above the contract": (request(131), 422, "temp"),
    "unknown level": (request(70, "ZZ"), 422, "carrier"),
    "one row of many": (request([70.0, 131.0], ["UA", "UA"]), 422, "131"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_requests_are_named(server: Server, case: str) -> None:
    body, expected, named = WRONG[case]
    status, answer = server.infer(body)
    assert (status, list(answer)) == (expected, ["error"])
    assert named in answer["error"]
    assert "Traceback" not in answer["error"]


def test_unknown_paths(server: Server) -> None:
    assert server.call("POST", "/v2/models/nix/infer", request())[0] == 404
    assert server.call("GET", "/v2/models/nix")[0] == 404
    assert server.call("GET", "/nix")[0] == 404
    assert server.call("GET", "/v2/models/flights/nix")[0] == 404
    for method, path in (
        ("GET", "/v2/models/flights/infer"),
        ("GET", "/v1/flush"),
        ("POST", "/v2"),
        ("PUT", "/v1/status"),
    ):
        status, answer = server.call(method, path)
        assert (status, list(answer)) == (405, ["error"])


def test_errors_are_bounded(server: Server) -> None:
    status, answer = server.infer(changed(0, shape=[7] * 100_000))
    assert status == 400
    assert len(answer["error"]) <= 2000


def test_body_limit(small: Server) -> None:
    status, answer = small.infer(request([70.0] * 200, ["UA"] * 200))
    assert status == 413
    assert "1000" in answer["error"]
    assert small.infer(request())[0] == 200
    assert small.rows()["_status"].sort().to_list()[-1] == 413


def samples(server: Server) -> dict[str, float]:
    server.flush()
    lines = server.call("GET", "/metrics")[1].decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_metrics(server: Server) -> None:
    bodies: list[Any] = [request(), request(80), request(None), request(999), b"{"]
    assert [server.infer(body)[0] for body in bodies] == [200, 200, 200, 422, 400]
    before = samples(server)
    for body in bodies:
        server.infer(body)
    after = samples(server)
    grown = {name: value - before[name] for name, value in after.items() if value != before[name]}
    assert grown['headway_requests_total{release="rl_a",status="200"}'] == 3
    assert grown['headway_requests_total{release="rl_a",status="422"}'] == 1
    assert grown['headway_requests_total{release="",status="400"}'] == 1
    assert grown['headway_request_duration_seconds_bucket{release="rl_a",le="+Inf"}'] == 4
    assert grown['headway_request_duration_seconds_count{release="rl_a"}'] == 4
    assert 0 < grown['headway_request_duration_seconds_sum{release="rl_a"}'] < 1
    assert grown["headway_non_finite_scores_total"] == 1
    assert grown["headway_captured_rows_total"] == 5
    assert after["headway_capture_queued_rows"] == 0


def test_nothing_deployed_yet(traffic: Server) -> None:
    traffic.reroute(RoutingTable(deployment="flights", generation=1))
    assert traffic.call("GET", "/v2/health/live") == (200, {"live": True, "ready": False})
    assert traffic.call("GET", "/v2/health/ready")[0] == 503
    assert traffic.call("GET", "/v2/models/flights/ready") == (503, {"name": "flights", "ready": False})
    status, answer = traffic.infer(request())
    assert status == 503
    assert "no release" in answer["error"]


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/health/ready", "/v2/models/flights/ready", "/ping", "/metrics", "/v1/status"]
)
def test_head_is_get_without_a_body(server: Server, path: str) -> None:
    """What looks after servers often asks so whether they live."""
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    line.request("HEAD", path)
    with line.getresponse() as answer:
        assert (answer.status, answer.read()) == (200, b"")
    assert int(answer.headers["content-length"]) > 0
    line.close()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2", "GET, HEAD"), ("PUT", "/metrics", "GET, HEAD"), ("GET", "/invocations", "POST"),
        ("HEAD", "/v2/models/flights/infer", "POST"), ("OPTIONS", "/v1/predict/flights", "POST"),
    ],
)  # fmt: skip
def test_the_methods_that_a_path_takes_are_told(server: Server, method: str, path: str, allowed: str) -> None:
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    line.request(method, path)
    with line.getresponse() as answer:
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
    line.close()
