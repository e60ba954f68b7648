"""Every store that the platform keeps its state in, under its plain name."""

from __future__ import annotations

from dataclasses import dataclass

from headway.kernel.access import TokenStore
from headway.kernel.events import EventStore
from headway.kernel.leases import LeaseStore
from headway.kernel.ledger import LedgerStore
from headway.kernel.lineage import LineageStore
from headway.lifecycle.changes.store import ChangeStore, FiringStore, TriggerStore
from headway.lifecycle.datasets.store import DatasetStore, DatasetVersionStore
from headway.lifecycle.environments.store import EnvironmentStore
from headway.lifecycle.feature_views.store import FeatureViewStore, MaterialisationStore, OnlineStore
from headway.lifecycle.gates.store import EvidenceStore, VerdictStore
from headway.lifecycle.models.store import ModelStore, ModelVersionStore, RegistrationStore, TrustStore
from headway.lifecycle.monitors.store import AlertStore, MonitorStore, WindowStore
from headway.lifecycle.predictions.store import PredictionStore, SegmentStore
from headway.lifecycle.releases.store import ApprovalStore, ReleaseStore
from headway.lifecycle.retention.store import KeptRecords, PolicyStore, SweepStore, TombstoneStore
from headway.lifecycle.rollouts.store import DeploymentStore, RolloutStore, TrafficStore
from headway.lifecycle.runs.store import (
    ArtifactStore,
    ExperimentStore,
    LoggedModelStore,
    MetricStore,
    PipelineStore,
    RunStore,
    StepResultStore,
    TraceStore,
)
from headway.lifecycle.webhooks.store import DeliveryStore, WebhookStore


@dataclass(frozen=True)
class Stores:
    tokens: TokenStore
    ledger: LedgerStore
    lineage: LineageStore
    events: EventStore
    leases: LeaseStore
    datasets: DatasetStore
    dataset_versions: DatasetVersionStore
    feature_views: FeatureViewStore
    materialisations: MaterialisationStore
    online: OnlineStore
    experiments: ExperimentStore
    runs: RunStore
    metrics: MetricStore
    artifacts: ArtifactStore
    step_results: StepResultStore
    pipelines: PipelineStore
    models: ModelStore
    model_versions: ModelVersionStore
    registrations: RegistrationStore
    trusts: TrustStore
    logged_models: LoggedModelStore
    traces: TraceStore
    environments: EnvironmentStore
    evidence: EvidenceStore
    verdicts: VerdictStore
    approvals: ApprovalStore
    releases: ReleaseStore
    deployments: DeploymentStore
    traffic: TrafficStore
    rollouts: RolloutStore
    segments: SegmentStore
    predictions: PredictionStore
    monitors: MonitorStore
    windows: WindowStore
    alerts: AlertStore
    triggers: TriggerStore
    firings: FiringStore
    changes: ChangeStore
    kept: KeptRecords
    tombstones: TombstoneStore
    sweeps: SweepStore
    policies: PolicyStore
    webhooks: WebhookStore
    deliveries: DeliveryStore
