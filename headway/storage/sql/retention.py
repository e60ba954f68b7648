"""Tombstones in SQL, and letting go of records."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from sqlalchemy import Column, Table, delete, select

from headway.errors import Invalid
from headway.kernel.ids import kind_of
from headway.kernel.paging import Page
from headway.lifecycle.predictions.records import Segment
from headway.lifecycle.retention.policy import Retention
from headway.lifecycle.retention.records import Sweep, Tombstone
from headway.lifecycle.runs.records import Run
from headway.lifecycle.runs.traces import Trace
from headway.storage.sql.engine import SqlEngine
from headway.storage.sql.metrics import CHUNKS, CURVES
from headway.storage.sql.predictions import KEPT_SEGMENTS
from headway.storage.sql.runs import SPANS, STEP_LOGS, STEPS, TRACES
from headway.storage.sql.search import FOUND, TEXTS
from headway.storage.sql.tables import METADATA, RecordTable, SqlRecordStore
from headway.storage.sql.trace_search import TRACE_SEARCH, TRACE_TEXTS

TOMBSTONES = RecordTable("tombstones", Tombstone, "kind", index=["kind"])
SWEEPS = RecordTable("sweeps", Sweep)
POLICIES = RecordTable("retention_policies", Retention)
_BESIDE: dict[str, tuple[Column[str], ...]] = {
    Run.prefix: (STEPS.c.run, STEP_LOGS.c.run, FOUND.c.run, TEXTS.c.run, CURVES.c.run),
    Trace.prefix: (TRACE_SEARCH.c.trace, TRACE_TEXTS.c.trace),
    Segment.prefix: (KEPT_SEGMENTS.c.segment,),
}
"""By id prefix: columns that name a record of this kind in tables that the ledger does not seal."""
_AT_ONCE = 1000


class SqlTombstoneStore(SqlRecordStore[Tombstone]):
    table = TOMBSTONES

    def list(self, kind: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Tombstone]:
        return self._page(limit, before, kind=kind)


class SqlSweepStore(SqlRecordStore[Sweep]):
    table = SWEEPS

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Sweep]:
        return self._page(limit, before)


class SqlPolicyStore(SqlRecordStore[Retention]):
    table = POLICIES

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Retention]:
        return self._page(limit, before)


class SqlKeptRecords:
    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine

    def body(self, identifier: str) -> bytes | None:
        rows = _tables().get(kind_of(identifier))
        if rows is None:
            return None
        with self._engine.reading() as connection:
            found = connection.scalar(select(rows.c.body).where(rows.c.id == identifier))
        return None if found is None else bytes(found)

    def of_kind(self, prefix: str) -> Iterator[bytes]:
        rows, after = _tables()[prefix], ""
        while True:
            query = select(rows.c.id, rows.c.body).where(rows.c.id > after).order_by(rows.c.id).limit(_AT_ONCE)
            with self._engine.reading() as connection:
                found = connection.execute(query).all()
            if not found:
                return
            yield from (bytes(row.body) for row in found)
            after = found[-1].id

    def remove(self, identifier: str) -> None:
        kind = kind_of(identifier)
        if kind not in _tables():
            raise Invalid(f"{identifier[:100]!r} is no id of a record")
        rows = _tables()[kind]
        with self._engine.writing() as connection:
            if kind == Run.prefix:
                curves = select(CURVES.c.number).where(CURVES.c.run == identifier)
                connection.execute(delete(CHUNKS).where(CHUNKS.c.curve.in_(curves)))
            if kind == Trace.prefix:
                request = select(TRACES.rows.c.request).where(TRACES.rows.c.id == identifier)
                connection.execute(delete(SPANS).where(SPANS.c.request.in_(request)))
            for column in _BESIDE.get(kind, ()):
                connection.execute(delete(column.table).where(column == identifier))
            connection.execute(delete(rows).where(rows.c.id == identifier))
        self._engine.note(rows.name, identifier, None)


@cache
def _tables() -> dict[str, Table]:
    """By id prefix: where records of that kind are kept."""
    kept = [table.info["kept"] for table in METADATA.sorted_tables if "kept" in table.info]
    return {each.record_type.prefix: each.rows for each in kept if each.record_type.prefix}
