"""The platform's state in memory: every store and the journal, with the behaviour of the databases, for tests.

clock = FrozenClock()
journal, stores = open_memory(clock)
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Lock
from typing import Any, NamedTuple

from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.lifecycle.stores import Stores
from headway.testing.memory_changes import MemoryChangeStore, MemoryFiringStore, MemoryTriggerStore
from headway.testing.memory_features import (
    MemoryFeatureViewStore,
    MemoryMaterialisationStore,
    MemoryOnlineStore,
)
from headway.testing.memory_journal import MemoryJournal
from headway.testing.memory_kernel import (
    MemoryEventStore,
    MemoryLeaseStore,
    MemoryLedgerStore,
    MemoryLineageStore,
    MemoryTokenStore,
)
from headway.testing.memory_metrics import MemoryMetricStore
from headway.testing.memory_models import (
    MemoryModelStore,
    MemoryModelVersionStore,
    MemoryRegistrationStore,
    MemoryTrustStore,
)
from headway.testing.memory_predictions import MemoryPredictionStore
from headway.testing.memory_retention import (
    MemoryKeptRecords,
    MemoryPolicyStore,
    MemorySweepStore,
    MemoryTombstoneStore,
)
from headway.testing.memory_runs import (
    MemoryArtifactStore,
    MemoryExperimentStore,
    MemoryLoggedModelStore,
    MemoryPipelineStore,
    MemoryRunStore,
    MemoryStepResultStore,
    MemoryTraceStore,
)
from headway.testing.memory_stores import (
    MemoryAlertStore,
    MemoryApprovalStore,
    MemoryDatasetStore,
    MemoryDatasetVersionStore,
    MemoryDeploymentStore,
    MemoryEnvironmentStore,
    MemoryEvidenceStore,
    MemoryMonitorStore,
    MemoryReleaseStore,
    MemoryRolloutStore,
    MemorySegmentStore,
    MemoryTrafficStore,
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


_STORES: dict[str, Callable[[MemoryJournal], Any]] = {
    "tokens": MemoryTokenStore,
    "ledger": MemoryLedgerStore,
    "lineage": MemoryLineageStore,
    "events": MemoryEventStore,
    "leases": MemoryLeaseStore,
    "datasets": MemoryDatasetStore,
    "dataset_versions": MemoryDatasetVersionStore,
    "feature_views": MemoryFeatureViewStore,
    "materialisations": MemoryMaterialisationStore,
    "online": MemoryOnlineStore,
    "experiments": MemoryExperimentStore,
    "artifacts": MemoryArtifactStore,
    "step_results": MemoryStepResultStore,
    "pipelines": MemoryPipelineStore,
    "models": MemoryModelStore,
    "registrations": MemoryRegistrationStore,
    "trusts": MemoryTrustStore,
    "logged_models": MemoryLoggedModelStore,
    "environments": MemoryEnvironmentStore,
    "evidence": MemoryEvidenceStore,
    "verdicts": MemoryVerdictStore,
    "approvals": MemoryApprovalStore,
    "releases": MemoryReleaseStore,
    "deployments": MemoryDeploymentStore,
    "traffic": MemoryTrafficStore,
    "rollouts": MemoryRolloutStore,
    "segments": MemorySegmentStore,
    "predictions": MemoryPredictionStore,
    "monitors": MemoryMonitorStore,
    "windows": MemoryWindowStore,
    "alerts": MemoryAlertStore,
    "triggers": MemoryTriggerStore,
    "firings": MemoryFiringStore,
    "changes": MemoryChangeStore,
    "sweeps": MemorySweepStore,
    "policies": MemoryPolicyStore,
    "webhooks": MemoryWebhookStore,
    "deliveries": MemoryDeliveryStore,
}
"""The stores that look at no other one."""


def open_memory(clock: Clock) -> OpenedMemory:
    """An empty state of its own."""
    journal = MemoryJournal(clock)
    metrics = MemoryMetricStore(journal)
    runs, traces = MemoryRunStore(journal, metrics), MemoryTraceStore(journal)
    others = {name: make(journal) for name, make in _STORES.items()}
    stores = Stores(
        **others,
        runs=runs,
        metrics=metrics,
        traces=traces,
        model_versions=MemoryModelVersionStore(journal, runs),
        kept=MemoryKeptRecords(journal, runs, metrics, traces),
        tombstones=MemoryTombstoneStore(journal),
    )
    return OpenedMemory(journal, stores)
