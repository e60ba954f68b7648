"""Runs are searched by name, time, param and tag; logged models, registrations and traces are kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TABLES = sa.MetaData()
_FOUND = sa.Table(
    "run_search",
    _TABLES,
    sa.Column("run", _TEXT, primary_key=True),
    sa.Column("experiment", _TEXT, nullable=False),
    sa.Column("deleted", sa.BigInteger, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("name", _TEXT, nullable=False),
    sa.Column("state", _TEXT, nullable=False),
    sa.Column("user", _TEXT, nullable=False),
    sa.Index("run_search_newest", "experiment", "deleted", "started_at", "run"),
)
_TEXTS = sa.Table(
    "run_texts",
    _TABLES,
    sa.Column("run", _TEXT, primary_key=True),
    sa.Column("kind", _TEXT, primary_key=True),
    sa.Column("key", _TEXT, primary_key=True),
    sa.Column("value", _TEXT, nullable=False),
    sqlite_with_rowid=False,
)
sa.Table(
    "logged_models",
    _TABLES,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("experiment", _TEXT, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("logged_models_by_experiment", "experiment", "id"),
)
sa.Table(
    "registrations",
    _TABLES,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("model", _TEXT, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("registrations_one_model_number", "model", "number", unique=True),
)
sa.Table(
    "traces",
    _TABLES,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("request", _TEXT, nullable=False),
    sa.Column("experiment", _TEXT, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("traces_by_experiment", "experiment", "id"),
    sa.Index("traces_one_request", "request", unique=True),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def upgrade() -> None:
    connection = op.get_bind()
    _TABLES.create_all(connection)
    for body in connection.scalars(sa.text("SELECT body FROM runs ORDER BY id")).all():
        run = msgspec.json.decode(body, type=dict[str, Any])
        connection.execute(_FOUND.insert(), _row(run))
        if texts := list(_texts(run)):
            connection.execute(_TEXTS.insert(), texts)


def _row(run: dict[str, Any]) -> dict[str, Any]:
    started, ended = run.get("started_at") or run["created_at"], run.get("ended_at")
    return {
        "run": run["id"], "experiment": run["experiment"], "deleted": 0, "started_at": _us(started),
        "ended_at": ended and _us(ended), "name": run.get("name", ""), "state": run["state"],
        "user": run.get("started_by", ""),
    }  # fmt: skip


def _texts(run: dict[str, Any]) -> Iterator[dict[str, str]]:
    for kind in ("param", "tag"):
        for key, value in run.get(f"{kind}s", {}).items():
            yield {"run": run["id"], "kind": kind, "key": key, "value": value}


def _us(written: str) -> int:
    return (msgspec.convert(written, datetime) - _EPOCH) // _MICROSECOND
