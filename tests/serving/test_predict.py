"""Predictions by named features, and that their OpenAPI document says what the server does."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.lifecycle.rollouts.routing import RoutingTable
from headway.serving.counters import ServerCounters
from headway.serving.dialects.predict import PREDICTION, openapi
from headway.serving.inference import Inference
from headway.serving.loaded import LoadedTable
from tests.serving.processes import Server, request
from tests.serving.test_tensors import TABLE, Sink

GOOD = {"temp": 70, "carrier": "UA"}


def predict(server: Server, body: Any) -> tuple[int, Any]:
    return server.call("POST", "/v1/predict/flights", body)


def test_label_and_score(server: Server) -> None:
    label, probabilities = server.infer(request(70.0, "UA"))[1]["outputs"]
    status, answer = predict(server, {"features": GOOD, "id": "p-1", "key": 7, "event_at": "2013-01-01T00:00:00Z"})
    assert status == 200
    assert answer.pop("score") == pytest.approx(probabilities["data"][1])
    assert answer == {"id": "p-1", "label": label["data"][0], "release": "rl_a", "model": "late", "version": 1}
    assert "p-1" in server.rows()["_prediction"].to_list()


def test_a_missing_number(server: Server) -> None:
    status, answer = predict(server, {"features": GOOD | {"temp": None}})
    assert (status, answer["score"]) == (200, None)


WRONG: dict[str, tuple[Any, int, list[str]]] = {
    "missing": ({"features": {"temp": 1}}, 422, ["carrier"]),
    "unknown": ({"features": GOOD | {"tmp": 1}}, 422, ["tmp"]),
    "text as number": ({"features": GOOD | {"temp": "70"}}, 422, ["temp"]),
    "list": ({"features": GOOD | {"temp": [70]}}, 422, ["temp"]),
    "null text": ({"features": GOOD | {"carrier": None}}, 422, ["carrier"]),
    "contract": ({"features": {"temp": 131, "carrier": "ZZ"}}, 422, ["temp", "carrier"]),
    "other field": ({"features": GOOD, "feature": 1}, 400, []),
    "no JSON": (b"{", 400, []),
    "no features": ({}, 400, []),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_features_are_named(server: Server, case: str) -> None:
    body, expected, fields = WRONG[case]
    status, answer = predict(server, body)
    assert (status, answer["fields"], set(answer)) == (expected, fields, {"error", "fields"})
    assert all(field in answer["error"] for field in fields)


def test_paths(server: Server) -> None:
    assert server.call("POST", "/v1/predict/nix", {"features": GOOD})[0] == 404
    assert server.call("GET", "/v1/predict/flights")[0] == 405
    document = server.call("GET", "/v1/openapi.json")[1]
    assert (document["openapi"], list(document["paths"])) == ("3.1.0", ["/v1/predict/flights"])


def schemas(table: LoadedTable) -> tuple[Any, dict[str, Any]]:
    post = json.loads(json.dumps(openapi(table)))["paths"]["/v1/predict/flights"]["post"]
    answers = {status: each["content"]["application/json"]["schema"] for status, each in post["responses"].items()}
    return post["requestBody"]["content"]["application/json"]["schema"], answers


def test_the_document_has_the_contract() -> None:
    features = schemas(TABLE)[0]["properties"]["features"]
    assert features["required"] == ["temp", "carrier"]
    assert features["properties"] == {
        "temp": {"type": ["number", "null"], "minimum": -40, "maximum": 130},
        "carrier": {"type": "string", "enum": ["AA", "B6", "UA"]},
    }
    assert openapi(LoadedTable(RoutingTable(deployment="flights", generation=1), ()))["paths"] == {}


VALUES = st.none() | st.booleans() | st.integers(-50, 150) | st.floats(-50, 150) | st.sampled_from(["AA", "UA", "ZZ"])
BODIES = st.fixed_dictionaries(
    {"features": st.dictionaries(st.sampled_from(["temp", "carrier", "x"]), VALUES | st.lists(VALUES, max_size=2))},
    optional={"id": st.text(max_size=5) | st.integers(), "key": VALUES, "nix": VALUES},
)
ASKED, ANSWERED = schemas(TABLE)
IS_ASKED, IS_ANSWERED = (
    jsonschema_rs.validator_for(ASKED),
    {int(status): jsonschema_rs.validator_for(schema) for status, schema in ANSWERED.items()},
)


@settings(max_examples=300, deadline=None)
@given(BODIES)
def test_the_document_says_what_is_taken_and_answered(body: Any) -> None:
    answer = Inference(ServerCounters(), Sink()).answer(TABLE, json.dumps(body).encode(), dialect=PREDICTION)
    assert IS_ANSWERED[answer.status].is_valid(json.loads(answer.body))
    assert (answer.status == 200) == IS_ASKED.is_valid(body)
