"""The platform's state in memory: every store and the journal, with the behaviour of the databases, for tests.

clock = FrozenClock()
journal, stores = open_memory(clock)
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Lock
from typing import NamedTuple

from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.lifecycle.stores import Stores
from headway.testing.memory_changes import MemoryChangeStore, MemoryFiringStore, MemoryTriggerStore
from headway.testing.memory_journal import MemoryJournal
from headway.testing.memory_kernel import (
    MemoryEventStore,
    MemoryLeaseStore,
    MemoryLedgerStore,
    MemoryLineageStore,
    MemoryTokenStore,
)
from headway.testing.memory_metrics import MemoryMetricStore
from headway.testing.memory_predictions import MemoryPredictionStore
from headway.testing.memory_retention import (
    MemoryKeptRecords,
    MemoryPolicyStore,
    MemorySweepStore,
    MemoryTombstoneStore,
)
from headway.testing.memory_stores import (
    MemoryAlertStore,
    MemoryApprovalStore,
    MemoryArtifactStore,
    MemoryDatasetStore,
    MemoryDatasetVersionStore,
    MemoryDeploymentStore,
    MemoryEnvironmentStore,
    MemoryEvidenceStore,
    MemoryExperimentStore,
    MemoryLoggedModelStore,
    MemoryModelStore,
    MemoryModelVersionStore,
    MemoryMonitorStore,
    MemoryPipelineStore,
    MemoryRegistrationStore,
    MemoryReleaseStore,
    MemoryRolloutStore,
    MemoryRunStore,
    MemorySegmentStore,
    MemoryStepResultStore,
    MemoryTraceStore,
    MemoryTrafficStore,
    MemoryTrustStore,
    MemoryVerdictStore,
    MemoryWindowStore,
)
from headway.testing.memory_webhooks import MemoryDeliveryStore, MemoryWebhookStore


class FrozenClock:
    """Stands still until it is told to advance."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> datetime:
        """Move on by `seconds` and return the new present."""
        self._now += timedelta(seconds=seconds)
        return self._now


def counted_ids() -> Ids:
    """Ids that count up, whatever their prefix, and so sort by time of creation: `ro_00000000000000000000000001`."""
    numbers, counting = count(1), Lock()

    def new(prefix: str) -> str:
        with counting:
            return f"{prefix}_{next(numbers):026d}"

    return new


class OpenedMemory(NamedTuple):
    journal: MemoryJournal
    stores: Stores


def open_memory(clock: Clock) -> OpenedMemory:
    """An empty state of its own."""
    journal = MemoryJournal(clock)
    metrics = MemoryMetricStore(journal)
    runs, traces = MemoryRunStore(journal, metrics), MemoryTraceStore(journal)
    stores = Stores(
        tokens=MemoryTokenStore(journal),
        ledger=MemoryLedgerStore(journal),
        lineage=MemoryLineageStore(journal),
        events=MemoryEventStore(journal),
        leases=MemoryLeaseStore(journal),
        datasets=MemoryDatasetStore(journal),
        dataset_versions=MemoryDatasetVersionStore(journal),
        experiments=MemoryExperimentStore(journal),
        runs=runs,
        metrics=metrics,
        artifacts=MemoryArtifactStore(journal),
        step_results=MemoryStepResultStore(journal),
        pipelines=MemoryPipelineStore(journal),
        models=MemoryModelStore(journal),
        model_versions=MemoryModelVersionStore(journal, runs),
        registrations=MemoryRegistrationStore(journal),
        trusts=MemoryTrustStore(journal),
        logged_models=MemoryLoggedModelStore(journal),
        traces=traces,
        environments=MemoryEnvironmentStore(journal),
        evidence=MemoryEvidenceStore(journal),
        verdicts=MemoryVerdictStore(journal),
        approvals=MemoryApprovalStore(journal),
        releases=MemoryReleaseStore(journal),
        deployments=MemoryDeploymentStore(journal),
        traffic=MemoryTrafficStore(journal),
        rollouts=MemoryRolloutStore(journal),
        segments=MemorySegmentStore(journal),
        predictions=MemoryPredictionStore(journal),
        monitors=MemoryMonitorStore(journal),
        windows=MemoryWindowStore(journal),
        alerts=MemoryAlertStore(journal),
        triggers=MemoryTriggerStore(journal),
        firings=MemoryFiringStore(journal),
        changes=MemoryChangeStore(journal),
        sweeps=MemorySweepStore(journal),
        policies=MemoryPolicyStore(journal),
        kept=MemoryKeptRecords(journal, runs, metrics, traces),
        tombstones=MemoryTombstoneStore(journal),
        webhooks=MemoryWebhookStore(journal),
        deliveries=MemoryDeliveryStore(journal),
    )
    return OpenedMemory(journal, stores)
