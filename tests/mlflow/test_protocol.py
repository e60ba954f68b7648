"""The protocol itself: errors in MLflow's shape whatever comes in, limits, who may call, and where paths lead."""

from __future__ import annotations

import base64
import json
import math
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.kernel.access import Role
from headway.kernel.ledger import verify
from headway.server.mlflow.front import _MODULES
from headway.server.mlflow.sending import CutOff
from tests.server.world import World, open_world

BASE = "/api/2.0/mlflow"
ENDPOINTS = [endpoint for module in _MODULES for endpoint in module.ENDPOINTS]
_NUMBERS = count()


def call(client: httpx2.Client, method: str, path: str, body: Any = None, **query: Any) -> Any:
    content = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    answer = client.request(method, f"{BASE}/{path}", content=content, params=query, headers=headers)
    assert answer.is_success, answer.text
    return answer.json()


def new_experiment(client: httpx2.Client) -> str:
    name = f"experiment {next(_NUMBERS)}"
    identifier: str = call(client, "POST", "experiments/create", {"name": name})["experiment_id"]
    return identifier


def new_run(client: httpx2.Client, experiment: str = "0") -> str:
    run = call(client, "POST", "runs/create", {"experiment_id": experiment, "start_time": 1})
    identifier: str = run["run"]["info"]["run_id"]
    return identifier


def refusal(answer: httpx2.Response) -> tuple[int, str]:
    body = answer.json()
    assert body.keys() == {"error_code", "message"}, answer.text
    assert body["message"]
    return answer.status_code, body["error_code"]


