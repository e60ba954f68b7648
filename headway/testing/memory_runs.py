"""The stores of experiments, runs, and what belongs to them, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from headway.kernel.clock import to_us
from headway.kernel.paging import Page
from headway.lifecycle.runs.logged import LoggedModel
from headway.lifecycle.runs.matching import Values, fits
from headway.lifecycle.runs.places import By, by, paged
from headway.lifecycle.runs.records import Artifact, Experiment, Pipeline, Run, StepLog, StepResult, StepRun
from headway.lifecycle.runs.search import Field, Kind, RunSearch
from headway.lifecycle.runs.traces import Span, Trace, TraceWalk, began_ms
from headway.testing.memory_journal import BY_NAME, MemoryJournal, MemoryRecordStore, MemoryTable
from headway.testing.memory_metrics import MemoryMetricStore

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MemoryExperimentStore(MemoryRecordStore[Experiment]):
    record_type = Experiment
    unique = BY_NAME

    def named(self, name: str) -> Experiment | None:
        return self._first(lambda experiment: experiment.name == name)

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Experiment]:
        return self._page(limit, before)


class MemoryRunStore(MemoryRecordStore[Run]):
    record_type = Run

    def __init__(self, journal: MemoryJournal, metrics: MemoryMetricStore) -> None:
        super().__init__(journal)
        self._metrics = metrics
        self._steps = MemoryTable[tuple[str, str], StepRun](journal)
        self._logs = MemoryTable[tuple[str, int], StepLog](journal)

    def add_log(self, run: str, step: str, at: datetime, text: str) -> int:
        number = 1 + max((each for owner, each in self._logs.all() if owner == run), default=0)
        self._logs.set((run, number), StepLog(number=number, step=step, at=at, text=text))
        return number

    def logs(self, run: str, *, step: str | None = None, after: int = 0, limit: int = 100) -> Sequence[StepLog]:
        found = [log for (owner, _), log in self._logs.all().items() if owner == run and step in (None, log.step)]
        return sorted((log for log in found if log.number > after), key=lambda log: log.number)[:limit]

    def put_steps(self, run: str, steps: Sequence[StepRun]) -> None:
        for step in steps:
            self._steps.set((run, step.step), step)

    def forget_steps(self, run: str) -> None:
        for known in [known for known in self._steps.all() if known[0] == run]:
            self._steps.drop(known)
        for part in [part for part in self._logs.all() if part[0] == run]:
            self._logs.drop(part)

    def steps(self, run: str) -> list[StepRun]:
        return [step for (owner, _), step in self._steps.all().items() if owner == run]

    def search(self, question: RunSearch) -> Page[Run]:
        found, values = self._fitting(question)
        ties = [By[Run](lambda run: to_us(run.started_at or run.created_at), True), By[Run](lambda run: run.id, True)]
        keys = [*by(question.order, values), *ties]
        return paged(found, keys, question.asked, limit=question.limit, after=question.after)

    def count(self, question: RunSearch) -> int:
        return len(self._fitting(question)[0])

    def _fitting(self, question: RunSearch) -> tuple[list[Run], Values[Run]]:
        among = self._every(lambda run: run.experiment in question.experiments)
        latest = self._metrics.latest([run.id for run in among])

        def values(run: Run, field: Field) -> list[str | float]:
            return _values_of(run, field, latest[run.id])

        among = [run for run in among if question.deleted in (None, run.deleted_at is not None)]
        return [run for run in among if fits(run, question.where, values)], values

    def inside(self, run: str) -> set[str]:
        """Ids of the runs whose parent is `run`."""
        return {child.id for child in self._every(lambda child: child.parent == run)}

    def list(
        self, *, experiment: str | None = None, parent: str | None = None, change: str | None = None,
        state: str | None = None, limit: int = 100, before: str | None = None,
    ) -> Page[Run]:  # fmt: skip
        return self._page(limit, before, experiment=experiment, parent=parent, change=change, state=state)


class MemoryArtifactStore(MemoryRecordStore[Artifact]):
    record_type = Artifact

    def named(self, run: str, name: str) -> Artifact | None:
        return self._first(lambda artifact: (artifact.run, artifact.name) == (run, name))

    def list(self, run: str) -> list[Artifact]:
        return self._every(lambda artifact: artifact.run == run)


class MemoryStepResultStore(MemoryRecordStore[StepResult]):
    record_type = StepResult

    def keyed(self, key: str) -> StepResult | None:
        return self._first(lambda result: result.key == key)

    def among(self, keys: Sequence[str]) -> dict[str, StepResult]:
        return {key: found for key in keys if (found := self.keyed(key)) is not None}


class MemoryPipelineStore(MemoryRecordStore[Pipeline]):
    record_type = Pipeline

    def named(self, name: str) -> Pipeline | None:
        return self._first(lambda pipeline: pipeline.name == name)

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Pipeline]:
        return self._page(limit, before)


class MemoryLoggedModelStore(MemoryRecordStore[LoggedModel]):
    record_type = LoggedModel

    def list(self, experiment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[LoggedModel]:
        return self._page(limit, before, experiment=experiment)


class MemoryTraceStore(MemoryRecordStore[Trace]):
    record_type = Trace
    unique = (("request",),)

    def __init__(self, journal: MemoryJournal) -> None:
        super().__init__(journal)
        self._spans = MemoryTable[tuple[str, str], Span](journal)

    def of(self, request: str) -> Trace | None:
        return self._first(lambda trace: trace.request == request)

    def put_spans(self, spans: Sequence[Span]) -> None:
        for span in spans:
            self._spans.set((span.request, span.id), span)

    def spans(self, requests: Sequence[str]) -> dict[str, list[Span]]:
        every = sorted(self._spans.all().values(), key=lambda span: (span.started_ns, span.id))
        return {request: [span for span in every if span.request == request] for request in requests}

    def walk(self, question: TraceWalk) -> Sequence[Trace]:
        def asked(trace: Trace) -> bool:
            return trace.experiment in question.experiments and trace.deleted_at is None

        sign = -1 if question.descending else 1
        newest = reversed(self._every(asked))
        among = sorted(newest, key=lambda trace: sign * began_ms(trace))
        if question.behind is not None:
            began, last = question.behind
            among = [
                trace for trace in among
                if sign * began_ms(trace) > sign * began or (began_ms(trace) == began and trace.id < last)
            ]  # fmt: skip
        return among[: question.limit]

    def forget_spans(self, identifier: str) -> None:
        trace = self.get(identifier)
        for span in self.spans([trace.request])[trace.request] if trace else ():
            self._spans.drop((span.request, span.id))

    def list(self, experiment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Trace]:
        return self._page(limit, before, experiment=experiment)


def _values_of(run: Run, field: Field, latest: dict[str, float]) -> list[str | float]:
    """The values of a field of a run: none when it has no such thing."""
    if field.kind is Kind.INPUT:
        context = [item.tags.get("mlflow.data.context", "") for item in run.inputs]
        columns = {"name": [item.name for item in run.inputs], "digest": [item.digest for item in run.inputs]}
        return list({**columns, "context": context}[field.name])
    if field.kind is Kind.ATTRIBUTE:
        started, ended = run.started_at or run.created_at, run.ended_at
        texts: dict[str, str] = {
            "run_id": run.id, "run_name": run.name, "status": run.state, "user_id": run.user or run.started_by
        }  # fmt: skip
        times = {"start_time": started, "end_time": ended}
        if field.name in texts:
            return [texts[field.name]]
        moment = times[field.name]
        return [] if moment is None else [(moment - _EPOCH) // timedelta(milliseconds=1)]
    among: dict[Kind, dict[str, str] | dict[str, float]] = {
        Kind.PARAM: run.params, Kind.TAG: run.tags, Kind.METRIC: latest
    }  # fmt: skip
    return [among[field.kind][field.name]] if field.name in among[field.kind] else []
