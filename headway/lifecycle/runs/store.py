"""What must be kept of runs, what they log, and of the results of steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headway.kernel.paging import Page
from headway.lifecycle.runs.records import Artifact, Experiment, Metric, Pipeline, Run, StepResult, StepRun


class ExperimentStore(Protocol):
    def put(self, record: Experiment) -> None: ...
    def named(self, name: str) -> Experiment | None: ...
    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Experiment]: ...


class RunStore(Protocol):
    def put(self, record: Run) -> None: ...
    def get(self, identifier: str) -> Run | None: ...

    def log(self, run: str, metrics: Sequence[Metric]) -> None:
        """Append points; one that is there already (same key, step, time and value) is kept once."""
        ...

    def latest(self, runs: Sequence[str]) -> dict[str, dict[str, float]]:
        """The last value of each metric, by run and key: at the largest step, then the latest time."""
        ...

    def history(self, run: str, key: str, *, limit: int = 1000, after: int = 0) -> list[tuple[int, Metric]]:
        """Points in the order of writing with their number; `after` is the last number seen."""
        ...

    def put_steps(self, run: str, steps: Sequence[StepRun]) -> None: ...
    def steps(self, run: str) -> list[StepRun]: ...

    def list(
        self, *, experiment: str | None = None, parent: str | None = None, change: str | None = None,
        state: str | None = None, limit: int = 100, before: str | None = None,
    ) -> Page[Run]: ...  # fmt: skip


class ArtifactStore(Protocol):
    def put(self, record: Artifact) -> None: ...
    def list(self, run: str) -> list[Artifact]: ...
    def named(self, run: str, name: str) -> Artifact | None: ...


class StepResultStore(Protocol):
    def put(self, record: StepResult) -> None: ...
    def keyed(self, key: str) -> StepResult | None: ...


class PipelineStore(Protocol):
    def put(self, record: Pipeline) -> None: ...

    def named(self, name: str) -> Pipeline | None:
        """The newest of this name."""
        ...

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Pipeline]: ...
