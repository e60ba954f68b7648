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
from headway.lifecycle.changes.asked import AskedService
from headway.lifecycle.changes.calendar import Calendar
from headway.lifecycle.changes.service import ChangeService
from headway.lifecycle.changes.triggers import TriggerService
from headway.lifecycle.datasets.comparison import ComparisonService
from headway.lifecycle.datasets.files import DatasetFileService
from headway.lifecycle.datasets.inspector import Inspector
from headway.lifecycle.datasets.service import DatasetService
from headway.lifecycle.environments.service import EnvironmentService
from headway.lifecycle.feature_views.service import FeatureViewService
from headway.lifecycle.feature_views.store import FeatureViewStore, HistoryReader, MaterialisationStore, OnlineStore
from headway.lifecycle.gates.service import GateService
from headway.lifecycle.models.imports import ModelImportService
from headway.lifecycle.models.origins import OriginService
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
from headway.lifecycle.rollouts.deployments import DeploymentService
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
    feature_views: FeatureViewService
    experiments: ExperimentService
    runs: RunService
    artifacts: ArtifactService
    logged_models: LoggedModelService
    traces: TraceService
    run_imports: RunImportService
    metrics: MetricService
    pipelines: PipelineService
    models: ModelService
    origins: OriginService
    registry: RegistryService
    model_imports: ModelImportService
    environments: EnvironmentService
    gates: GateService
    releases: ReleaseService
    deployments: DeploymentService
    rollouts: RolloutService
    predictions: PredictionService
    monitors: MonitorService
    changes: ChangeService
    triggers: TriggerService
    asked: AskedService
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
    stores: Stores, journal: Journal, blobs: BlobStore, *, inspector: Inspector, reader: SegmentReader,
    histories: HistoryReader, signer: Signer, leftovers: Leftovers, outbound: Outbound, calendar: Calendar,
    clock: Clock, ids: Ids,
) -> Platform:  # fmt: skip
    """Every service, each on the stores of its stage and the services of earlier stages."""
    s, t, j = stores, (clock, ids), journal
    declared = Declared(s.policies, clock)
    room, datasets, views, runs, models, tracking = _development(s, j, blobs, inspector, histories, declared, *t)
    delivery = environments, gates, releases, deployments, rollouts = _delivery(s, j, models, views, signer, *t)
    changes = ChangeService(j, s.changes, s.leases, runs, models, *delivery, *t)
    triggers = TriggerService(j, s.triggers, s.firings, s.changes, changes, calendar, *t)
    retention = _retention(s, j, tracking, clock)
    return Platform(
        access=AccessService(j, s.tokens, *t),
        **_datasets(j, datasets, blobs),
        feature_views=views,
        experiments=tracking.experiments,
        runs=runs,
        artifacts=ArtifactService(j, s.artifacts, blobs, *t),
        logged_models=tracking.logged_models,
        traces=tracking.traces,
        run_imports=RunImportService(j, s.experiments, s.runs, s.artifacts, s.logged_models, s.traces, blobs, *t),
        metrics=MetricService(j, s.runs, s.metrics, room),
        pipelines=PipelineService(j, s.pipelines, s.step_results, s.runs, blobs, *t),
        models=models,
        origins=OriginService(models, s.dataset_versions, runs, s.step_results, s.lineage),
        registry=tracking.registry,
        model_imports=ModelImportService(j, s.models, s.model_versions, s.registrations, clock),
        environments=environments,
        gates=gates,
        releases=releases,
        deployments=deployments,
        rollouts=rollouts,
        predictions=PredictionService(j, s.segments, s.predictions, deployments, rollouts, blobs, reader, *t),
        monitors=MonitorService(j, s.monitors, s.windows, s.alerts, deployments, *t),
        changes=changes,
        triggers=triggers,
        asked=AskedService(j, triggers, s.firings, s.changes, calendar, outbound.sealer, *t),
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


def _feature_views(s: Stores) -> tuple[FeatureViewStore, MaterialisationStore, OnlineStore]:
    return s.feature_views, s.materialisations, s.online


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


def _development(
    s: Stores, journal: Journal, blobs: BlobStore, inspector: Inspector, histories: HistoryReader, declared: Declared,
    clock: Clock, ids: Ids,
) -> tuple[Room, DatasetService, FeatureViewService, RunService, ModelService, Tracking]:  # fmt: skip
    j, t = journal, (clock, ids)
    room = Room(declared.quotas, s.runs, s.metrics)
    datasets = DatasetService(j, s.datasets, s.dataset_versions, blobs, inspector, *t)
    runs = RunService(j, s.runs, s.metrics, s.experiments, s.artifacts, blobs, s.leases, room, *t)
    views = FeatureViewService(j, *_feature_views(s), datasets, blobs, histories, *t)
    models = ModelService(j, *_models(s), runs, datasets, views, blobs, *t)
    return room, datasets, views, runs, models, _tracking(s, j, runs, *t)


def _delivery(
    s: Stores, journal: Journal, models: ModelService, views: FeatureViewService, signer: Signer, clock: Clock,
    ids: Ids,
) -> tuple[EnvironmentService, GateService, ReleaseService, DeploymentService, RolloutService]:  # fmt: skip
    t = clock, ids
    environments = EnvironmentService(journal, s.environments, *t)
    gates = GateService(journal, s.evidence, s.verdicts, environments, models, *t)
    releases = ReleaseService(journal, s.releases, s.approvals, environments, models, gates, signer, *t)
    deployments = DeploymentService(journal, s.deployments, s.traffic, environments, models, views, releases, *t)
    rollouts = RolloutService(journal, s.rollouts, deployments, environments, *t)
    return environments, gates, releases, deployments, rollouts


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
