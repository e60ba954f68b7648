"""MLflow's scoring protocol: every form it has gives the same predictions; every wrong one has its error's shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.lifecycle.models.records import Datatype, Signature, TensorSpec
from headway.lifecycle.rollouts.routing import Route, RoutingTable
from headway.serving.capture.segments import segment
from headway.serving.counters import ServerCounters
from headway.serving.dialects.mlflow import MLFLOW
from headway.serving.inference import Inference
from headway.serving.loaded import LoadedRoute, LoadedTable
from headway.serving.messages import Answer, Head
from headway.serving.tensors import Feed
from tests.serving.processes import SIGNATURE, Server, request
from tests.serving.test_tensors import TABLE, Sink

SAME: dict[str, Any] = {
    "dataframe_split": {"columns": ["carrier", "temp"], "index": [0, 1], "data": [["AA", 20], ["UA", 70.0]]},
    "dataframe_records": [{"temp": 20, "carrier": "AA"}, {"temp": 70, "carrier": "UA", "other": 1}],
    "instances": [{"temp": 20, "carrier": "AA"}, {"temp": 70, "carrier": "UA"}],
    "inputs": {"temp": [20, 70], "carrier": [["AA"], ["UA"]], "other": [1, 2]},
}
CSV = 'temp,carrier,other\n20,"AA",1\r\n7e1,UA,2\n'


def invoke(server: Server, body: Any, content_type: str = "application/json") -> tuple[int, Any]:
    return server.call("POST", "/invocations", body, {"Content-Type": content_type})


@pytest.fixture(scope="module")
def wanted(server: Server) -> list[dict[str, Any]]:
    labels, probabilities = (each["data"] for each in server.infer(request([20.0, 70.0], ["AA", "UA"]))[1]["outputs"])
    return [{"label": labels[row], "probabilities": probabilities[2 * row : 2 * row + 2]} for row in (0, 1)]


@pytest.mark.parametrize("form", SAME)
def test_every_form_is_the_same(server: Server, wanted: list[dict[str, Any]], form: str) -> None:
    assert invoke(server, {form: SAME[form]}) == (200, {"predictions": wanted})


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_rows_in_the_models_order(server: Server, wanted: list[dict[str, Any]], form: str) -> None:
    assert invoke(server, {form: [[20, "AA"], [70, "UA"]]}) == (200, {"predictions": wanted})
    assert invoke(server, {"dataframe_split": {"data": [[20, "AA"], [70, "UA"]]}})[0] == 200


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv; charset=UTF-8", 'Text/CSV;charset="utf-8"'])
def test_csv(server: Server, wanted: list[dict[str, Any]], content_type: str) -> None:
    assert invoke(server, CSV.encode(), content_type) == (200, {"predictions": wanted})


def test_what_is_missing_stays_missing(server: Server) -> None:
    nothing = {"label": 0, "probabilities": [None, None]}
    for body, content_type in (
        (b"temp,carrier\n,AA\n", "text/csv"),
        (json.dumps({"dataframe_records": [{"temp": None, "carrier": "AA"}]}).encode(), "application/json"),
    ):
        status, answer = invoke(server, body, content_type)
        assert (status, answer["predictions"][0]["probabilities"]) == (200, nothing["probabilities"])


def test_params_name_predictions(server: Server) -> None:
    params = {"prediction_ids": ["m-1", "m-2"], "key": "k", "temperature": 0.5}
    assert invoke(server, {"instances": SAME["instances"], "params": params})[0] == 200
    assert {"m-1", "m-2"} <= set(server.rows()["_prediction"])


def test_its_other_pages(server: Server) -> None:
    for path in ("/ping", "/health"):
        assert server.call("GET", path) == (200, b"\n")
    assert server.call("GET", "/version")[0] == 200
    assert server.call("GET", "/invocations")[0] == 405


WRONG: dict[str, tuple[Any, str, int, str]] = {
    "none": ({}, "application/json", 400, "exactly one"),
    "two": (SAME, "application/json", 400, "exactly one"),
    "no JSON": (b"temp", "application/json", 400, "not a scoring request"),
    "no rows": ({"instances": []}, "application/json", 400, "no rows"),
    "a scalar": ({"inputs": {"temp": 1, "carrier": {}}}, "application/json", 400, "carrier"),
    "missing feature": ({"dataframe_records": [{"tmp": 1, "carrier": "AA"}]}, "application/json", 400, "temp"),
    "column twice": (
        {"dataframe_split": {"columns": ["temp"] * 2, "data": [[1, 2]]}},
        "application/json",
        400,
        "twice",
    ),
    "ragged": ({"dataframe_split": {"columns": ["temp"], "data": [[1, 2]]}}, "application/json", 400, "1 values"),
    "width": ({"instances": [[1]]}, "application/json", 400, "temp, carrier"),
    "lengths": ({"inputs": {"temp": [1, 2], "carrier": ["AA"]}}, "application/json", 400, "rows"),
    "contract": ({"instances": [[999, "AA"]]}, "application/json", 422, "temp"),
    "text cell": (b"temp,carrier\nx,AA\n", "text/csv", 400, "temp"),
    "long row": (b"temp,carrier\n1,AA,3\n", "text/csv", 400, "2 cells"),
    "only names": (b"temp,carrier\n", "text/csv", 400, "no rows"),
    "empty": (b"", "text/csv", 400, "its first line is empty"),
    "empty line": (b"\n1,AA\n", "text/csv", 400, "its first line is empty"),
    "NaN": (b'{"inputs": {"temp": [NaN], "carrier": ["AA"]}}', "application/json", 400, "a missing number is null"),
    "open quote": (b'temp,carrier\n1,"AA', "text/csv", 400, "CSV"),
    "form": (b"temp=1", "application/x-www-form-urlencoded", 415, "form"),
    "charset": (b"{}", "application/json; charset=latin-1", 415, "latin-1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_requests_have_the_shape_of_mlflow(server: Server, case: str) -> None:
    body, content_type, expected, named = WRONG[case]
    status, answer = invoke(server, body, content_type)
    assert (status, set(answer)) == (expected, {"error_code", "message"})
    assert named in answer["message"]


class Echo:
    """Gives back its only input, as FP64."""

    def run(self, feed: Feed) -> list[Any]:
        return [feed["x"].astype("f8")]


def asked_of(width: int, datatype: Datatype, body: Any) -> Answer:
    spec = TensorSpec(name="x", datatype=datatype, shape=(-1, width))
    score = TensorSpec(name="score", datatype=Datatype.FP64, shape=(-1, width))
    signature = Signature(inputs=(spec,), outputs=(score,), score="score")
    route = Route(release="rl", model="m", version=1, blob="", signature=signature, percent=100)
    table = LoadedTable(RoutingTable(deployment="d", generation=1, routes=(route,)), (LoadedRoute(route, Echo()),))
    return Inference(ServerCounters(), Sink()).answer(table, json.dumps(body).encode(), dialect=MLFLOW)


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [[1, 2], [3, 4]]},
        {"inputs": {"x": [[1, 2], [3, 4]]}},
        {"inputs": {"x_1": [2, 4], "x_0": [1, 3]}},
        {"dataframe_records": [{"x_0": 1, "x_1": 2}, {"x_0": 3, "x_1": 4}]},
    ],
)
def test_a_wide_tensor_and_a_single_output(body: Any) -> None:
    answer = asked_of(2, Datatype.FP32, body)
    assert (answer.status, json.loads(answer.body)) == (200, {"predictions": [[1, 2], [3, 4]]})


def test_whole_floats_are_integers() -> None:
    assert json.loads(asked_of(1, Datatype.INT64, {"instances": [3.0]}).body) == {"predictions": [[3.0]]}
    assert asked_of(1, Datatype.INT64, {"instances": [3.5]}).status == 400


CELLS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
ROWS = st.lists(
    st.lists(CELLS, max_size=3) | st.dictionaries(st.sampled_from(["temp", "carrier", "x"]), CELLS), max_size=3
)
FORMS = st.dictionaries(st.sampled_from(list(SAME)), ROWS | st.dictionaries(st.sampled_from(["temp", "carrier"]), ROWS))


@settings(max_examples=250, deadline=None)
@given(
    FORMS.map(lambda body: json.dumps(body).encode()) | st.binary(max_size=40) | st.text(max_size=40).map(str.encode),
    st.sampled_from([b"", b"application/json", b"text/csv", b"\xff;;charset"]) | st.binary(max_size=20),
)
def test_random_requests_are_refused_or_answered(body: bytes, content_type: bytes) -> None:
    sink = Sink()
    answer = Inference(ServerCounters(), sink).answer(TABLE, body, Head(content_type=content_type), MLFLOW)
    assert answer.status in (200, 400, 415, 422)
    assert segment(sink.exchanges, SIGNATURE.inputs).tally.rows == sink.exchanges[0].rows
