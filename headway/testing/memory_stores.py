"""The stores of the stages in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from headway.kernel.clock import to_us
from headway.kernel.paging import Page
from headway.lifecycle.datasets.records import Dataset, DatasetVersion
from headway.lifecycle.environments.records import Environment
from headway.lifecycle.gates.records import Evidence, Verdict
from headway.lifecycle.models.records import Model, ModelVersion, Registration, Trust
from headway.lifecycle.monitors.records import Alert, AlertState, Monitor, Window
from headway.lifecycle.predictions.records import Segment
from headway.lifecycle.releases.records import Approval, Release
from headway.lifecycle.rollouts.records import Deployment, Rollout, TrafficChange
from headway.lifecycle.runs.logged import LoggedModel
from headway.lifecycle.runs.matching import Values, fits
from headway.lifecycle.runs.places import By, by, paged
from headway.lifecycle.runs.records import Artifact, Experiment, Pipeline, Run, StepLog, StepResult, StepRun
from headway.lifecycle.runs.search import Field, Kind, RunSearch
from headway.lifecycle.runs.traces import Span, Trace, TraceWalk, began_ms
from headway.testing.memory_journal import MemoryJournal, MemoryRecordStore, MemoryTable
from headway.testing.memory_metrics import MemoryMetricStore

_NAME = (("name",),)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MemoryDatasetStore(MemoryRecordStore[Dataset]):
    record_type = Dataset
    unique = _NAME

    def named(self, name: str) -> Dataset | None:
        return self._first(lambda dataset: dataset.name == name)

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Dataset]:
        return self._page(limit, before)


class MemoryDatasetVersionStore(MemoryRecordStore[DatasetVersion]):
    record_type = DatasetVersion
    unique = (("dataset", "number"),)

    def of(self, dataset: str, number: int | None = None) -> DatasetVersion | None:
        return self._first(
            lambda version: version.dataset == dataset and number in (None, version.number),
            order=lambda version: version.number,
        )

    def holding(self, dataset: str, blob: str) -> DatasetVersion | None:
        return self._first(lambda version: (version.dataset, version.blob) == (dataset, blob))

    def list(self, dataset: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[DatasetVersion]:
        return self._page(limit, before, dataset=dataset)


class MemoryExperimentStore(MemoryRecordStore[Experiment]):
    record_type = Experiment
    unique = _NAME

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


class MemoryModelStore(MemoryRecordStore[Model]):
    record_type = Model
    unique = _NAME

    def named(self, name: str) -> Model | None:
        return self._first(lambda model: model.name == name)

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Model]:
        return self._page(limit, before)


class MemoryModelVersionStore(MemoryRecordStore[ModelVersion]):
    record_type = ModelVersion
    unique = (("model", "number"),)

    def __init__(self, journal: MemoryJournal, runs: MemoryRunStore) -> None:
        super().__init__(journal)
        self._runs = runs

    def of(self, model: str, number: int | None = None) -> ModelVersion | None:
        return self._first(
            lambda version: version.model == model and number in (None, version.number),
            order=lambda version: version.number,
        )

    def made_by(self, run: str) -> ModelVersion | None:
        among = {run, *self._runs.inside(run)}
        return self._first(lambda version: version.run in among)

    def list(self, model: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[ModelVersion]:
        return self._page(limit, before, model=model)


class MemoryEnvironmentStore(MemoryRecordStore[Environment]):
    record_type = Environment
    unique = _NAME

    def named(self, name: str) -> Environment | None:
        return self._first(lambda environment: environment.name == name)

    def all(self) -> list[Environment]:
        return self._every(lambda _: True, order=lambda environment: environment.name)


class MemoryEvidenceStore(MemoryRecordStore[Evidence]):
    record_type = Evidence

    def list(self, subject: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Evidence]:
        return self._page(limit, before, subject=subject)


class MemoryVerdictStore(MemoryRecordStore[Verdict]):
    record_type = Verdict

    def list(self, model_version: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Verdict]:
        return self._page(limit, before, model_version=model_version)


class MemoryApprovalStore(MemoryRecordStore[Approval]):
    record_type = Approval

    def list(self, change: str) -> list[Approval]:
        return self._every(lambda approval: approval.change == change)


class MemoryReleaseStore(MemoryRecordStore[Release]):
    record_type = Release

    def list(self, environment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Release]:
        return self._page(limit, before, environment=environment)


class MemoryDeploymentStore(MemoryRecordStore[Deployment]):
    record_type = Deployment
    unique = _NAME

    def named(self, name: str) -> Deployment | None:
        return self._first(lambda deployment: deployment.name == name)

    def all(self) -> list[Deployment]:
        return self._every(lambda _: True, order=lambda deployment: deployment.name)


class MemoryTrafficStore(MemoryRecordStore[TrafficChange]):
    record_type = TrafficChange

    def at(self, deployment: str, moment: datetime) -> TrafficChange | None:
        return self._first(
            lambda change: change.deployment == deployment and change.created_at <= moment,
            order=lambda change: (change.created_at, change.generation),
        )

    def list(self, deployment: str, *, limit: int = 100, before: str | None = None) -> Page[TrafficChange]:
        return self._page(limit, before, deployment=deployment)


class MemoryRolloutStore(MemoryRecordStore[Rollout]):
    record_type = Rollout

    def open(self, deployment: str | None = None) -> list[Rollout]:
        return self._every(lambda rollout: not rollout.over and deployment in (None, rollout.deployment))

    def list(self, deployment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Rollout]:
        return self._page(limit, before, deployment=deployment)


class MemorySegmentStore(MemoryRecordStore[Segment]):
    record_type = Segment

    def holding(self, deployment: str, blob: str) -> Segment | None:
        return self._first(lambda segment: (segment.deployment, segment.blob) == (deployment, blob))

    def between(self, deployment: str, start: datetime, end: datetime) -> list[Segment]:
        return self._every(
            lambda segment: (
                segment.deployment == deployment and segment.first_event_at < end and segment.last_event_at >= start
            ),
            order=lambda segment: (segment.first_event_at, segment.id),
        )

    def since(self, deployment: str, identifier: str = "", limit: int = 1000) -> list[Segment]:
        kept = list(self._bodies.all())
        after = kept.index(identifier) + 1 if identifier in kept else 0
        segments = [segment for known in kept[after:] if (segment := self.get(known)) is not None]
        return [segment for segment in segments if segment.deployment == deployment][:limit]

    def list(self, deployment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Segment]:
        return self._page(limit, before, deployment=deployment)


class MemoryMonitorStore(MemoryRecordStore[Monitor]):
    record_type = Monitor
    unique = _NAME

    def named(self, name: str) -> Monitor | None:
        return self._first(lambda monitor: monitor.name == name)

    def all(self) -> list[Monitor]:
        return self._every(lambda _: True, order=lambda monitor: monitor.name)


class MemoryWindowStore(MemoryRecordStore[Window]):
    record_type = Window

    def of(self, monitor: str, release: str, day: str | None = None) -> Window | None:
        return self._first(
            lambda window: (window.monitor, window.release) == (monitor, release) and day in (None, window.day),
            order=lambda window: (window.day, window.id),
        )

    def list(self, monitor: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Window]:
        return self._page(limit, before, monitor=monitor)


class MemoryAlertStore(MemoryRecordStore[Alert]):
    record_type = Alert

    def unresolved(self, monitor: str | None = None) -> list[Alert]:
        return self._every(lambda alert: alert.state is not AlertState.RESOLVED and monitor in (None, alert.monitor))

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Alert]:
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


class MemoryRegistrationStore(MemoryRecordStore[Registration]):
    record_type = Registration
    unique = (("model", "number"),)

    def of(self, model: str, number: int | None = None) -> Registration | None:
        return self._first(
            lambda registration: registration.model == model and number in (None, registration.number),
            order=lambda registration: registration.number,
        )

    def list(self, model: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Registration]:
        return self._page(limit, before, model=model)


class MemoryTrustStore(MemoryRecordStore[Trust]):
    record_type = Trust
    unique = (("blob",),)

    def of(self, blob: str) -> Trust | None:
        return self._first(lambda trust: trust.blob == blob)


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
