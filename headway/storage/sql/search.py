"""What is searched of runs in SQL, beside the records: one narrow row per run and one per param and tag."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import BigInteger, Column, Connection, Index, Table, delete, update

from headway.lifecycle.runs.records import Run
from headway.lifecycle.runs.search import Kind
from headway.storage.sql.engine import SqlEngine
from headway.storage.sql.metrics import CURVES
from headway.storage.sql.tables import METADATA, TEXT, to_us

FOUND = Table(
    "run_search",
    METADATA,
    Column("run", TEXT, primary_key=True),
    Column("experiment", TEXT, nullable=False),
    Column("deleted", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("name", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("user", TEXT, nullable=False),
    Index("run_search_newest", "experiment", "deleted", "started_at", "run"),
)
TEXTS = Table(
    "run_texts",
    METADATA,
    Column("run", TEXT, primary_key=True),
    Column("kind", TEXT, primary_key=True),
    Column("key", TEXT, primary_key=True),
    Column("value", TEXT, nullable=False),
    sqlite_with_rowid=False,
)
"""`kind` is param, tag, or input_ and the field; the key of an input is its place."""

CONTEXT = "mlflow.data.context"
"""The tag of an input that says what it was read for."""


def index_run(engine: SqlEngine, connection: Connection, run: Run) -> None:
    """Bring what is searched up to date with the record."""
    row = {
        "run": run.id, "experiment": run.experiment, "deleted": int(run.deleted_at is not None),
        "started_at": to_us(run.started_at or run.created_at),
        "ended_at": None if run.ended_at is None else to_us(run.ended_at),
        "name": run.name, "state": run.state, "user": run.user or run.started_by,
    }  # fmt: skip
    find = f"SELECT experiment FROM run_search WHERE run = {engine.mark}"
    before = connection.exec_driver_sql(find, (run.id,)).scalar()
    engine.insert_rows(FOUND, [tuple(row[column.name] for column in FOUND.columns)], replace=True)
    if before not in (None, run.experiment):
        connection.execute(update(CURVES).where(CURVES.c.run == run.id).values(experiment=run.experiment))
    query = f"SELECT kind, key, value FROM run_texts WHERE run = {engine.mark}"
    kept = {(kind, key): value for kind, key, value in connection.exec_driver_sql(query, (run.id,))}
    wanted = dict(_texts(run))
    changed = [(run.id, kind, key, value) for (kind, key), value in wanted.items() if kept.get((kind, key)) != value]
    engine.insert_rows(TEXTS, changed, replace=True)
    for kind, key in kept.keys() - wanted.keys():
        connection.execute(delete(TEXTS).where(TEXTS.c.run == run.id, TEXTS.c.kind == kind, TEXTS.c.key == key))


def _texts(run: Run) -> Iterable[tuple[tuple[str, str], str]]:
    yield from (((Kind.PARAM.value, key), value) for key, value in run.params.items())
    yield from (((Kind.TAG.value, key), value) for key, value in run.tags.items())
    for place, item in enumerate(run.inputs):
        yield ("input_name", str(place)), item.name
        yield ("input_digest", str(place)), item.digest
        yield ("input_context", str(place)), item.tags.get(CONTEXT, "")
