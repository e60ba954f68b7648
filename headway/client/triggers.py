"""Triggers, over a connection. A trigger is named by its name or its id."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from headway.client.http import Connection
from headway.client.line import segment
from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.changes.asked import Backfill, Backfilled, FireTrigger
from headway.lifecycle.changes.records import Firing, FiringState, Trigger
from headway.lifecycle.changes.triggers import Standing


class Renewed(Value):
    """The secret of a trigger, which is shown this once."""

    secret: str


class Triggers:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, reference: str) -> Standing:
        """How a trigger stands: when it is due, what waits for what, what came last."""
        return self._connection.get(_path(reference), Standing)

    def fire(self, reference: str, *, params: Mapping[str, str] | None = None, why: str = "", key: str = "") -> Firing:
        """Have it open a change now, or as soon as its concurrency allows; the same `key` again opens no second one."""
        command = FireTrigger(params=dict(params or {}), why=why, key=key)
        return self._connection.post(_path(reference) + "/fire", Firing, command)

    def pause(self, reference: str, why: str) -> Trigger:
        return self._connection.post(_path(reference) + "/pause", Trigger, {"why": why})

    def resume(self, reference: str) -> Trigger:
        return self._connection.post(_path(reference) + "/resume", Trigger, {})

    def backfill(
        self, reference: str, since: datetime, until: datetime, *, dry_run: bool = False, most: int = 100, why: str = ""
    ) -> Backfilled:
        """One change for each due time in [since, until] that has none yet; with `dry_run` only say which."""
        command = Backfill(since=since, until=until, dry_run=dry_run, most=most, why=why)
        return self._connection.post(_path(reference) + "/backfill", Backfilled, command)

    def secret(self, reference: str) -> str:
        """A new secret that signs requests to fire it; the one before holds no more."""
        return self._connection.post(_path(reference) + "/secret", Renewed, {}).secret

    def history(
        self, reference: str, *, state: FiringState | None = None, limit: int = 100, before: str | None = None
    ) -> Page[Firing]:
        """What it took notice of, and what became of that, newest first."""
        return self._connection.get(
            _path(reference) + "/firings", Page[Firing], state=state, limit=limit, before=before
        )

    def list(self) -> Page[Trigger]:
        return self._connection.get("/v1/triggers", Page[Trigger])


def _path(reference: str) -> str:
    return f"/v1/triggers/{segment(reference)}"
