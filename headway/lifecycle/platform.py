"""The platform: every service, wired. No logic stands here."""

from __future__ import annotations

from dataclasses import dataclass

from headway.kernel.access import AccessService
from headway.kernel.blobs import BlobStore
from headway.kernel.events import EventStore
from headway.kernel.journal import Journal
from headway.kernel.ledger import LedgerStore
from headway.kernel.lineage import LineageStore
from headway.lifecycle.changes.service import ChangeService
from headway.lifecycle.datasets.service import DatasetService
from headway.lifecycle.environments.service import EnvironmentService
from headway.lifecycle.gates.service import GateService
from headway.lifecycle.models.service import ModelService
from headway.lifecycle.monitors.service import MonitorService
from headway.lifecycle.predictions.service import PredictionService
from headway.lifecycle.releases.service import ReleaseService
from headway.lifecycle.rollouts.service import RolloutService
from headway.lifecycle.runs.cache import PipelineService
from headway.lifecycle.runs.service import RunService


@dataclass(frozen=True)
class Platform:
    access: AccessService
    datasets: DatasetService
    runs: RunService
    pipelines: PipelineService
    models: ModelService
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
