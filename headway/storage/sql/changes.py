"""Triggers and changes in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select

from headway.kernel.clock import from_us
from headway.kernel.paging import Page
from headway.lifecycle.changes.records import OVER, Cause, Change, Firing, FiringState, Trigger
from headway.storage.sql.tables import RecordTable, SqlRecordStore

TRIGGERS = RecordTable("triggers", Trigger, "name", unique=[("name",)])
CHANGES = RecordTable(
    "changes", Change, "number", "trigger", "caused_by", "stage", index=["trigger", "stage"], unique=[("number",)]
)

FIRINGS = RecordTable(
    "firings", Firing, "trigger", "key", "cause", "state", "slot_at",
    index=["trigger", "state"], unique=[("trigger", "key")],
)  # fmt: skip


class SqlTriggerStore(SqlRecordStore[Trigger]):
    table = TRIGGERS

    def named(self, name: str) -> Trigger | None:
        return self._first(TRIGGERS.rows.c.name == name)

    def all(self) -> list[Trigger]:
        return self._every(order=[TRIGGERS.rows.c.name])


class SqlFiringStore(SqlRecordStore[Firing]):
    table = FIRINGS

    def keyed(self, trigger: str, key: str) -> Firing | None:
        return self._first(FIRINGS.rows.c.trigger == trigger, FIRINGS.rows.c.key == key)

    def waiting(self, trigger: str | None = None) -> list[Firing]:
        of = [] if trigger is None else [FIRINGS.rows.c.trigger == trigger]
        return self._every(FIRINGS.rows.c.state == FiringState.WAITING, *of)

    def last_slot(self, trigger: str) -> datetime | None:
        rows = FIRINGS.rows
        query = select(func.max(rows.c.slot_at)).where(rows.c.trigger == trigger, rows.c.cause == Cause.SCHEDULE)
        with self._engine.reading() as connection:
            found = connection.scalar(query)
        return None if found is None else from_us(found)

    def list(
        self, trigger: str, *, state: FiringState | None = None, limit: int = 100, before: str | None = None
    ) -> Page[Firing]:
        return self._page(limit, before, trigger=trigger, state=state)


class SqlChangeStore(SqlRecordStore[Change]):
    table = CHANGES

    def numbered(self, number: int) -> Change | None:
        return self._first(CHANGES.rows.c.number == number)

    def last_number(self) -> int:
        with self._engine.reading() as connection:
            return connection.scalar(select(func.max(CHANGES.rows.c.number))) or 0

    def open(self) -> list[Change]:
        """Oldest first."""
        return self._every(CHANGES.rows.c.stage.not_in(sorted(OVER)))

    def caused(self, trigger: str, cause: str | None = None) -> Change | None:
        by_cause = [] if cause is None else [CHANGES.rows.c.caused_by == cause]
        return self._first(CHANGES.rows.c.trigger == trigger, *by_cause)

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Change]:
        return self._page(limit, before)
