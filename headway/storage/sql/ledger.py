"""The ledger in SQL, and the reading of everything that it seals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Index, Row, Table, select

from headway.errors import LedgerBroken
from headway.kernel.clock import from_us, to_us
from headway.kernel.ledger import Anchor, Entry
from headway.kernel.lineage import Edge
from headway.storage.sql.engine import SqlEngine
from headway.storage.sql.lineage import LINEAGE
from headway.storage.sql.tables import COUNTER, METADATA, TEXT, RecordTable

_TEXTS = ("actor", "verb", "subject", "why", "record", "before", "came_from", "hash")
LEDGER = Table(
    "ledger",
    METADATA,
    Column("number", COUNTER, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    *(Column(name, TEXT, nullable=False) for name in _TEXTS),
    Index("ledger_by_subject", "subject", "number"),
)
_COLUMNS = tuple(column.name for column in LEDGER.columns)
_AT_ONCE = 1000


def entry_row(entry: Entry) -> tuple[Any, ...]:
    """In the order of the columns."""
    row = {**msgspec.structs.asdict(entry), "at": to_us(entry.at), "came_from": " ".join(entry.came_from)}
    return tuple(map(row.__getitem__, _COLUMNS))


def _parents(line: str) -> tuple[str, ...]:
    return tuple(line.split(" ")) if line else ()


def _entry(row: Row[Any]) -> Entry:
    try:
        return Entry(**{**row._mapping, "at": from_us(row.at), "came_from": _parents(row.came_from)})
    except (OverflowError, TypeError) as error:
        raise LedgerBroken(f"entry {row.number} has no time that could be read", number=row.number) from error


class SqlLedgerStore:
    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine

    def entries(self, *, after: int = 0, subject: str | None = None, limit: int = 1000) -> list[Entry]:
        query = select(LEDGER).where(LEDGER.c.number > after).order_by(LEDGER.c.number).limit(limit)
        if subject is not None:
            query = query.where(LEDGER.c.subject == subject)
        with self._engine.reading() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def latest(self, *, before: int | None = None, limit: int = 100) -> list[Entry]:
        query = select(LEDGER).order_by(LEDGER.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(LEDGER.c.number < before)
        with self._engine.reading() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def records(self) -> Iterator[tuple[str, bytes]]:
        for table in METADATA.sorted_tables:
            if kept := table.info.get("kept"):
                yield from self._records(kept)

    def edges(self) -> Iterator[Edge]:
        with self._engine.reading() as connection:
            for row in connection.execute(select(LINEAGE)).yield_per(_AT_ONCE):
                yield Edge(child=row.child, parent=row.parent, at=from_us(row.at))

    def anchor(self) -> Anchor | None:
        return self._engine.anchor.read()

    def snapshot(self) -> AbstractContextManager[None]:
        return self._engine.snapshot()

    def _records(self, table: RecordTable[Any]) -> Iterator[tuple[str, bytes]]:
        after = ""
        while True:
            query = select(table.rows).where(table.rows.c.id > after).order_by(table.rows.c.id).limit(_AT_ONCE)
            with self._engine.reading() as connection:
                rows = connection.execute(query).all()
            if not rows:
                return
            yield from ((row.id, table.sealed(row._asdict())) for row in rows)
            after = rows[-1].id
