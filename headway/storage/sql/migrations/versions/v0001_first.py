"""The first version."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TABLES = sa.MetaData()
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _TABLES.create_all(op.get_bind())


def _records(
    name: str, *columns: str | tuple[str, Any], index: tuple[str, ...] = (), unique: tuple[tuple[str, ...], ...] = ()
) -> None:
    typed = [(column, _TEXT) if isinstance(column, str) else column for column in columns]
    sa.Table(
        name,
        _TABLES,
        sa.Column("id", _TEXT, primary_key=True),
        *(sa.Column(column, kind, nullable=False) for column, kind in typed),
        sa.Column("body", sa.LargeBinary, nullable=False),
        *(sa.Index(f"{name}_by_{column}", column, "id") for column in index),
        *(sa.Index(f"{name}_one_{'_'.join(key)}", *key, unique=True) for key in unique),
    )


_records("alerts", "monitor", "state", index=("monitor", "state"))
_records("approvals", "change", index=("change",))
_records("artifacts", "run", "name", index=("run",))
_records(
    "changes",
    ("number", sa.BigInteger),
    "trigger",
    "caused_by",
    "stage",
    index=("trigger", "stage"),
    unique=(("number",),),
)
_records(
    "dataset_versions", "dataset", ("number", sa.BigInteger), "blob", index=("blob",), unique=(("dataset", "number"),)
)
_records("datasets", "name", unique=(("name",),))
_records("deployments", "name", unique=(("name",),))
_records("environments", "name", unique=(("name",),))
_records("evidence", "subject", index=("subject",))
_records("experiments", "name", unique=(("name",),))
_records("model_versions", "model", ("number", sa.BigInteger), "run", index=("run",), unique=(("model", "number"),))
_records("models", "name", unique=(("name",),))
_records("monitors", "name", unique=(("name",),))
_records("pipelines", "name", index=("name",))
_records("releases", "environment", index=("environment",))
_records("rollouts", "deployment", "state", index=("deployment", "state"))
_records("runs", "experiment", "parent", "change", "state", index=("experiment", "parent", "change", "state"))
_records(
    "segments",
    "deployment",
    "blob",
    ("first_event_at", sa.BigInteger),
    ("last_event_at", sa.BigInteger),
    index=("deployment", "blob"),
)
_records("step_results", "key", index=("key",))
_records("tokens", "secret_sha256", unique=(("secret_sha256",),))
_records("traffic", "deployment", ("created_at", sa.BigInteger), ("generation", sa.BigInteger), index=("deployment",))
_records("triggers", "name", unique=(("name",),))
_records("verdicts", "model_version", index=("model_version",))
_records("windows", "monitor", "release", "day", index=("monitor",))

sa.Table(
    "events",
    _TABLES,
    sa.Column("number", _COUNTER, primary_key=True),
    sa.Column("kind", _TEXT, nullable=False),
    sa.Column("subject", _TEXT, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("facts", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
sa.Table(
    "kept_segments",
    _TABLES,
    sa.Column("number", _COUNTER, primary_key=True),
    sa.Column("segment", _TEXT, nullable=False),
    sa.Index("kept_segments_one_segment", "segment", unique=True),
)
sa.Table(
    "labels",
    _TABLES,
    sa.Column("prediction", _TEXT, primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("at", sa.BigInteger),
    sqlite_with_rowid=False,
)
sa.Table(
    "last_events",
    _TABLES,
    sa.Column("deployment", _TEXT, primary_key=True),
    sa.Column("event_at", sa.BigInteger, nullable=False),
)
sa.Table(
    "leases",
    _TABLES,
    sa.Column("name", _TEXT, primary_key=True),
    sa.Column("holder", _TEXT, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)
sa.Table(
    "ledger",
    _TABLES,
    sa.Column("number", _COUNTER, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", _TEXT, nullable=False),
    sa.Column("verb", _TEXT, nullable=False),
    sa.Column("subject", _TEXT, nullable=False),
    sa.Column("why", _TEXT, nullable=False),
    sa.Column("record", _TEXT, nullable=False),
    sa.Column("before", _TEXT, nullable=False),
    sa.Column("came_from", _TEXT, nullable=False),
    sa.Column("hash", _TEXT, nullable=False),
    sa.Index("ledger_by_subject", "subject", "number"),
)
sa.Table(
    "lineage",
    _TABLES,
    sa.Column("child", _TEXT, primary_key=True),
    sa.Column("parent", _TEXT, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Index("lineage_by_parent", "parent", "child"),
    sqlite_with_rowid=False,
)
sa.Table(
    "marks",
    _TABLES,
    sa.Column("listener", _TEXT, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)
sa.Table(
    "predictions",
    _TABLES,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("deployment", _TEXT, nullable=False),
    sa.Column("segment", _TEXT, nullable=False),
    sa.Column("row", sa.BigInteger, nullable=False),
    sa.Column("release", _TEXT, nullable=False),
    sa.Column("event_at", sa.BigInteger, nullable=False),
    sa.Column("score", sa.Double),
    sa.Column("mirror_release", _TEXT),
    sa.Column("mirror_score", sa.Double),
    sqlite_with_rowid=False,
)
sa.Table(
    "quality",
    _TABLES,
    sa.Column("deployment", _TEXT, primary_key=True),
    sa.Column("release", _TEXT, primary_key=True),
    sa.Column("day", _TEXT, primary_key=True),
    sa.Column("rival", _TEXT, primary_key=True),
    sa.Column("n", sa.BigInteger, nullable=False),
    sa.Column("loss", sa.Double, nullable=False),
    sa.Column("loss_squares", sa.Double, nullable=False),
    sa.Column("paired_n", sa.BigInteger, nullable=False),
    sa.Column("paired", sa.Double, nullable=False),
    sa.Column("paired_squares", sa.Double, nullable=False),
)
sa.Table(
    "series",
    _TABLES,
    sa.Column("number", _COUNTER, primary_key=True),
    sa.Column("run", _TEXT, nullable=False),
    sa.Column("key", _TEXT, nullable=False),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.Column("step", sa.BigInteger),
    sa.Column("at", sa.BigInteger),
    sa.Column("value", sa.Double),
    sa.Index("series_one_run_key", "run", "key", unique=True),
)
sa.Table(
    "steps",
    _TABLES,
    sa.Column("run", _TEXT, primary_key=True),
    sa.Column("step", _TEXT, primary_key=True),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
sa.Table(
    "points",
    _TABLES,
    sa.Column("series", sa.BigInteger, sa.ForeignKey("series.number"), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("bits", sa.BigInteger, nullable=False),
    sa.Index("points_one_step_at_bits", "series", "step", "at", "bits", unique=True),
    sqlite_with_rowid=False,
)
