"""What runs log. JSON has no NaN and no infinity: they travel as the texts NaN, Infinity and -Infinity."""

from __future__ import annotations

from collections.abc import Mapping

from litestar.params import FromPath, FromQuery, JSONBody

from headway.kernel.access import Actor
from headway.kernel.clock import Instant, from_us
from headway.kernel.records import JsonNumber, Value, json_number, json_numbers
from headway.lifecycle.runs.curve import Curve, Summary, curves
from headway.lifecycle.runs.metrics import Logged
from headway.lifecycle.runs.records import LogBatch, Metric
from headway.server.routing import App, By, get, post


class LoggedMetric(Value):
    """A point of a series."""

    key: str
    value: JsonNumber
    at: Instant
    step: int = 0


class LogToRun(Value):
    """Params, tags and metric points to add to a run."""

    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: tuple[LoggedMetric, ...] = ()

    def batch(self) -> LogBatch:
        metrics = (Metric(key=p.key, value=float(p.value), at=p.at, step=p.step) for p in self.metrics)
        return LogBatch(params=self.params, tags=self.tags, metrics=tuple(metrics))


class Columns(Value):
    """Points of one metric in the order of writing, one list per column, all of one length."""

    steps: list[int]
    at_us: list[int]
    """Microseconds since 1970."""
    values: list[JsonNumber]


class AddPoints(Value):
    """Points by metric. `late` lets them reach a run that is over, unless it belongs to a pipeline or a change."""

    curves: dict[str, Columns]
    late: bool = False


class Written(Value):
    points: int


class Point(LoggedMetric, kw_only=True):
    """A point and its number in the series."""

    number: int


class Points(Value):
    """Points in the order of writing; `next` is the `after` of the next page."""

    points: tuple[Point, ...]
    next: int | None


class MetricSummary(Value):
    """`lowest` and `highest` leave NaN out."""

    last: JsonNumber
    lowest: JsonNumber
    highest: JsonNumber
    points: int
    last_step: int


class RunIds(Value):
    runs: tuple[str, ...]


@post("/v1/runs/{identifier:str}/log", status_code=200)
def log(identifier: FromPath[str], data: JSONBody[LogToRun], app: App, by: By) -> Written:
    """Add params, tags and metric points to a run."""
    app.platform.runs.log(identifier, data.batch(), by=by)
    return Written(points=len(data.metrics))


@post("/v1/runs/{identifier:str}/points", status_code=200)
def add_points(identifier: FromPath[str], data: JSONBody[AddPoints], app: App, by: By) -> Written:
    """Add many metric points to a run; those that it has already are kept once."""
    points = logged_points(identifier, data, by)
    app.platform.metrics.add(points)
    return Written(points=sum(map(len, points.curves.values())))


def logged(run: str, data: LogToRun, by: Actor) -> Logged:
    """The points of a request, for the service."""
    return Logged(run, curves(data.batch().metrics), by)


def logged_points(run: str, data: AddPoints, by: Actor) -> Logged:
    found = {
        key: Curve(steps=columns.steps, at_us=columns.at_us, values=[float(value) for value in columns.values])
        for key, columns in data.curves.items()
    }
    return Logged(run, found, by, data.late)


@get("/v1/runs/{identifier:str}/metrics")
def last_values(identifier: FromPath[str], app: App) -> dict[str, JsonNumber]:
    """The last value of each metric of a run."""
    app.platform.runs.get(identifier)
    return _numbers(app.platform.runs.metrics([identifier]).get(identifier, {}))


@get("/v1/runs/{identifier:str}/metrics/{key:path}")
def history(
    identifier: FromPath[str], key: FromPath[str], app: App, limit: FromQuery[int] = 1000, after: FromQuery[int] = 0
) -> Points:
    """The points of one metric, in the order of writing."""
    name = key.removeprefix("/")
    found = app.platform.metrics.curve(identifier, name, limit=limit, after=after)
    columns = zip(found.steps, found.at_us, json_numbers(found.values), strict=True)
    points = tuple(
        Point(number=number, key=name, value=value, at=from_us(at), step=step)
        for number, (step, at, value) in enumerate(columns, after + 1)
    )
    return Points(points=points, next=after + limit if len(found) == limit else None)


@get("/v1/runs/{identifier:str}/curve/{key:path}")
def curve(
    identifier: FromPath[str], key: FromPath[str], app: App, most: FromQuery[int] = 1000,
    first_step: FromQuery[int | None] = None, last_step: FromQuery[int | None] = None,
) -> Columns:  # fmt: skip
    """As many points of one metric as a chart has room for, with the peaks and NaN kept."""
    found = app.platform.metrics.sample(
        identifier, key.removeprefix("/"), most=most, first_step=first_step, last_step=last_step
    )
    return Columns(steps=found.steps, at_us=found.at_us, values=json_numbers(found.values))


@get("/v1/runs/{identifier:str}/summary")
def summary(identifier: FromPath[str], app: App) -> dict[str, MetricSummary]:
    """Last, lowest and highest value of each metric of a run, and how many points there are."""
    return {key: _summary(found) for key, found in app.platform.metrics.summaries(identifier).items()}


@post("/v1/runs/metrics", status_code=200)
def last_values_of(data: JSONBody[RunIds], app: App) -> dict[str, dict[str, JsonNumber]]:
    """The last value of each metric of several runs, by run and key."""
    return {run: _numbers(values) for run, values in app.platform.runs.metrics(data.runs).items()}


def _numbers(values: Mapping[str, float]) -> dict[str, JsonNumber]:
    return {key: json_number(value) for key, value in values.items()}


def _summary(found: Summary) -> MetricSummary:
    return MetricSummary(
        last=json_number(found.last),
        lowest=json_number(found.lowest),
        highest=json_number(found.highest),
        points=found.points,
        last_step=found.last_step,
    )


ROUTES = (log, add_points, last_values, history, curve, summary, last_values_of)
