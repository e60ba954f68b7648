"""Monitors and alerts, over a connection."""

from __future__ import annotations

from headway.client.http import Connection
from headway.client.line import segment
from headway.kernel.paging import Page
from headway.lifecycle.monitors.records import Alert, Monitor, Window


class Monitors:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> Monitor:
        return self._connection.get(f"/v1/monitors/{segment(name)}", Monitor)

    def windows(self, name: str, *, limit: int = 100, before: str | None = None) -> Page[Window]:
        return self._connection.get(f"/v1/monitors/{segment(name)}/windows", Page[Window], limit=limit, before=before)

    def list(self) -> Page[Monitor]:
        return self._connection.get("/v1/monitors", Page[Monitor])


class Alerts:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, identifier: str) -> Alert:
        return self._connection.get(f"/v1/alerts/{segment(identifier)}", Alert)

    def acknowledge(self, identifier: str, note: str = "") -> Alert:
        return self._connection.post(f"/v1/alerts/{segment(identifier)}/acknowledge", Alert, {"note": note})

    def resolve(self, identifier: str, note: str = "") -> Alert:
        return self._connection.post(f"/v1/alerts/{segment(identifier)}/resolve", Alert, {"note": note})

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Alert]:
        return self._connection.get("/v1/alerts", Page[Alert], limit=limit, before=before)
