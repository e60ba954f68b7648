"""What one can do with monitors and alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headway.errors import NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Act, Journal
from headway.kernel.naming import checked_name
from headway.kernel.paging import Page
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.records import Alert, AlertState, Monitor, Watches, Window
from headway.lifecycle.monitors.rules import moved
from headway.lifecycle.monitors.settings import settings_of
from headway.lifecycle.monitors.store import AlertStore, MonitorStore, WindowStore
from headway.lifecycle.rollouts.deployments import DeploymentService


class MonitorService:
    def __init__(
        self,
        journal: Journal,
        store: MonitorStore,
        windows: WindowStore,
        alerts: AlertStore,
        deployments: DeploymentService,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._store, self._windows, self._alerts = journal, store, windows, alerts
        self._deployments, self._clock, self._ids = deployments, clock, ids

    def declare(self, name: str, deployment: str, watches: Watches, settings: dict[str, Any], *, by: Actor) -> Monitor:
        """Make the monitor be as said; saying it again changes nothing. Raises `BadSettings` for what it cannot be."""
        by.must(Permission.OPERATE)
        checked_name(name, "monitor")
        self._deployments.get(deployment)
        settings_of(name, watches, settings)
        with self._journal.act(by.name, "monitor.declare") as act:
            known = self._store.named(name)
            declared = Monitor(
                id=known.id if known else self._ids(Monitor.prefix),
                created_at=known.created_at if known else self._clock.now(),
                name=name,
                deployment=deployment,
                watches=watches,
                settings=settings,
            )
            return declared if declared == known else act.save(self._store, declared)

    def get(self, name: str) -> Monitor:
        found = self._store.named(name)
        if found is None:
            raise NotFound(f"no monitor {name!r}; declare it in headway.toml as [monitors.{name}]")
        return found

    def list(self) -> list[Monitor]:
        return self._store.all()

    def last_window(self, monitor: str, release: str, day: str | None = None) -> Window | None:
        return self._windows.of(monitor, release, day)

    def record(
        self,
        monitor: Monitor,
        release: str,
        day: str,
        *,
        rows: int,
        outcome: Outcome,
        statistic: float,
        limit: float,
        reason: str,
        numbers: dict[str, Any],
        came_from: Sequence[str] = (),
        by: Actor,
    ) -> Window:
        """Keep the answer for one day, once; a failure raises an alert unless one of this release is unresolved."""
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, "monitor.window", why=reason[:1000]) as act:
            known = self._windows.of(monitor.name, release, day)
            if known:
                return known
            window = Window(
                id=self._ids(Window.prefix),
                created_at=self._clock.now(),
                monitor=monitor.name,
                release=release,
                day=day,
                rows=rows,
                outcome=outcome,
                statistic=statistic,
                limit=limit,
                reason=reason,
                numbers=numbers,
            )
            act.save(self._windows, window, came_from=[monitor.id, release, *came_from])
            if outcome is Outcome.FAIL:
                self._raise(act, monitor, window)
            return window

    def _raise(self, act: Act, monitor: Monitor, window: Window) -> None:
        if any(alert.release == window.release for alert in self._alerts.unresolved(monitor.name)):
            return
        alert = Alert(
            id=self._ids(Alert.prefix),
            created_at=self._clock.now(),
            monitor=monitor.name,
            deployment=monitor.deployment,
            release=window.release,
            window=window.id,
            day=window.day,
            message=window.reason,
        )
        act.save(self._alerts, alert, came_from=[window.id])
        act.emit("AlertRaised", alert.id, monitor=monitor.name, deployment=monitor.deployment, day=window.day)

    def acknowledge(self, identifier: str, note: str = "", *, by: Actor) -> Alert:
        return self._move(identifier, AlertState.ACKNOWLEDGED, note, by=by)

    def resolve(self, identifier: str, note: str = "", *, by: Actor) -> Alert:
        return self._move(identifier, AlertState.RESOLVED, note, by=by)

    def _move(self, identifier: str, state: AlertState, note: str, *, by: Actor) -> Alert:
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, f"alert.{state}", why=note) as act:
            alert = self.alert(identifier)
            after = moved(alert, state, by=by.name, at=self._clock.now(), note=note)
            return alert if after is alert else act.save(self._alerts, after)

    def alert(self, identifier: str) -> Alert:
        found = self._alerts.get(identifier)
        if found is None:
            raise NotFound(f"no alert {identifier!r}; `headway alert list` shows what there is")
        return found

    def unresolved(self, monitor: str | None = None) -> tuple[Alert, ...]:
        return tuple(self._alerts.unresolved(monitor))

    def alerts(self, *, limit: int = 100, before: str | None = None) -> Page[Alert]:
        return self._alerts.list(limit=limit, before=before)

    def windows(self, monitor: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Window]:
        return self._windows.list(monitor, limit=limit, before=before)
