"""Runs and pipelines, over a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from headway.client.blobs import Blobs
from headway.client.http import Connection
from headway.client.line import segment
from headway.errors import NotFound
from headway.kernel.leases import Lease
from headway.kernel.paging import Page
from headway.kernel.records import Value, encode, json_number
from headway.lifecycle.runs.capture import DIFF, LOCK, decode_lock
from headway.lifecycle.runs.comparison import Comparison, Side, compare
from headway.lifecycle.runs.curve import Curve
from headway.lifecycle.runs.records import (
    Artifact,
    Code,
    Experiment,
    LastResult,
    LogBatch,
    Metric,
    Pipeline,
    PipelineNode,
    Run,
    RunState,
    StartRun,
    StepLog,
    StepResult,
    StepRun,
)
from headway.lifecycle.runs.search import CountRuns, RunCount, SearchRuns


class Point(Value):
    """A metric point and its number in the series."""

    number: int
    key: str
    value: float
    at: datetime
    step: int = 0


class Points(Value):
    points: tuple[Point, ...]
    next: int | None = None


class Steps(Value):
    steps: tuple[StepRun, ...]


class Runs:
    def __init__(self, connection: Connection) -> None:
        self._connection, self._blobs = connection, Blobs(connection)

    def start(self, command: StartRun) -> Run:
        """Create a run; with a `change`, the run of this pipeline that the change has already is returned."""
        return self._connection.post("/v1/runs", Run, command)

    def get(self, identifier: str) -> Run:
        return self._connection.get(_path(identifier), Run)

    def list(
        self,
        *,
        experiment: str | None = None,
        parent: str | None = None,
        change: str | None = None,
        state: str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> Page[Run]:
        return self._connection.get(
            "/v1/runs", Page[Run], experiment=experiment, parent=parent, change=change, state=state, limit=limit,
            before=before,
        )  # fmt: skip

    def search(
        self,
        experiments: Sequence[str] = (),
        *,
        where: str = "",
        order: Sequence[str] = (),
        deleted: bool | None = False,
        limit: int = 100,
        after: str = "",
    ) -> Page[Run]:
        """The runs of these experiments, or of all, for which `where` holds (`metrics.auc > 0.9 AND params.a = '1'`),
        in the order of `order` (`metrics.auc DESC`), else the newest first. `after` is the `next` of the page before;
        `deleted` None takes both."""
        command = SearchRuns(
            experiments=tuple(experiments), where=where, order=tuple(order), deleted=deleted, limit=limit, after=after
        )
        return self._connection.post("/v1/runs/search", Page[Run], command)

    def count(self, experiments: Sequence[str] = (), *, where: str = "", deleted: bool | None = False) -> int:
        """How many runs of these experiments, or of all, there are for which `where` holds."""
        command = CountRuns(experiments=tuple(experiments), where=where, deleted=deleted)
        return self._connection.post("/v1/runs/count", RunCount, command).runs

    def delete(self, identifier: str) -> Run:
        """Put a run aside; it can be restored."""
        return self._connection.post(_path(identifier) + "/delete", Run)

    def resume(self, identifier: str) -> Run:
        """Let a run that is over go on; raises `Conflict` for one of a pipeline or a change."""
        return self._connection.post(_path(identifier) + "/resume", Run)

    def restore(self, identifier: str) -> Run:
        return self._connection.post(_path(identifier) + "/restore", Run)

    def experiments(self, *, limit: int = 100, before: str | None = None) -> Page[Experiment]:
        return self._connection.get("/v1/experiments", Page[Experiment], limit=limit, before=before)

    def log(self, identifier: str, batch: LogBatch) -> None:
        """Add params, tags and metric points. Raises `Conflict` when the run is over."""
        body = {
            "params": batch.params,
            "tags": batch.tags,
            "metrics": [_on_the_wire(metric) for metric in batch.metrics],
        }
        self._connection.post(_path(identifier) + "/log", Any, body)

    def points(self, identifier: str, curves: Mapping[str, Mapping[str, Any]], *, late: bool = False) -> None:
        """Add many points, by metric and column; those that the run has are kept once. With `late` it may be over,
        unless it belongs to a pipeline or a change."""
        self._connection.post(_path(identifier) + "/points", Any, {"curves": curves, "late": late})

    def texts(self, identifier: str, params: dict[str, str], tags: dict[str, str]) -> None:
        """Add params and tags."""
        self._connection.post(_path(identifier) + "/log", Any, {"params": params, "tags": tags})

    def end(self, identifier: str, state: str, error: str) -> None:
        """Bring a run to its end, unless it is there already."""
        if not self.get(identifier).over:
            self.move(identifier, RunState(state), error=error)

    def curve(self, identifier: str, key: str, *, most: int = 1000) -> Curve:
        """As many points of a metric as a chart has room for, with the peaks and NaN kept."""
        return self._connection.get(f"{_path(identifier)}/curve/{segment(key)}", Curve, most=most)

    def metrics(self, identifiers: Sequence[str]) -> dict[str, dict[str, float]]:
        """The last value of each metric, by run and key."""
        return self._connection.post("/v1/runs/metrics", dict[str, dict[str, float]], {"runs": identifiers})

    def history(self, identifier: str, key: str, *, limit: int = 1000, after: int = 0) -> Points:
        return self._connection.get(f"{_path(identifier)}/metrics/{segment(key)}", Points, limit=limit, after=after)

    def claim(self, identifier: str, holder: str) -> Lease:
        """Take or prolong the lease on a run; raises `LeaseLost` while another worker holds it."""
        return self._connection.post(_path(identifier) + "/claim", Lease, {"holder": holder})

    def move(self, identifier: str, state: RunState, *, error: str = "", token: int | None = None) -> Run:
        body: dict[str, Any] = {"state": state, "error": error}
        if token is not None:
            body["token"] = token
        return self._connection.post(_path(identifier) + "/move", Run, body)

    def progress(self, identifier: str, steps: Sequence[StepRun]) -> None:
        self._connection.post(_path(identifier) + "/steps", Any, Steps(steps=tuple(steps)))

    def steps(self, identifier: str) -> tuple[StepRun, ...]:
        return self._connection.get(_path(identifier) + "/steps", Steps).steps

    def note_read(self, run: str, version: str) -> Run:
        """Note that a run has read a dataset version, by its id."""
        return self._connection.post(_path(run) + "/reads", Run, {"version": version})

    def add_log(self, identifier: str, step: str, text: str) -> None:
        """Append a part of what a step printed."""
        self._connection.post(_path(identifier) + "/logs", StepLog, {"step": step, "text": text})

    def logs(
        self, identifier: str, *, step: str | None = None, after: int = 0, limit: int = 100
    ) -> tuple[StepLog, ...]:
        """What the steps of a run, or one of them, have printed, behind the part numbered `after`."""
        path = _path(identifier) + "/logs"
        return self._connection.get(path, tuple[StepLog, ...], step=step, after=after, limit=limit)

    def add_artifact(self, run: str, name: str, data: bytes, *, media_type: str = "") -> Artifact:
        """Keep `data` as an output of a run; the same name again replaces."""
        body = {"name": name, "blob": self._blobs.put(data)} | ({"media_type": media_type} if media_type else {})
        return self._connection.post(_path(run) + "/artifacts", Artifact, body)

    def diff(self, left: str, right: str) -> Comparison:
        """What differs between two runs in params, last metrics, code and packages."""
        one, other = (self._side(identifier) for identifier in (left, right))
        return compare(one, other)

    def _side(self, identifier: str) -> Side:
        kept = {artifact.name: artifact.blob for artifact in self.artifacts(identifier)}
        lock = decode_lock(self._blobs.get(kept[LOCK])) if LOCK in kept else None
        metrics = self.metrics([identifier]).get(identifier, {})
        return Side(run=self.get(identifier), metrics=metrics, lock=lock, diff=kept.get(DIFF, ""))

    def artifacts(self, identifier: str) -> tuple[Artifact, ...]:
        return self._connection.get(_path(identifier) + "/artifacts", tuple[Artifact, ...])


class Experiments:
    """Each is named by its id or its name."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Experiment]:
        """All of them, those that are deleted too, newest first."""
        return self._connection.get("/v1/experiments", Page[Experiment], limit=limit, before=before)

    def get(self, reference: str) -> Experiment:
        return self._connection.get(f"/v1/experiments/{segment(reference)}", Experiment)

    def delete(self, reference: str) -> Experiment:
        """Put an experiment and its runs aside; it can be restored."""
        return self._connection.post(f"/v1/experiments/{segment(reference)}/delete", Experiment)

    def restore(self, reference: str) -> Experiment:
        return self._connection.post(f"/v1/experiments/{segment(reference)}/restore", Experiment)


