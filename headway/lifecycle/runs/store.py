"""What must be kept of runs, what they log, and of the results of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from headway.kernel.paging import Page
from headway.lifecycle.runs.curve import Curve, Summary
from headway.lifecycle.runs.logged import LoggedModel
from headway.lifecycle.runs.records import Artifact, Experiment, Metric, Pipeline, Run, StepLog, StepResult, StepRun
from headway.lifecycle.runs.search import RunSearch
from headway.lifecycle.runs.traces import Span, Trace, TraceWalk


class ExperimentStore(Protocol):
    def put(self, record: Experiment) -> None: ...
    def get(self, identifier: str) -> Experiment | None: ...
    def named(self, name: str) -> Experiment | None: ...
    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Experiment]: ...


class RunStore(Protocol):
    def put(self, record: Run) -> None: ...
    def get(self, identifier: str) -> Run | None: ...

    def put_steps(self, run: str, steps: Sequence[StepRun]) -> None: ...
    def steps(self, run: str) -> list[StepRun]: ...

    def add_log(self, run: str, step: str, at: datetime, text: str) -> int:
        """Append a part of what a step printed; gives its number."""
        ...

    def logs(self, run: str, *, step: str | None = None, after: int = 0, limit: int = 100) -> Sequence[StepLog]:
        """Parts behind the number `after`, of one step or of all, in their order."""
        ...

    def search(self, question: RunSearch) -> Page[Run]:
        """The runs that fit, and the `after` of the next page. Absent values come last in both directions, NaN before
        them. Raises `Invalid` for an `after` of another question."""
        ...

    def count(self, question: RunSearch) -> int:
        """How many runs fit, whatever the limit."""
        ...

    def list(
        self, *, experiment: str | None = None, parent: str | None = None, change: str | None = None,
        state: str | None = None, limit: int = 100, before: str | None = None,
    ) -> Page[Run]: ...  # fmt: skip


class MetricStore(Protocol):
    """Points by run and key. They are numbered from 1 in the order of writing."""

    def add(self, curves: Mapping[tuple[str, str], Curve]) -> int:
        """Append to the curves of these runs and keys, and tell how many points were new: one that is there already
        (same step, time and value; NaN is the same as NaN) is kept once."""
        ...

    def latest(self, runs: Sequence[str]) -> dict[str, dict[str, float]]:
        """The last value of each metric, by run and key: at the largest step, then the latest time, then the
        greatest."""
        ...

    def last_points(self, runs: Sequence[str]) -> dict[str, list[Metric]]:
        """By run, in the order of their keys: the points that `latest` tells the values of."""
        ...

    def summaries(self, run: str) -> dict[str, Summary]:
        """By key."""
        ...

    def curve(self, run: str, key: str, *, limit: int, after: int = 0) -> Curve:
        """At most `limit` points behind the number `after`."""
        ...

    def sample(
        self, run: str, key: str, *, most: int, first_step: int | None = None, last_step: int | None = None
    ) -> Curve:
        """At most `most` of the points between the two steps, both included, in the order of writing. The first, the
        last, the lowest and the highest of them are among these, and a NaN if there is one."""
        ...


class ArtifactStore(Protocol):
    def put(self, record: Artifact) -> None: ...

    def list(self, run: str) -> list[Artifact]:
        """Oldest first, those that were removed too."""
        ...

    def named(self, run: str, name: str) -> Artifact | None: ...


class StepResultStore(Protocol):
    def put(self, record: StepResult) -> None: ...
    def keyed(self, key: str) -> StepResult | None: ...

    def among(self, keys: Sequence[str]) -> dict[str, StepResult]:
        """By key, those of `keys` that have a result."""
        ...


class PipelineStore(Protocol):
    def put(self, record: Pipeline) -> None: ...

    def named(self, name: str) -> Pipeline | None:
        """The newest of this name."""
        ...

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Pipeline]: ...


class LoggedModelStore(Protocol):
    def put(self, record: LoggedModel) -> None: ...
    def get(self, identifier: str) -> LoggedModel | None: ...

    def list(
        self, experiment: str | None = None, *, limit: int = 100, before: str | None = None
    ) -> Page[LoggedModel]: ...


class TraceStore(Protocol):
    def put(self, record: Trace) -> None: ...

    def of(self, request: str) -> Trace | None:
        """The trace that its client gave this id."""
        ...

    def put_spans(self, spans: Sequence[Span]) -> None:
        """Keep spans, each in the place of one of the same request and id."""
        ...

    def spans(self, requests: Sequence[str]) -> dict[str, list[Span]]:
        """By request, in the order in which they began."""
        ...

    def walk(self, question: TraceWalk) -> Sequence[Trace]:
        """Traces by their begin; one that does not fit the question may be among them, one that does is never left
        out."""
        ...

    def list(self, experiment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Trace]: ...
