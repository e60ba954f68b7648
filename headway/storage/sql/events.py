"""The outbox in SQL, and how far each listener has read it."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, LargeBinary, Row, Table, func, select

from headway.kernel.clock import from_us
from headway.kernel.events import Event
from headway.storage.sql.engine import SqlEngine
from headway.storage.sql.tables import COUNTER, METADATA, TEXT

EVENTS = Table(
    "events",
    METADATA,
    Column("number", COUNTER, primary_key=True),
    Column("kind", TEXT, nullable=False),
    Column("subject", TEXT, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("facts", LargeBinary, nullable=False),
    sqlite_autoincrement=True,  # a number is never given twice, even when old events are cleared away
)

MARKS = Table(
    "marks",
    METADATA,
    Column("listener", TEXT, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

_read_facts = msgspec.json.Decoder(dict).decode


def _event(row: Row[Any]) -> Event:
    return Event(**{**row._mapping, "at": from_us(row.at), "facts": _read_facts(row.facts)})


class SqlEventStore:
    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine

    def after(self, number: int, limit: int = 100) -> list[Event]:
        query = select(EVENTS).where(EVENTS.c.number > number).order_by(EVENTS.c.number).limit(limit)
        with self._engine.reading() as connection:
            return [_event(row) for row in connection.execute(query)]

    def last(self) -> int:
        with self._engine.reading() as connection:
            return connection.scalar(select(func.max(EVENTS.c.number))) or 0

    def heard(self, listener: str) -> int:
        with self._engine.reading() as connection:
            return connection.scalar(select(MARKS.c.number).where(MARKS.c.listener == listener)) or 0

    def mark(self, listener: str, number: int) -> None:
        with self._engine.writing() as connection:
            connection.execute(self._engine.upsert(MARKS), {"listener": listener, "number": number})