class Pipelines:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def result(self, key: str) -> StepResult | None:
        """What the step with this key gave, if all of it is still kept."""
        try:
            return self._connection.get(_result(key), StepResult)
        except NotFound:
            return None

    def keep(self, result: StepResult) -> StepResult:
        """Remember a result; the answer has the id it was given."""
        body = {"step": result.step, "run": result.run, "outputs": result.outputs, "made_of": result.made_of}
        return self._connection.put(_result(result.key), StepResult, encode(body))

    def last_results(self, name: str) -> list[LastResult]:
        """What each step of a pipeline gave when it last ran, or was found."""
        return self._connection.get(f"/v1/pipelines/{segment(name)}/results", list[LastResult])

    def record(self, name: str, nodes: Sequence[PipelineNode], code: Code) -> Pipeline:
        """Remember the graph of a pipeline as it ran; the same graph again is the same record."""
        return self._connection.post("/v1/pipelines", Pipeline, {"name": name, "nodes": nodes, "code": code})

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Pipeline]:
        return self._connection.get("/v1/pipelines", Page[Pipeline], limit=limit, before=before)


def _path(identifier: str) -> str:
    return f"/v1/runs/{segment(identifier)}"


def _result(key: str) -> str:
    return f"/v1/pipelines/results/{segment(key)}"


def _on_the_wire(metric: Metric) -> dict[str, Any]:
    return {"key": metric.key, "value": json_number(metric.value), "at": metric.at, "step": metric.step}
