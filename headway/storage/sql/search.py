"""What is searched of runs in SQL, beside the records: one narrow row per run and one per param and tag."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Table

from headway.lifecycle.runs.records import Run
from headway.lifecycle.runs.search import Kind
from headway.storage.sql.engine import SqlEngine
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


def index_run(engine: SqlEngine, run: Run, before: Run | None) -> None:
    """Bring what is searched up to date with the record; what it says already, of the run as it was `before`, is not
    written again."""
    mark, row = engine.mark, _row(run)
    if before is None or _row(before) != row:
        engine.insert_rows(FOUND, [row], replace=True)
    if before is not None and before.experiment != run.experiment:
        engine.write(f"UPDATE curves SET experiment = {mark} WHERE run = {mark}", [(run.experiment, run.id)])
    kept, wanted = {} if before is None else dict(_texts(before)), dict(_texts(run))
    changed = [(run.id, kind, key, value) for (kind, key), value in wanted.items() if kept.get((kind, key)) != value]
    engine.insert_rows(TEXTS, changed, replace=True)
    removed = [(run.id, kind, key) for kind, key in kept.keys() - wanted.keys()]
    engine.write(f"DELETE FROM run_texts WHERE run = {mark} AND kind = {mark} AND key = {mark}", removed)


def _row(run: Run) -> tuple[Any, ...]:
    return (
        run.id, run.experiment, int(run.deleted_at is not None), to_us(run.started_at or run.created_at),
        None if run.ended_at is None else to_us(run.ended_at), run.name, run.state, run.user or run.started_by,
    )  # fmt: skip


def _texts(run: Run) -> Iterable[tuple[tuple[str, str], str]]:
    yield from (((Kind.PARAM.value, key), value) for key, value in run.params.items())
    yield from (((Kind.TAG.value, key), value) for key, value in run.tags.items())
    for place, item in enumerate(run.inputs):
        yield ("input_name", str(place)), item.name
        yield ("input_digest", str(place)), item.digest
        yield ("input_context", str(place)), item.tags.get(CONTEXT, "")
