"""What is searched of runs in SQL, beside the records: one narrow row per run and one per param and tag."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Table

from headway.kernel.clock import to_us
from headway.lifecycle.runs.records import Input, Run
from headway.lifecycle.runs.search import Kind
from headway.storage.sql.engine import SqlEngine
from headway.storage.sql.tables import METADATA, TEXT

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

_Place = tuple[str, str, str]
_Text = tuple[str, str, str, str]
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
    changed: list[_Text] = []
    removed: list[_Place] = []
    for kind, of in _TEXTS.items():
        wanted, kept = of(run), {} if before is None else of(before)
        if wanted != kept:
            changed += [(run.id, kind, key, text) for key, text in wanted.items() if kept.get(key) != text]
            removed += [(run.id, kind, key) for key in kept.keys() - wanted.keys()]
    engine.insert_rows(TEXTS, changed, replace=True)
    engine.write(f"DELETE FROM run_texts WHERE run = {mark} AND kind = {mark} AND key = {mark}", removed)


def _row(run: Run) -> tuple[Any, ...]:
    return (
        run.id, run.experiment, int(run.deleted_at is not None), to_us(run.started_at or run.created_at),
        None if run.ended_at is None else to_us(run.ended_at), run.name, run.state, run.user or run.started_by,
    )  # fmt: skip


def _of_inputs(name: Callable[[Input], str]) -> Callable[[Run], dict[str, str]]:
    """A text of each input, by its place."""
    return lambda run: {str(place): name(item) for place, item in enumerate(run.inputs)}


_TEXTS: dict[str, Callable[[Run], dict[str, str]]] = {
    str(Kind.PARAM): lambda run: run.params,
    str(Kind.TAG): lambda run: run.tags,
    "input_name": _of_inputs(lambda item: item.name),
    "input_digest": _of_inputs(lambda item: item.digest),
    "input_context": _of_inputs(lambda item: item.tags.get(CONTEXT, "")),
}
