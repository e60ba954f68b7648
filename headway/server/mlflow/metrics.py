"""Params and metrics that runs log, as MLflow's clients speak of them."""

from __future__ import annotations

from collections.abc import Sequence

from headway.errors import Invalid
from headway.kernel.records import json_numbers
from headway.lifecycle.runs.curve import FEWEST, Curve
from headway.lifecycle.runs.logged import ModelMetric
from headway.lifecycle.runs.records import AmendRun, LogBatch, Metric
from headway.server.mlflow.routing import Endpoint
from headway.server.mlflow.runs import NAME_TAG, RunId, native_model, shown_metric
from headway.server.mlflow.wire import (
    Answer,
    Ask,
    Desk,
    KeyValue,
    checked_most,
    moment,
    number_token,
    offset_of,
    tags_of,
    with_next,
)

MOST_METRICS, MOST_PARAMS, MOST_TAGS, MOST_ITEMS = 1000, 100, 100, 1000
LONGEST_PARAM = 6000
_MOST_RUNS, _MOST_POINTS, _AT_ONCE = 100, 2500, 10_000
_INT64 = 1 << 63
_LAST_MS = 253_402_300_800_000
"""The year 10,000, which no calendar of ours has."""


class GivenMetric(Ask):
    key: str
    value: float
    timestamp: int
    step: int = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class LogMetric(GivenMetric):
    run_id: str = ""
    run_uuid: str = ""

    @property
    def run(self) -> str:
        return self.run_id or self.run_uuid


class LogParam(RunId, kw_only=True):
    key: str
    value: str = ""


class LogAll(RunId):
    metrics: list[GivenMetric] = []
    params: list[KeyValue] = []
    tags: list[KeyValue] = []


class History(RunId, kw_only=True):
    metric_key: str
    page_token: str = ""
    max_results: int | None = None


class BulkHistory(Ask, kw_only=True):
    run_id: list[str] = []
    metric_key: str
    max_results: int = 25_000


class BulkInterval(Ask, kw_only=True):
    run_ids: list[str] = []
    metric_key: str
    start_step: int | None = None
    end_step: int | None = None
    max_results: int = _MOST_POINTS


def log_metric(ask: LogMetric, desk: Desk) -> Answer:
    return _log(ask.run, [ask], {}, {}, desk)


def log_param(ask: LogParam, desk: Desk) -> Answer:
    return _log(ask.run, [], _params([ask]), {}, desk)


def log_batch(ask: LogAll, desk: Desk) -> Answer:
    sizes = {"metrics": len(ask.metrics), "params": len(ask.params), "tags": len(ask.tags)}
    limits = {"metrics": MOST_METRICS, "params": MOST_PARAMS, "tags": MOST_TAGS}
    for name, most in limits.items():
        if sizes[name] > most:
            raise Invalid(f"a batch holds at most {most} {name}, not {sizes[name]}; send it in parts")
    if sum(sizes.values()) > MOST_ITEMS:
        raise Invalid(f"a batch holds at most {MOST_ITEMS} items, not {sum(sizes.values())}; send it in parts")
    return _log(ask.run, ask.metrics, _params(ask.params), tags_of(ask.tags), desk)


def _points_of_batch(ask: LogAll) -> dict[str, Curve] | None:
    if ask.params or ask.tags or len(ask.metrics) > MOST_METRICS:
        return None
    return _only_points(ask.run, ask.metrics)


def _only_points(run: str, metrics: Sequence[GivenMetric]) -> dict[str, Curve] | None:
    """The metrics by key; None when one of them is a logged model's besides."""
    if not run or any(metric.model_id for metric in metrics):
        return None
    found: dict[str, Curve] = {}
    for metric in metrics:
        curve = found.get(metric.key)
        if curve is None:
            curve = found[metric.key] = Curve()
        curve.steps.append(_checked_step(metric))
        curve.at_us.append(_checked_us(metric.timestamp))
        curve.values.append(metric.value)
    return found


def _checked_step(metric: GivenMetric) -> int:
    if not -_INT64 <= metric.step < _INT64:
        raise Invalid(f"the step of metric {metric.key[:60]!r} does not fit in 64 bits")
    return metric.step


def _checked_us(timestamp_ms: int) -> int:
    if not 0 <= timestamp_ms < _LAST_MS:
        moment(timestamp_ms)
    return 1000 * timestamp_ms


def _params(given: Sequence[KeyValue | LogParam]) -> dict[str, str]:
    found: dict[str, str] = {}
    for param in given:
        if len(param.value) > LONGEST_PARAM:
            raise Invalid(f"the value of param {param.key[:60]!r} is longer than {LONGEST_PARAM} characters")
        if found.setdefault(param.key, param.value) != param.value:
            raise Invalid(f"param {param.key[:60]!r} stands twice in the batch, with two values")
    return found


