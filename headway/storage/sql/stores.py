"""Opening a database: every store on SQLite or PostgreSQL, migrated to this version."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

from headway.errors import BadSettings, ExtraMissing, Unavailable
from headway.kernel.clock import Clock
from headway.lifecycle.stores import Stores
from headway.storage.sql.access import SqlTokenStore
from headway.storage.sql.anchor import AnchorFile
from headway.storage.sql.changes import SqlChangeStore, SqlFiringStore, SqlTriggerStore
from headway.storage.sql.datasets import SqlDatasetStore, SqlDatasetVersionStore
from headway.storage.sql.engine import Database, SqlEngine
from headway.storage.sql.environments import SqlEnvironmentStore
from headway.storage.sql.events import SqlEventStore
from headway.storage.sql.feature_views import SqlFeatureViewStore, SqlMaterialisationStore, SqlOnlineStore
from headway.storage.sql.gates import SqlEvidenceStore, SqlVerdictStore
from headway.storage.sql.journal import SqlJournal
from headway.storage.sql.leases import SqlLeaseStore
from headway.storage.sql.ledger import SqlLedgerStore
from headway.storage.sql.lineage import SqlLineageStore
from headway.storage.sql.metrics import SqlMetricStore
from headway.storage.sql.models import SqlModelStore, SqlModelVersionStore, SqlRegistrationStore, SqlTrustStore
from headway.storage.sql.monitors import SqlAlertStore, SqlMonitorStore, SqlWindowStore
from headway.storage.sql.predictions import SqlPredictionStore, SqlSegmentStore
from headway.storage.sql.releases import SqlApprovalStore, SqlReleaseStore
from headway.storage.sql.retention import SqlKeptRecords, SqlPolicyStore, SqlSweepStore, SqlTombstoneStore
from headway.storage.sql.rollouts import SqlDeploymentStore, SqlRolloutStore, SqlTrafficStore
from headway.storage.sql.runs import (
    SqlArtifactStore,
    SqlExperimentStore,
    SqlLoggedModelStore,
    SqlPipelineStore,
    SqlRunStore,
    SqlStepResultStore,
    SqlTraceStore,
)
from headway.storage.sql.schema import migrate
from headway.storage.sql.sqlite import SqliteDatabase
from headway.storage.sql.webhooks import SqlDeliveryStore, SqlWebhookStore


class Opened(NamedTuple):
    engine: SqlEngine
    journal: SqlJournal
    stores: Stores


def open_stores(where: str | Path, clock: Clock, anchor_path: Path) -> Opened:
    """Open the SQLite file at the path `where`, or the PostgreSQL database of that URL, bringing it up to date first.

    `anchor_path` is the file that keeps the ledger's head outside the database. Raises `Unavailable` when the database
    does not answer, is none, or was written by a newer Headway; `BadSettings` for an URL that leads nowhere.
    """
    anchor = AnchorFile(anchor_path)
    engine = SqlEngine(_database(where, anchor), anchor)
    try:
        migrate(engine)
    except BaseException:
        engine.close()
        raise
    return Opened(engine, SqlJournal(engine, clock), _stores(engine))


def _database(where: str | Path, anchor: AnchorFile) -> Database:
    url = _url(str(where))
    try:
        if url.get_backend_name() == "sqlite":
            return SqliteDatabase(Path(url.database or ""), anchor)
        postgres = import_module("headway.storage.sql.postgres")
        database: Database = postgres.PostgresDatabase(url.set(drivername="postgresql+psycopg"), anchor)
        return database
    except ModuleNotFoundError as error:
        raise ExtraMissing("PostgreSQL needs its driver: pip install 'headway[postgres]'") from error
    except DatabaseError as error:
        raise Unavailable(f"{url.database} cannot be opened as a SQLite database: {error.orig}") from error


def _url(where: str) -> URL:
    if "://" not in where:
        return URL.create("sqlite", database=where)
    try:
        url = make_url(where)
    except ArgumentError as error:
        raise BadSettings(f"{where!r} is no database URL; take a path or postgresql://user@host/name") from error
    if url.get_backend_name() not in ("sqlite", "postgresql") or not url.database:
        raise BadSettings(
            f"{url.get_backend_name()} is no database for Headway; take sqlite or postgresql, with a name"
        )
    return url


def _stores(engine: SqlEngine) -> Stores:
    return Stores(
        datasets=SqlDatasetStore(engine),
        dataset_versions=SqlDatasetVersionStore(engine),
        feature_views=SqlFeatureViewStore(engine),
        materialisations=SqlMaterialisationStore(engine),
        online=SqlOnlineStore(engine),
        experiments=SqlExperimentStore(engine),
        runs=SqlRunStore(engine),
        metrics=SqlMetricStore(engine),
        artifacts=SqlArtifactStore(engine),
        step_results=SqlStepResultStore(engine),
        pipelines=SqlPipelineStore(engine),
        models=SqlModelStore(engine),
        model_versions=SqlModelVersionStore(engine),
        registrations=SqlRegistrationStore(engine),
        trusts=SqlTrustStore(engine),
        logged_models=SqlLoggedModelStore(engine),
        traces=SqlTraceStore(engine),
        environments=SqlEnvironmentStore(engine),
        evidence=SqlEvidenceStore(engine),
        verdicts=SqlVerdictStore(engine),
        approvals=SqlApprovalStore(engine),
        releases=SqlReleaseStore(engine),
        deployments=SqlDeploymentStore(engine),
        traffic=SqlTrafficStore(engine),
        rollouts=SqlRolloutStore(engine),
        segments=SqlSegmentStore(engine),
        monitors=SqlMonitorStore(engine),
        windows=SqlWindowStore(engine),
        alerts=SqlAlertStore(engine),
        triggers=SqlTriggerStore(engine),
        firings=SqlFiringStore(engine),
        changes=SqlChangeStore(engine),
        kept=SqlKeptRecords(engine),
        tombstones=SqlTombstoneStore(engine),
        sweeps=SqlSweepStore(engine),
        policies=SqlPolicyStore(engine),
        webhooks=SqlWebhookStore(engine),
        deliveries=SqlDeliveryStore(engine),
        tokens=SqlTokenStore(engine),
        predictions=SqlPredictionStore(engine),
        ledger=SqlLedgerStore(engine),
        lineage=SqlLineageStore(engine),
        events=SqlEventStore(engine),
        leases=SqlLeaseStore(engine),
    )
