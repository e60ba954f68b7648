"""Requests in which something is wrong, or that go to the edge of what is taken, to be put to two servers alike.

`{experiment}`, `{run}`, `{deleted}` (a run), `{model}`, `{trace}` stand for what the server itself made.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import httpx2


class Turn(NamedTuple):
    name: str
    method: str
    path: str
    body: Any = None


TURNS = (
    Turn("experiment twice", "POST", "experiments/create", {"name": "there"}),
    Turn("experiment without a name", "POST", "experiments/create", {}),
    Turn("experiment with an empty name", "POST", "experiments/create", {"name": ""}),
    Turn("experiment whose name is a number", "POST", "experiments/create", {"name": 3}),
    Turn("experiment with a long name", "POST", "experiments/create", {"name": "n" * 501}),
    Turn("experiment that is not", "GET", "experiments/get?experiment_id=123456"),
    Turn("experiment of no name that is", "GET", "experiments/get-by-name?experiment_name=none"),
    Turn("experiment without an id", "GET", "experiments/get"),
    Turn("experiment deleted that is not", "POST", "experiments/delete", {"experiment_id": "123456"}),
    Turn("experiment restored that is not deleted", "POST", "experiments/restore", {"experiment_id": "{experiment}"}),
    Turn("experiment renamed to one there", "POST", "experiments/update",
         {"experiment_id": "{experiment}", "new_name": "there"}),
    Turn("experiments by a filter that is none", "POST", "experiments/search", {"max_results": 5, "filter": "x = 3"}),
    Turn("experiments, none at all", "POST", "experiments/search", {"max_results": 0}),
    Turn("experiments, too many", "POST", "experiments/search", {"max_results": 100_000}),
    Turn("experiments by a broken page token", "POST", "experiments/search", {"max_results": 1, "page_token": "!"}),
    Turn("run in no experiment", "POST", "runs/create", {"experiment_id": "123456"}),
    Turn("run whose two names differ", "POST", "runs/create", {
        "experiment_id": "{experiment}", "run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}],
    }),
    Turn("run that is not", "GET", "runs/get?run_id=none"),
    Turn("run without an id", "GET", "runs/get"),
    Turn("run updated to no status", "POST", "runs/update", {"run_id": "{run}", "status": "DONE"}),
    Turn("run deleted that is not", "POST", "runs/delete", {"run_id": "none"}),
    Turn("run restored that is not deleted", "POST", "runs/restore", {"run_id": "{run}"}),
    Turn("run deleted twice", "POST", "runs/delete", {"run_id": "{deleted}"}),
    Turn("metric to a run that is not", "POST", "runs/log-metric", {"run_id": "none", "key": "k", "value": 1}),
    Turn("metric that is a text", "POST", "runs/log-metric",
         {"run_id": "{run}", "key": "k", "value": "much", "timestamp": 1}),
    Turn("metric without a key", "POST", "runs/log-metric", {"run_id": "{run}", "value": 1, "timestamp": 1}),
    Turn("metric without a time", "POST", "runs/log-metric", {"run_id": "{run}", "key": "k", "value": 1}),
    Turn("metric with a long key", "POST", "runs/log-metric",
         {"run_id": "{run}", "key": "k" * 251, "value": 1, "timestamp": 1}),
    Turn("metric to a deleted run", "POST", "runs/log-metric",
         {"run_id": "{deleted}", "key": "k", "value": 1, "timestamp": 1}),
    Turn("metric that is infinite", "POST", "runs/log-metric",
         {"run_id": "{run}", "key": "far", "value": "Infinity", "timestamp": 1}),
    Turn("param that changes", "POST", "runs/log-parameter", {"run_id": "{run}", "key": "p", "value": "2"}),
    Turn("param that stays", "POST", "runs/log-parameter", {"run_id": "{run}", "key": "p", "value": "1"}),
    Turn("param with a long value", "POST", "runs/log-parameter", {"run_id": "{run}", "key": "l", "value": "v" * 6001}),
    Turn("tag with a long value", "POST", "runs/set-tag", {"run_id": "{run}", "key": "t", "value": "v" * 8001}),
    Turn("tag deleted that is not", "POST", "runs/delete-tag", {"run_id": "{run}", "key": "none"}),
    Turn("batch of too many params", "POST", "runs/log-batch",
         {"run_id": "{run}", "params": [{"key": f"k{n}", "value": "v"} for n in range(101)]}),
    Turn("batch with a param twice", "POST", "runs/log-batch",
         {"run_id": "{run}", "params": [{"key": "q", "value": "1"}, {"key": "q", "value": "2"}]}),
    Turn("runs by a filter that is none", "POST", "runs/search",
         {"experiment_ids": ["{experiment}"], "filter": "metrics.a"}),
    Turn("runs by OR", "POST", "runs/search",
         {"experiment_ids": ["{experiment}"], "filter": "metrics.a > 1 OR metrics.a < 0"}),
    Turn("runs by a metric that is a text", "POST", "runs/search",
         {"experiment_ids": ["{experiment}"], "filter": "metrics.a > 'x'"}),
    Turn("runs, too many", "POST", "runs/search", {"experiment_ids": ["{experiment}"], "max_results": 50_001}),
    Turn("runs in an experiment that is not", "POST", "runs/search", {"experiment_ids": ["123456"]}),
    Turn("runs in no order", "POST", "runs/search", {"experiment_ids": ["{experiment}"], "order_by": ["metrics.a UP"]}),
    Turn("history of a run that is not", "GET", "metrics/get-history?run_id=none&metric_key=k"),
    Turn("history of a metric that is not", "GET", "metrics/get-history?run_id={run}&metric_key=none"),
    Turn("model twice", "POST", "registered-models/create", {"name": "{model}"}),
    Turn("model with an empty name", "POST", "registered-models/create", {"name": ""}),
    Turn("model with a slash in its name", "POST", "registered-models/create", {"name": "a/b"}),
    Turn("model that is not", "GET", "registered-models/get?name=none"),
    Turn("model renamed to one there", "POST", "registered-models/rename", {"name": "{model}", "new_name": "other"}),
    Turn("model deleted that is not", "DELETE", "registered-models/delete", {"name": "none"}),
    Turn("alias that is not", "GET", "registered-models/alias?name={model}&alias=none"),
    Turn("alias that is reserved", "POST", "registered-models/alias",
         {"name": "{model}", "alias": "latest", "version": "1"}),
    Turn("alias for a version that is not", "POST", "registered-models/alias",
         {"name": "{model}", "alias": "a", "version": "9"}),
    Turn("version that is not", "GET", "model-versions/get?name={model}&version=9"),
    Turn("version that is no number", "GET", "model-versions/get?name={model}&version=one"),
    Turn("version of a model that is not", "POST", "model-versions/create",
         {"name": "none", "source": "mlflow-artifacts:/0/x/artifacts/m"}),
    Turn("version from a file of the server", "POST", "model-versions/create", {"name": "{model}", "source": "/etc"}),
    Turn("version moved to no stage", "POST", "model-versions/transition-stage",
         {"name": "{model}", "version": "1", "stage": "Nowhere", "archive_existing_versions": False}),
    Turn("versions by a filter that is none", "GET", "model-versions/search?filter=color%3D%27red%27"),
    Turn("models, too many", "GET", "registered-models/search?max_results=1001"),
    Turn("logged model that is not", "GET", "logged-models/m-none"),
    Turn("logged model in no experiment", "POST", "logged-models", {"experiment_id": "123456", "name": "m"}),
    Turn("logged model with no status", "PATCH", "logged-models/m-none", {"model_id": "m-none", "status": "DONE"}),
    Turn("trace that is not", "GET", "traces/tr-none"),
    Turn("trace that is not, with spans", "GET", "traces/get?trace_id=tr-none"),
    Turn("tag of a trace that is not", "PATCH", "traces/tr-none/tags", {"key": "k", "value": "v"}),
    Turn("traces by a filter that is none", "POST", "traces/search", {
        "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "{experiment}"}}],
        "filter": "color = 'red'",
    }),
    Turn("assessment of a trace that is not", "GET", "traces/tr-none/assessments/a-none"),
    Turn("traces deleted by nothing", "POST", "traces/delete-traces", {"experiment_id": "{experiment}"}),
    Turn("call that is not", "GET", "nothing/get"),
    Turn("call by another method", "PUT", "runs/create", {}),
    Turn("body that is a list", "POST", "experiments/create", []),
)  # fmt: skip


class Answered(NamedTuple):
    status: int
    code: str
    message: str


def put_to(client: httpx2.Client) -> dict[str, Answered]:
    """The answers of a server by the name of the turn."""
    made = _prepared(client)
    return {turn.name: _answered(client, turn, made) for turn in TURNS}


def _prepared(client: httpx2.Client) -> dict[str, str]:
    def post(path: str, body: Any) -> Any:
        answer = client.post(f"/api/2.0/mlflow/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    post("experiments/create", {"name": "there"})
    experiment = post("experiments/create", {"name": "for runs"})["experiment_id"]
    run, deleted = (
        post("runs/create", {"experiment_id": experiment, "start_time": 1})["run"]["info"]["run_id"] for _ in range(2)
    )
    post("runs/log-parameter", {"run_id": run, "key": "p", "value": "1"})
    post("runs/delete", {"run_id": deleted})
    for name in ("a model", "other"):
        post("registered-models/create", {"name": name})
    source = f"mlflow-artifacts:/{experiment}/{run}/artifacts/model"
    post("model-versions/create", {"name": "a model", "source": source, "run_id": run})
    return {"{experiment}": experiment, "{run}": run, "{deleted}": deleted, "{model}": "a model"}


def _answered(client: httpx2.Client, turn: Turn, made: dict[str, str]) -> Answered:
    version = "3.0" if turn.path.startswith("traces") else "2.0"
    url = f"/api/{version}/mlflow/{_filled(turn.path, made)}"
    if turn.body is None:
        answer = client.request(turn.method, url)
    else:
        answer = client.request(turn.method, url, json=_filled(turn.body, made))
    try:
        body = answer.json()
    except ValueError:
        return Answered(answer.status_code, "no JSON", answer.text)
    return Answered(answer.status_code, body.get("error_code", ""), body.get("message", ""))


def _filled(value: Any, made: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, made) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, made) for item in value]
    if isinstance(value, str):
        for name, identifier in made.items():
            value = value.replace(name, identifier)
    return value