def _log(run: str, metrics: Sequence[GivenMetric], params: dict[str, str], tags: dict[str, str], desk: Desk) -> Answer:
    points = tuple(_point(metric) for metric in metrics)
    desk.platform.runs.log(run, LogBatch(params=params, tags=tags, metrics=points), by=desk.by, late=True)
    if NAME_TAG in tags:
        desk.platform.runs.amend(run, AmendRun(name=tags[NAME_TAG]), by=desk.by)
    of_models: dict[str, list[ModelMetric]] = {}
    for metric in metrics:
        if metric.model_id:
            of_models.setdefault(metric.model_id, []).append(_of_model(metric, run))
    for model, measured in of_models.items():
        desk.platform.logged_models.add_metrics(native_model(model), measured, by=desk.by)
    return {}


def _point(metric: GivenMetric) -> Metric:
    return Metric(key=metric.key, value=metric.value, at=moment(metric.timestamp), step=_checked_step(metric))


def _of_model(metric: GivenMetric, run: str) -> ModelMetric:
    return ModelMetric(
        key=metric.key, value=repr(metric.value), at=moment(metric.timestamp), step=metric.step, run=run,
        dataset_name=metric.dataset_name, dataset_digest=metric.dataset_digest,
    )  # fmt: skip


def history(ask: History, desk: Desk) -> Answer:
    """The points of one metric: a page when it asks for one, else all."""
    if ask.max_results is None:
        return {"metrics": [shown_metric(metric) for metric in _every(desk, ask.run, ask.metric_key)]}
    most, after = checked_most(ask.max_results, 25_000), offset_of(ask.page_token)
    curve = desk.platform.metrics.curve(ask.run, ask.metric_key, limit=most, after=after)
    token = number_token(after + most) if len(curve) == most else None
    return with_next({"metrics": _rows(ask.metric_key, curve)}, token)


def bulk(ask: BulkHistory, desk: Desk) -> Answer:
    most = checked_most(ask.max_results, 25_000)
    found = [
        shown_metric(metric) | {"run_id": run}
        for run in _runs(ask.run_id)
        for metric in _every(desk, run, ask.metric_key)
    ]
    return {"metrics": found[:most]}


def bulk_interval(ask: BulkInterval, desk: Desk) -> Answer:
    """For a chart: each run's points between two steps, thinned to `max_results` without losing what stands out."""
    most = checked_most(ask.max_results, _MOST_POINTS)
    if (ask.start_step is None) is not (ask.end_step is None):
        raise Invalid("start_step and end_step come together, or not at all")
    if ask.start_step is not None and ask.end_step is not None and ask.start_step > ask.end_step:
        raise Invalid("end_step must not be before start_step")
    found: list[Answer] = []
    for run in _runs(ask.run_ids):
        curve = desk.platform.metrics.sample(
            run, ask.metric_key, most=max(most, FEWEST), first_step=ask.start_step, last_step=ask.end_step
        )
        rows = sorted(_rows(ask.metric_key, curve), key=lambda row: (row["step"], row["timestamp"]))
        found += [row | {"run_id": run} for row in rows[:most]]
    return {"metrics": found}


def _runs(identifiers: Sequence[str]) -> Sequence[str]:
    if not 1 <= len(identifiers) <= _MOST_RUNS:
        raise Invalid(f"this call takes 1 to {_MOST_RUNS} runs, not {len(identifiers)}")
    return identifiers


def _every(desk: Desk, run: str, key: str) -> list[Metric]:
    found: list[Metric] = []
    while points := _points(desk, run, key, _AT_ONCE, len(found)):
        found += points
        if len(points) < _AT_ONCE:
            break
    return found


def _points(desk: Desk, run: str, key: str, most: int, after: int) -> list[Metric]:
    return desk.platform.metrics.curve(run, key, limit=most, after=after).metrics(key)


def _rows(key: str, curve: Curve) -> list[Answer]:
    return [
        {"key": key, "value": value, "timestamp": at_us // 1000, "step": step}
        for step, at_us, value in zip(curve.steps, curve.at_us, json_numbers(curve.values), strict=True)
    ]


ENDPOINTS = (
    Endpoint("POST", "runs/log-metric", LogMetric, log_metric, lambda ask: _only_points(ask.run, [ask])),
    Endpoint("POST", "runs/log-parameter", LogParam, log_param, brief=True),
    Endpoint("POST", "runs/log-batch", LogAll, log_batch, _points_of_batch, brief=True),
    Endpoint("GET", "metrics/get-history", History, history),
    Endpoint("GET", "metrics/get-history-bulk", BulkHistory, bulk),
    Endpoint("GET", "metrics/get-history-bulk-interval", BulkInterval, bulk_interval),
)
