"""What runs log. JSON has no NaN and no infinity: they travel as the texts NaN, Infinity and -Infinity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from litestar.params import FromPath, FromQuery, JSONBody

from headway.kernel.clock import Instant
from headway.kernel.records import Value
from headway.lifecycle.runs.records import LogBatch, Metric
from headway.server.routing import App, By, get, post

Number = float | Literal["NaN", "Infinity", "-Infinity"]


class LoggedMetric(Value):
    """A point of a series."""

    key: str
    value: Number
    at: Instant
    step: int = 0


class LogToRun(Value):
    """Params, tags and metric points to add to a run."""

    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: tuple[LoggedMetric, ...] = ()


class Logged(Value):
    points: int


class Point(LoggedMetric, kw_only=True):
    """A point and its number in the series."""

    number: int


class Points(Value):
    """Points in the order of writing; `next` is the `after` of the next page."""

    points: tuple[Point, ...]
    next: int | None


class RunIds(Value):
    runs: tuple[str, ...]


@post("/v1/runs/{identifier:str}/log", status_code=200)
def log(identifier: FromPath[str], data: JSONBody[LogToRun], app: App, by: By) -> Logged:
    """Add params, tags and metric points to a run."""
    points = tuple(Metric(key=p.key, value=float(p.value), at=p.at, step=p.step) for p in data.metrics)
    app.platform.runs.log(identifier, LogBatch(params=data.params, tags=data.tags, metrics=points), by=by)
    return Logged(points=len(points))


@get("/v1/runs/{identifier:str}/metrics")
def last_values(identifier: FromPath[str], app: App) -> dict[str, Number]:
    """The last value of each metric of a run."""
    app.platform.runs.get(identifier)
    return _numbers(app.platform.runs.metrics([identifier]).get(identifier, {}))


@get("/v1/runs/{identifier:str}/metrics/{key:path}")
def history(
    identifier: FromPath[str], key: FromPath[str], app: App, limit: FromQuery[int] = 1000, after: FromQuery[int] = 0
) -> Points:
    """The points of one metric, in the order of writing."""
    found = app.platform.runs.history(identifier, key.removeprefix("/"), limit=limit, after=after)
    points = tuple(
        Point(number=number, key=point.key, value=_number(point.value), at=point.at, step=point.step)
        for number, point in found
    )
    return Points(points=points, next=found[-1][0] if len(found) == limit else None)


@post("/v1/runs/metrics", status_code=200)
def last_values_of(data: JSONBody[RunIds], app: App) -> dict[str, dict[str, Number]]:
    """The last value of each metric of several runs, by run and key."""
    return {run: _numbers(values) for run, values in app.platform.runs.metrics(data.runs).items()}


def _numbers(values: Mapping[str, float]) -> dict[str, Number]:
    return {key: _number(value) for key, value in values.items()}


def _number(value: float) -> Number:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


ROUTES = (log, last_values, history, last_values_of)
