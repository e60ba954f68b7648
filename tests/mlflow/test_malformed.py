"""Malformed input to every call of MLflow's protocol: refused in its shape, and nothing breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from headway.kernel.access import Role
from headway.server.mlflow.front import _MODULES
from headway.server.mlflow.routing import Endpoint
from tests.server.odd import BODIES, odd_objects
from tests.server.world import World

BASE = "/api/2.0/mlflow/"
JSON = {"content-type": "application/json"}
ENDPOINTS = [endpoint for module in _MODULES for endpoint in module.ENDPOINTS]
WRITES = [each for each in ENDPOINTS if each.method != "GET"]


@pytest.fixture(scope="module")
def owner(world: World) -> Iterator[httpx2.Client]:
    with world.client(Role.OWNER) as client:
        yield client


@pytest.fixture(scope="module")
def good(owner: httpx2.Client) -> dict[str, Any]:
    """Fields that name what is there, so that the odd one is looked at."""

    def made(path: str, body: Any) -> Any:
        answer = owner.post(BASE + path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    run = made("runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]["run_id"]
    model = made("logged-models", {"experiment_id": "0", "name": "m", "source_run_id": run})["model"]["info"][
        "model_id"
    ]
    name = f"odd-{run[-12:]}"  # the fixture may be made again, in the same world
    made("registered-models/create", {"name": name})
    made("model-versions/create", {"name": name, "source": f"models:/{model}", "run_id": run})
    hook = {"name": name, "url": "https://hooks.invalid/", "events": [{"entity": "PROMPT", "action": "CREATED"}]}
    webhook = made("webhooks", hook)["webhook"]["webhook_id"]
    return {
        "name": name,
        "run_id": run,
        "run_uuid": run,
        "experiment_id": "0",
        "experiment_ids": ["0"],
        "model_id": model,
        "version": "1",
        "webhook_id": webhook,
        "alias": "a",
        "key": "k",
        "value": "v",
        "stage": "Staging",
        "status": "",
        "source": f"models:/{model}",
        "source_run_id": run,
        "metric_key": "k",
        "run_ids": [run],
        "url": "https://a.example",
    }


def checked(answer: httpx2.Response, asked: object) -> None:
    assert answer.status_code < 500, (asked, answer.text)
    assert answer.headers["content-type"] == "application/json"
    if answer.status_code >= 400:
        assert answer.json().keys() == {"error_code", "message"}, (asked, answer.text)
        assert answer.json()["error_code"] != "INTERNAL_ERROR"
        assert len(answer.content) < 20_000, (asked, answer.text)


def path_of(endpoint: Endpoint, good: dict[str, Any]) -> str:
    return BASE + endpoint.path.format_map(
        {**good, "key": "k", "tag_key": "k", "request_id": "tr-1", "trace_id": "tr-1", "assessment_id": "a"}
    )


@pytest.mark.parametrize("endpoint", WRITES, ids=lambda each: f"{each.method} {each.path}")
def test_a_body_of_any_kind(owner: httpx2.Client, good: dict[str, Any], endpoint: Endpoint) -> None:
    path = path_of(endpoint, good)
    for what, body in BODIES.items():
        answer = owner.request(endpoint.method, path, content=body, headers=JSON)
        checked(answer, what)
        if what not in ("nothing", "an unknown field", "twice the same key", "a byte order mark", "NaN"):
            assert answer.status_code in (400, 404), (what, answer.text)
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml", ""):
        answer = owner.request(endpoint.method, path, content=b"{}", headers={"content-type": media_type})
        checked(answer, media_type)
        assert answer.status_code == 400, media_type


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"])
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: f"{each.method} {each.path}")
def test_an_odd_value_in_any_field(owner: httpx2.Client, good: dict[str, Any], endpoint: Endpoint, every: int) -> None:
    if endpoint.path in ("runs/delete", "experiments/delete", "webhooks/{webhook_id}") and endpoint.method != "PATCH":
        return
    path = path_of(endpoint, good)
    for body in odd_objects(endpoint.ask, good, every):
        checked(owner.request(endpoint.method, path, content=body, headers=JSON), body[:300])
