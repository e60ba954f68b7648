"""The platform: every service, wired. No logic stands here."""

from __future__ import annotations

from dataclasses import dataclass

from headway.kernel.access import AccessService
from headway.kernel.blobs import BlobStore
from headway.kernel.clock import Clock
from headway.kernel.events import EventStore
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.ledger import LedgerStore
from headway.kernel.lineage import LineageStore
from headway.lifecycle.changes.service import ChangeService
from headway.lifecycle.datasets.inspector import Inspector
from headway.lifecycle.datasets.service import DatasetService
from headway.lifecycle.environments.service import EnvironmentService
from headway.lifecycle.gates.service import GateService
from headway.lifecycle.models.registry import RegistryService
from headway.lifecycle.models.service import ModelService
from headway.lifecycle.monitors.service import MonitorService
from headway.lifecycle.predictions.reader import SegmentReader
from headway.lifecycle.predictions.service import PredictionService
from headway.lifecycle.releases.service import ReleaseService
from headway.lifecycle.releases.store import Signer
from headway.lifecycle.rollouts.service import RolloutService
from headway.lifecycle.runs.artifacts import ArtifactService
from headway.lifecycle.runs.cache import PipelineService
from headway.lifecycle.runs.experiments import ExperimentService
from headway.lifecycle.runs.logged_models import LoggedModelService
from headway.lifecycle.runs.metrics import MetricService
from headway.lifecycle.runs.service import RunService
from headway.lifecycle.runs.tracing import TraceService
from headway.lifecycle.stores import Stores


@dataclass(frozen=True)
class Platform:
    access: AccessService
    datasets: DatasetService
    experiments: ExperimentService
    runs: RunService
    artifacts: ArtifactService
    logged_models: LoggedModelService
    traces: TraceService
    metrics: MetricService
    pipelines: PipelineService
    models: ModelService
    registry: RegistryService
    environments: EnvironmentService
    gates: GateService
    releases: ReleaseService
    rollouts: RolloutService
    predictions: PredictionService
    monitors: MonitorService
    changes: ChangeService
    blobs: BlobStore
    ledger: LedgerStore
    lineage: LineageStore
    events: EventStore
    journal: Journal


def wire(
    stores: Stores,
    journal: Journal,
    blobs: BlobStore,
    *,
    inspector: Inspector,
    reader: SegmentReader,
    signer: Signer,
    clock: Clock,
    ids: Ids,
) -> Platform:
    """Every service, each on the stores of its stage and the services of earlier stages."""
    s, t, j = stores, (clock, ids), journal
    datasets = DatasetService(j, s.datasets, s.dataset_versions, blobs, inspector, *t)
    runs = RunService(j, s.runs, s.metrics, s.experiments, s.artifacts, blobs, s.leases, *t)
    registered = (s.registrations, s.trusts, s.artifacts)
    models = ModelService(j, s.models, s.model_versions, *registered, runs, datasets, blobs, *t)
    environments = EnvironmentService(j, s.environments, *t)
    gates = GateService(j, s.evidence, s.verdicts, environments, models, *t)
    releases = ReleaseService(j, s.releases, s.approvals, environments, models, gates, signer, *t)
    rollouts = RolloutService(j, s.rollouts, s.deployments, s.traffic, environments, models, releases, *t)
    upstream = (runs, models, environments, gates, releases, rollouts)
    return Platform(
        access=AccessService(j, s.tokens, *t),
        datasets=datasets,
        experiments=ExperimentService(j, s.experiments, s.runs, *t),
        runs=runs,
        artifacts=ArtifactService(j, s.artifacts, blobs, *t),
        logged_models=LoggedModelService(j, s.logged_models, s.experiments, s.runs, *t),
        traces=TraceService(j, s.traces, s.experiments, *t),
        metrics=MetricService(j, s.runs, s.metrics),
        pipelines=PipelineService(j, s.pipelines, s.step_results, blobs, *t),
        models=models,
        registry=RegistryService(j, s.models, s.model_versions, s.registrations, *t),
        environments=environments,
        gates=gates,
        releases=releases,
        rollouts=rollouts,
        predictions=PredictionService(j, s.segments, s.predictions, rollouts, blobs, reader, *t),
        monitors=MonitorService(j, s.monitors, s.windows, s.alerts, rollouts, *t),
        changes=ChangeService(j, s.changes, s.triggers, s.leases, *upstream, *t),
        blobs=blobs,
        ledger=s.ledger,
        lineage=s.lineage,
        events=s.events,
        journal=journal,
    )
