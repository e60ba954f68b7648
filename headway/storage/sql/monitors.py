"""Monitors, their windows and alerts in SQL."""

from __future__ import annotations

from headway.kernel.paging import Page
from headway.lifecycle.monitors.records import Alert, AlertState, Monitor, Window
from headway.storage.sql.tables import RecordTable, SqlRecordStore

MONITORS = RecordTable("monitors", Monitor, "name", unique=[("name",)])
WINDOWS = RecordTable("windows", Window, "monitor", "release", "day", index=["monitor"])
ALERTS = RecordTable("alerts", Alert, "monitor", "state", index=["monitor", "state"])


class SqlMonitorStore(SqlRecordStore[Monitor]):
    table = MONITORS

    def named(self, name: str) -> Monitor | None:
        return self._first(MONITORS.rows.c.name == name)

    def all(self) -> list[Monitor]:
        return self._every(order=[MONITORS.rows.c.name])


class SqlWindowStore(SqlRecordStore[Window]):
    table = WINDOWS

    def of(self, monitor: str, release: str, day: str | None = None) -> Window | None:
        column = WINDOWS.rows.c
        dated = [] if day is None else [column.day == day]
        return self._first(column.monitor == monitor, column.release == release, *dated, order=[column.day.desc()])

    def list(self, monitor: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Window]:
        return self._page(limit, before, monitor=monitor)


class SqlAlertStore(SqlRecordStore[Alert]):
    table = ALERTS

    def unresolved(self, monitor: str | None = None) -> list[Alert]:
        """Oldest first."""
        column = ALERTS.rows.c
        named = [] if monitor is None else [column.monitor == monitor]
        return self._every(column.state != AlertState.RESOLVED, *named)

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Alert]:
        return self._page(limit, before)
