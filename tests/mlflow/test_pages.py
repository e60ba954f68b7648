"""Pages of everything that is searched: each thing once, also while others are added between two pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from tests.mlflow.test_protocol import BASE, call, new_experiment, new_run

Search = Callable[..., Any]


def experiments(client: httpx2.Client, name: str) -> None:
    call(client, "POST", "experiments/create", {"name": name})


def registered_models(client: httpx2.Client, name: str) -> None:
    call(client, "POST", "registered-models/create", {"name": name})


def model_versions(client: httpx2.Client, name: str) -> None:
    if name.endswith("0-0"):
        registered_models(client, "paged-versions")
    run = new_run(client)
    body = {"name": "paged-versions", "source": f"mlflow-artifacts:/0/{run}/artifacts/{name}", "run_id": run}
    call(client, "POST", "model-versions/create", body)


def logged_models(client: httpx2.Client, name: str) -> None:
    call(client, "POST", "logged-models", {"experiment_id": "0", "name": name})


def traces(client: httpx2.Client, name: str) -> None:
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    told = {"trace_id": name, "trace_location": location, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}
    call(client, "POST", "traces", {"trace": {"trace_info": told}})


KINDS: list[tuple[Callable[[httpx2.Client, str], None], str, str, dict[str, Any], Callable[[Any], str]]] = [
    (experiments, "experiments/search", "experiments", {}, lambda found: found["name"]),
    (
        experiments, "experiments/search", "experiments", {"order_by": ["name DESC"]},
        lambda found: found["name"],
    ),
    (registered_models, "registered-models/search", "registered_models", {}, lambda found: found["name"]),
    (
        registered_models, "registered-models/search", "registered_models", {"order_by": ["timestamp DESC"]},
        lambda found: found["name"],
    ),
    (
        model_versions, "model-versions/search", "model_versions", {"filter": "name = 'paged-versions'"},
        lambda found: found["source"].rpartition("/")[2],
    ),
    (
        logged_models, "logged-models/search", "models", {"experiment_ids": ["0"]},
        lambda found: found["info"]["name"],
    ),
    (
        traces, "traces/search", "traces", {"locations": [{"mlflow_experiment": {"experiment_id": "0"}}]},
        lambda found: found["trace_id"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("add", "path", "key", "asked", "name_of"), KINDS, ids=[f"{each[1]}-{n}" for n, each in enumerate(KINDS)]
)
def test_each_thing_comes_once(
    author: httpx2.Client, add: Search, path: str, key: str, asked: dict[str, Any], name_of: Search
) -> None:
    before = [f"paged-{path.partition('/')[0]}-{len(asked.get('order_by', ()))}-{number}" for number in range(5)]
    for name in before:
        add(author, name)
    seen, late = list[str](), [f"{before[0]}-late-{number}" for number in (1, 2, 3)]
    for page in _pages(author, path, asked):
        seen += [name_of(found) for found in page[key]]
        if late:
            add(author, late.pop())
    seen = [name for name in seen if name.startswith("paged-")]  # others may have names of which there are two
    assert len(seen) == len(set(seen))
    assert set(before) <= set(seen)


def test_a_token_of_another_search_is_refused(author: httpx2.Client) -> None:
    new_experiment(author)
    new_experiment(author)
    token = call(author, "POST", "experiments/search", {"max_results": 1})["next_page_token"]
    for path, body in [
        ("experiments/search", {"order_by": ["name"]}),
        ("registered-models/search", {}),
        ("runs/search", {"experiment_ids": ["0"]}),
        ("traces/search", {"locations": [{"mlflow_experiment": {"experiment_id": "0"}}]}),
    ]:
        answer = author.post(f"{BASE}/{path}", json={**body, "page_token": token})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def _pages(client: httpx2.Client, path: str, asked: dict[str, Any]) -> Iterator[Any]:
    token = ""
    while True:
        page = call(client, "POST", path, {**asked, "max_results": 2, "page_token": token})
        yield page
        token = page.get("next_page_token", "")
        if not token:
            return
