"""The platform: every service, wired. No logic stands here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

from headway.kernel.access import AccessService
from headway.kernel.blobs import BlobStore
from headway.kernel.clock import Clock
from headway.kernel.events import EventStore
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal, Keeps
from headway.kernel.ledger import LedgerStore
from headway.kernel.lineage import LineageStore
from headway.kernel.quotas import QuotasNow
from headway.lifecycle.changes.service import ChangeService
from headway.lifecycle.datasets.comparison import ComparisonService
from headway.lifecycle.datasets.files import DatasetFileService
from headway.lifecycle.datasets.inspector import Inspector
from headway.lifecycle.datasets.service import DatasetService
from headway.lifecycle.environments.service import EnvironmentService
from headway.lifecycle.gates.service import GateService
from headway.lifecycle.models.imports import ModelImportService
from headway.lifecycle.models.registry import RegistryService
from headway.lifecycle.models.service import ModelService
from headway.lifecycle.models.store import ModelStore, ModelVersionStore, RegistrationStore, TrustStore
from headway.lifecycle.monitors.service import MonitorService
from headway.lifecycle.predictions.reader import SegmentReader
from headway.lifecycle.predictions.service import PredictionService
from headway.lifecycle.releases.service import ReleaseService
from headway.lifecycle.releases.store import Signer
from headway.lifecycle.retention.collection import Leftovers
from headway.lifecycle.retention.declared import Declared
from headway.lifecycle.retention.family import Families
from headway.lifecycle.retention.service import RetentionService, RetentionStores, Tracking
from headway.lifecycle.retention.sweeping import SweepService
from headway.lifecycle.rollouts.service import RolloutService
from headway.lifecycle.runs.artifacts import ArtifactService
from headway.lifecycle.runs.cache import PipelineService
from headway.lifecycle.runs.experiments import ExperimentService
from headway.lifecycle.runs.imports import RunImportService
from headway.lifecycle.runs.logged_models import LoggedModelService
from headway.lifecycle.runs.metrics import MetricService
from headway.lifecycle.runs.room import Room
from headway.lifecycle.runs.service import RunService
from headway.lifecycle.runs.store import ArtifactStore
from headway.lifecycle.runs.tracing import TraceService
from headway.lifecycle.stores import Stores
from headway.lifecycle.webhooks.service import WebhookService
from headway.lifecycle.webhooks.store import Outbound


@dataclass(frozen=True)
class Platform:
    access: AccessService
    datasets: DatasetService
    dataset_files: DatasetFileService
    comparisons: ComparisonService
    experiments: ExperimentService
    runs: RunService
    artifacts: ArtifactService
    logged_models: LoggedModelService
    traces: TraceService
    run_imports: RunImportService
    metrics: MetricService
    pipelines: PipelineService
    models: ModelService
    registry: RegistryService
    model_imports: ModelImportService
    environments: EnvironmentService
    gates: GateService
    releases: ReleaseService
    rollouts: RolloutService
    predictions: PredictionService
    monitors: MonitorService
    changes: ChangeService
    retention: RetentionService
    sweeps: SweepService
    quotas: QuotasNow
    webhooks: WebhookService
    blobs: BlobStore
    ledger: LedgerStore
    lineage: LineageStore
    events: EventStore
    journal: Journal


def wire(
    stores: Stores, journal: Journal, blobs: BlobStore, *, inspector: Inspector, reader: SegmentReader, signer: Signer,
    leftovers: Leftovers, outbound: Outbound, clock: Clock, ids: Ids,
) -> Platform:  # fmt: skip
    """Every service, each on the stores of its stage and the services of earlier stages."""
    s, t, j = stores, (clock, ids), journal
    declared = Declared(s.policies, clock)
    room = Room(declared.quotas, s.runs, s.metrics)
    datasets = DatasetService(j, s.datasets, s.dataset_versions, blobs, inspector, *t)
    runs = RunService(j, s.runs, s.metrics, s.experiments, s.artifacts, blobs, s.leases, room, *t)
    models = ModelService(j, *_models(s), runs, datasets, blobs, *t)
    environments = EnvironmentService(j, s.environments, *t)
    gates = GateService(j, s.evidence, s.verdicts, environments, models, *t)
    releases = ReleaseService(j, s.releases, s.approvals, environments, models, gates, signer, *t)
    rollouts = RolloutService(j, s.rollouts, s.deployments, s.traffic, environments, models, releases, *t)
    upstream = (runs, models, environments, gates, releases, rollouts)
    tracking = _tracking(s, j, runs, *t)
    retention = _retention(s, j, tracking, clock)
    return Platform(
        access=AccessService(j, s.tokens, *t),
        **_datasets(j, datasets, blobs),
        experiments=tracking.experiments,
        runs=runs,
        artifacts=ArtifactService(j, s.artifacts, blobs, *t),
        logged_models=tracking.logged_models,
        traces=tracking.traces,
        run_imports=RunImportService(j, s.experiments, s.runs, s.artifacts, s.logged_models, s.traces, blobs, *t),
        metrics=MetricService(j, s.runs, s.metrics, room),
        pipelines=PipelineService(j, s.pipelines, s.step_results, blobs, *t),
        models=models,
        registry=tracking.registry,
        model_imports=ModelImportService(j, s.models, s.model_versions, s.registrations, clock),
        environments=environments,
        gates=gates,
        releases=releases,
        rollouts=rollouts,
        predictions=PredictionService(j, s.segments, s.predictions, rollouts, blobs, reader, *t),
        monitors=MonitorService(j, s.monitors, s.windows, s.alerts, rollouts, *t),
        changes=ChangeService(j, s.changes, s.triggers, s.leases, *upstream, *t),
        retention=retention,
        sweeps=SweepService(j, s.sweeps, s.policies, declared, s.kept, s.ledger, blobs, leftovers, retention, *t),
        quotas=declared.quotas,
        webhooks=WebhookService(j, s.webhooks, s.deliveries, s.events, s.leases, outbound, *t),
        blobs=blobs,
        ledger=s.ledger,
        lineage=s.lineage,
        events=s.events,
        journal=journal,
    )


class _Datasets(TypedDict):
    datasets: DatasetService
    dataset_files: DatasetFileService
    comparisons: ComparisonService


def _datasets(journal: Journal, datasets: DatasetService, blobs: BlobStore) -> _Datasets:
    files = DatasetFileService(journal, datasets, blobs)
    return {
        "datasets": datasets, "dataset_files": files, "comparisons": ComparisonService(datasets, files, blobs)
    }  # fmt: skip


def _models(s: Stores) -> tuple[ModelStore, ModelVersionStore, RegistrationStore, TrustStore, ArtifactStore]:
    return s.models, s.model_versions, s.registrations, s.trusts, s.artifacts


def _tracking(s: Stores, journal: Journal, runs: RunService, clock: Clock, ids: Ids) -> Tracking:
    t = clock, ids
    return Tracking(
        RegistryService(journal, s.models, s.model_versions, s.registrations, *t),
        ExperimentService(journal, s.experiments, s.runs, *t),
        runs,
        LoggedModelService(journal, s.logged_models, s.experiments, s.runs, *t),
        TraceService(journal, s.traces, s.experiments, *t),
    )


def _retention(s: Stores, journal: Journal, tracking: Tracking, clock: Clock) -> RetentionService:
    families = Families(
        s.kept, s.tombstones, s.lineage, s.runs, s.logged_models, s.traces, s.registrations, s.model_versions
    )
    aside: dict[str, Keeps[Any]] = {
        "ex": s.experiments, "rn": s.runs, "lm": s.logged_models, "tx": s.traces, "ar": s.artifacts, "md": s.models,
        "rg": s.registrations, "mv": s.model_versions, "dv": s.dataset_versions,
    }  # fmt: skip
    stores = RetentionStores(s.kept, s.tombstones, s.datasets, s.models, aside)
    return RetentionService(journal, stores, families, tracking, clock)