BAD = [
    ("POST", "experiments/create", b"[]", 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/create", b"{", 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/create", b"\xff", 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/create", b"{}", 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/create", b'{"name": 3}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/create", b'{"name": ""}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/create", b'{"name": "\\u0000"}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/create", b'{"name": "\\ud800"}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/create", b'{"name":"' + b"n" * 100_000 + b'"}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/create", b'{"name":"' + b"n" * 500_000 + b'"}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/create", b'{"name":"a","tags":' + b"[" * 90_000, 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/create", b'{"name":"a","artifact_location":"s3://x"}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/create", b'{"name":"Default"}', 400, "RESOURCE_ALREADY_EXISTS"),
    ("POST", "experiments/delete", b'{"experiment_id":"0"}', 400, "INVALID_PARAMETER_VALUE"),
    ("GET", "experiments/get?experiment_id=ex_none", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("GET", "experiments/get?experiment_id=%ff", None, 400, "INVALID_PARAMETER_VALUE"),
    ("GET", "experiments/get-by-name?experiment_name=none", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("POST", "experiments/search", b'{"max_results":0}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/search", b'{"max_results":1e99}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/search", b'{"view_type":"SOME"}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/search", b'{"page_token":"!!"}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "experiments/search", b'{"page_token":"eyJvZmZzZXQiOi0xfQ=="}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "runs/create", b'{"start_time":1e30}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "runs/create", b'{"start_time":9223372036854775807}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "runs/create", b'{"start_time":-9223372036854775808}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "runs/create", b'{"tags":[{"key":"k","value":{}}]}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "runs/create", b'{"tags":[1]}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "runs/search", b'{"experiment_ids":"0"}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "runs/search", b'{"experiment_ids":["0"],"filter":"a"}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "runs/search", b'{"experiment_ids":["0"],"max_results":50001}', 400, "INVALID_PARAMETER_VALUE"),
    ("GET", "runs/get?run_id=none", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("GET", "runs/get?run_id=" + "r" * 60_000, None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("POST", "runs/log-metric", b'{"run_id":"none","key":"k","value":1,"timestamp":1}', 404, "RESOURCE_DOES_NOT_EXIST"),
    ("POST", "runs/log-metric", b'{"run_id":"none","key":"k","value":1}', 400, "INVALID_PARAMETER_VALUE"),
    (
        "POST",
        "runs/log-metric",
        b'{"run_id":"none","key":"k","value":"much","timestamp":1}',
        400,
        "INVALID_PARAMETER_VALUE",
    ),
    ("GET", "metrics/get-history?run_id=none&metric_key=k", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("GET", "metrics/get-history-bulk-interval?metric_key=k", None, 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "logged-models", b'{"experiment_id":"none"}', 404, "RESOURCE_DOES_NOT_EXIST"),
    ("GET", "logged-models/m-none", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("PATCH", "logged-models/m-none", b'{"status":"DONE"}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "registered-models/create", b'{"name":"a/b"}', 400, "INVALID_PARAMETER_VALUE"),
    ("GET", "registered-models/get?name=none", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("GET", "model-versions/get?name=none&version=1", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("GET", "model-versions/get?name=none&version=" + "9" * 50, None, 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "model-versions/create", b'{"name":"n","source":"/etc"}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "traces", b'{"trace":{"trace_info":[]}}', 400, "INVALID_PARAMETER_VALUE"),
    ("POST", "traces/search", b'{"locations":[{"mlflow_experiment":[]}]}', 400, "INVALID_PARAMETER_VALUE"),
    ("GET", "scorers/list", None, 404, "ENDPOINT_NOT_FOUND"),
    ("PUT", "runs/create", b"{}", 404, "ENDPOINT_NOT_FOUND"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), BAD)
def test_bad_input_is_refused_in_mlflows_shape(
    author: httpx2.Client, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    answer = author.request(method, f"{BASE}/{path}", content=body, headers={"content-type": "application/json"})
    assert refusal(answer) == (status, code)


def test_another_content_type_is_refused(author: httpx2.Client) -> None:
    answer = author.post(f"{BASE}/experiments/create", content=b'{"name":"x"}', headers={"content-type": "text/plain"})
    assert refusal(answer) == (400, "INVALID_PARAMETER_VALUE")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_body_is_answered_with_a_fault(author: httpx2.Client, data: st.DataObject) -> None:
    endpoint = data.draw(st.sampled_from(ENDPOINTS))
    names = endpoint.ask.__struct_fields__
    fields = data.draw(st.dictionaries(st.sampled_from(names), _JSON)) if names else {}
    path = (
        endpoint.path.replace("{model_id}", "m-x")
        .replace("{trace_id}", "t")
        .replace("{tag_key}", "k")
        .replace("{assessment_id}", "a")
    )
    content = json.dumps(fields).encode(errors="surrogatepass")
    answer = author.request(
        endpoint.method, f"{BASE}/{path}", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code < 500, (endpoint.path, fields, answer.text)
    if not answer.is_success:
        refusal(answer)


def test_limits_of_a_batch(author: httpx2.Client) -> None:
    run = new_run(author)
    metric, pair = {"key": "k", "value": 1, "timestamp": 1}, {"key": "k", "value": "v"}
    for field, item, most in (("metrics", metric, 1000), ("params", pair, 100), ("tags", pair, 100)):
        body = {"run_id": run, field: [{**item, "key": f"k{number}"} for number in range(most + 1)]}
        headers = {"content-type": "application/json"}
        answer = author.post(f"{BASE}/runs/log-batch", content=json.dumps(body).encode(), headers=headers)
        assert refusal(answer) == (400, "INVALID_PARAMETER_VALUE"), field
        body[field].pop()
        call(author, "POST", "runs/log-batch", body)
    for key, value in (("k" * 251, "v"), ("k", "v" * 6001), ("", "v")):
        body = {"run_id": run, "key": key, "value": value}
        answer = author.post(f"{BASE}/runs/log-parameter", json=body)
        assert refusal(answer) == (400, "INVALID_PARAMETER_VALUE")


def test_the_same_again_changes_nothing_and_a_param_never_changes(author: httpx2.Client) -> None:
    run = new_run(author)
    body = {"run_id": run, "metrics": [{"key": "m", "value": "NaN", "timestamp": "5", "step": 1}]}
    body["params"] = [{"key": "p", "value": "1"}]
    for _ in range(3):
        call(author, "POST", "runs/log-batch", body)
    history = call(author, "GET", "metrics/get-history", run_id=run, metric_key="m")
    assert history["metrics"] == [{"key": "m", "value": "NaN", "timestamp": 5, "step": 1}]
    answer = author.post(f"{BASE}/runs/log-parameter", json={"run_id": run, "key": "p", "value": "2"})
    assert refusal(answer) == (400, "INVALID_PARAMETER_VALUE")


def test_a_history_comes_in_pages_and_thinned_for_a_chart(author: httpx2.Client) -> None:
    run = new_run(author)
    points = [{"key": "m", "value": 99 if step == 500 else 0, "timestamp": step, "step": step} for step in range(1000)]
    call(author, "POST", "runs/log-batch", {"run_id": run, "metrics": points})
    seen, token = [], ""
    while True:
        query = {"run_id": run, "metric_key": "m", "max_results": 300, **({"page_token": token} if token else {})}
        page = call(author, "GET", "metrics/get-history", **query)
        seen += [point["step"] for point in page["metrics"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert seen == list(range(1000))
    query = {"run_ids": [run], "metric_key": "m", "start_step": 100, "end_step": 900, "max_results": 50}
    answer = author.get("/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval", params=query).json()
    steps = [point["step"] for point in answer["metrics"]]
    assert len(steps) <= 50
    assert {100, 500, 900} <= set(steps)
    assert answer["metrics"][0]["run_id"] == run


def test_runs_are_headways_own(world: World, author: httpx2.Client) -> None:
    experiment = new_experiment(author)
    parent = new_run(author, experiment)
    tags = [{"key": "mlflow.parentRunId", "value": parent}, {"key": "mlflow.user", "value": "grace"}]
    body = {"experiment_id": experiment, "run_name": "child", "start_time": 1_700_000_000_000, "tags": tags}
    child = call(author, "POST", "runs/create", body)["run"]["info"]["run_id"]
    update = {"run_id": child, "status": "FINISHED", "end_time": 1_700_000_001_000}
    call(author, "POST", "runs/update", update)
    native = author.get(f"/v1/runs/{child}").json()
    assert (native["parent"], native["name"], native["state"], native["user"]) == (parent, "child", "finished", "grace")
    assert native["started_by"] == "a author"
    assert native["ended_at"] == "2023-11-14T22:13:21Z"
    assert [edge.parent for edge in world.application.platform.lineage.parents(child)] == [parent]
    started = author.post("/v1/runs", json={"experiment": "native", "params": {"depth": "3"}}).json()["id"]
    found = call(author, "GET", "runs/get", run_id=started)["run"]
    assert found["data"]["params"] == [{"key": "depth", "value": "3"}]
    assert verify(world.application.platform.ledger) > 0


def test_a_pipelines_run_is_sealed_when_it_is_over(author: httpx2.Client) -> None:
    run = author.post("/v1/runs", json={"experiment": "native", "pipeline": "train"}).json()["id"]
    author.post(f"/v1/runs/{run}/move", json={"state": "finished"}).raise_for_status()
    late = author.post(f"{BASE}/runs/log-metric", json={"run_id": run, "key": "auc", "value": 1, "timestamp": 1})
    assert refusal(late) == (409, "RESOURCE_CONFLICT")
    again = author.post(f"{BASE}/runs/update", json={"run_id": run, "status": "RUNNING"})
    assert refusal(again) == (409, "RESOURCE_CONFLICT")


def test_who_may_call(world: World) -> None:
    path = f"{BASE}/experiments/get?experiment_id=0"

    def basic(user: str, password: str) -> dict[str, str]:
        return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}

    secret = world.secrets[Role.READER]
    with world.client(None) as nobody:
        answer = nobody.get(path)
        assert refusal(answer) == (401, "UNAUTHENTICATED")
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert nobody.get(path, headers=basic("a reader", secret)).is_success
        assert nobody.get(path, headers={"authorization": f"Bearer {secret}"}).is_success
        for headers in (
            basic("ada", secret),
            basic("a reader", "x"),
            {"authorization": "Basic !"},
            {"authorization": "Basic"},
        ):
            assert refusal(nobody.get(path, headers=headers)) == (401, "UNAUTHENTICATED")
        for endpoint in ENDPOINTS:
            answer = nobody.request(endpoint.method, f"{BASE}/{endpoint.path}")
            assert refusal(answer) == (401, "UNAUTHENTICATED"), endpoint.path
        assert refusal(nobody.put("/api/2.0/mlflow-artifacts/artifacts/0/r/artifacts/a", content=b"a"))[0] == 401
        assert refusal(nobody.get("/get-artifact?run_uuid=r&path=a"))[0] == 401
    with world.client(Role.READER) as reader:
        answer = reader.post(f"{BASE}/experiments/create", json={"name": "mine"})
        assert refusal(answer) == (403, "PERMISSION_DENIED")


FILES = "/api/2.0/mlflow-artifacts/artifacts"


def test_artifacts_are_named_blobs(author: httpx2.Client) -> None:
    run = new_run(author)
    root = f"{FILES}/0/{run}/artifacts"
    for name, content in (("a.txt", b"one"), ("deep/er/b.html", b"<script>"), ("empty", b""), ("a.txt", b"two")):
        assert author.put(f"{root}/{name}", content=content).json() == {}
    assert author.get(f"{root}/a.txt").content == b"two"
    listed = author.get(FILES, params={"path": f"0/{run}/artifacts/deep"}).json()
    assert listed == {"files": [{"path": "er", "is_dir": True}]}
    page = author.get("/get-artifact", params={"run_uuid": run, "path": "deep/er/b.html"})
    assert page.content == b"<script>"
    assert page.headers["content-disposition"].startswith("attachment")
    assert page.headers["x-content-type-options"] == "nosniff"
    named = call(author, "GET", "artifacts/list", run_id=run)
    assert [file["path"] for file in named["files"]] == ["a.txt", "deep", "empty"]
    assert [each["name"] for each in author.get(f"/v1/runs/{run}/artifacts").json()] == [
        "a.txt",
        "deep/er/b.html",
        "empty",
    ]
    assert author.delete(f"{root}/deep").is_success
    assert refusal(author.get(f"{root}/deep/er/b.html")) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "..%2fx",
        "%2e%2e/x",
        "%252e%252e/x",
        "a/%2e%2e/%2e%2e/x",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "a%5cb",
        "a%00",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_path_leads_nowhere_else(author: httpx2.Client, world: World, name: str, method: str) -> None:
    run = new_run(author)
    answer = author.request(method, f"{FILES}/0/{run}/artifacts/{name}", content=b"x" if method == "PUT" else None)
    assert answer.status_code in (400, 404), answer.text
    listed = author.get(FILES, params={"path": f"0/{run}/artifacts/{name}"})
    assert listed.status_code in (400, 404) or (".." not in name and listed.json() == {"files": []})
    assert not world.application.platform.artifacts.below(run)


def test_an_upload_that_is_too_large_leaves_nothing(author: httpx2.Client, world: World) -> None:
    run = new_run(author)
    answer = author.put(f"{FILES}/0/{run}/artifacts/big", content=b"x" * 500_001)
    assert refusal(answer) == (400, "INVALID_PARAMETER_VALUE")
    assert not world.application.platform.artifacts.below(run)
    assert not list(world.application.home.uploads.iterdir())


def test_a_version_shares_its_numbers_and_its_source_is_inside_its_run(author: httpx2.Client) -> None:
    run, other = new_run(author), new_run(author)
    call(author, "POST", "registered-models/create", {"name": "shared"})
    source = f"mlflow-artifacts:/0/{run}/artifacts/model"
    for wrong in (f"mlflow-artifacts:/0/{other}/artifacts/model", "/etc", f"{source}/../../x", f"{source}/%2e%2e"):
        answer = author.post(f"{BASE}/model-versions/create", json={"name": "shared", "source": wrong, "run_id": run})
        assert refusal(answer) == (400, "INVALID_PARAMETER_VALUE"), wrong
    for number in ("1", "2"):
        body = {"name": "shared", "source": source, "run_id": run}
        assert call(author, "POST", "model-versions/create", body)["model_version"]["version"] == number
    call(author, "DELETE", "model-versions/delete", {"name": "shared", "version": "2"})
    assert call(author, "POST", "model-versions/create", body)["model_version"]["version"] == "3"


def test_metrics_of_a_logged_model_can_be_searched(author: httpx2.Client) -> None:
    experiment = new_experiment(author)
    run, models = new_run(author, experiment), []
    for auc in (0.5, math.nan, 0.9):
        body = {"experiment_id": experiment, "name": "m", "source_run_id": run, "model_type": "c"}
        models.append(call(author, "POST", "logged-models", body)["model"]["info"]["model_id"])
        value = "NaN" if math.isnan(auc) else auc
        metric = {"key": "auc", "value": value, "timestamp": 1, "model_id": models[-1], "dataset_name": "d"}
        call(author, "POST", "runs/log-batch", {"run_id": run, "metrics": [metric]})
    order = [{"field_name": "metrics.auc", "ascending": False}]
    body = {"experiment_ids": [experiment], "order_by": order}
    found = call(author, "POST", "logged-models/search", body)["models"]
    assert [model["info"]["model_id"] for model in found] == [models[2], models[0], models[1]]
    body = {"experiment_ids": [experiment], "filter": "metrics.auc > 0.6", "datasets": [{"dataset_name": "d"}]}
    assert len(call(author, "POST", "logged-models/search", body)["models"]) == 1


def test_a_large_file_is_sent_piece_by_piece_and_a_damaged_one_never_whole(tmp_path: Path) -> None:
    opened = open_world(tmp_path / ".headway")
    with opened.client(Role.AUTHOR) as author:
        run, content = new_run(author), bytes(range(256)) * 12_000
        path = f"{FILES}/0/{run}/artifacts/large"
        assert author.put(path, content=content).is_success
        answer = author.get(path)
        assert answer.content == content
        assert answer.headers["content-length"] == str(len(content))
        artifact = opened.application.platform.artifacts.named(run, "large")
        Path(opened.application.blobs.address(artifact.blob)).write_bytes(content[:-1] + b"!")
        with pytest.raises(CutOff):
            author.get(path)
    opened.close()
