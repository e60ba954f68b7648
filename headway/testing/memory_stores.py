"""The stores of the other stages in memory."""

from __future__ import annotations

from datetime import datetime

from headway.kernel.paging import Page
from headway.lifecycle.datasets.records import Dataset, DatasetVersion
from headway.lifecycle.environments.records import Environment
from headway.lifecycle.gates.records import Evidence, Verdict
from headway.lifecycle.monitors.records import Alert, AlertState, Monitor, Window
from headway.lifecycle.predictions.records import Segment
from headway.lifecycle.releases.records import Approval, Release
from headway.lifecycle.rollouts.records import Deployment, Rollout, TrafficChange
from headway.testing.memory_journal import BY_NAME, MemoryRecordStore


class MemoryDatasetStore(MemoryRecordStore[Dataset]):
    record_type = Dataset
    unique = BY_NAME

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


class MemoryEnvironmentStore(MemoryRecordStore[Environment]):
    record_type = Environment
    unique = BY_NAME

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
    unique = BY_NAME

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
    unique = BY_NAME

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
