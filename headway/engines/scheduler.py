"""Looks for what triggers listen to, and opens the changes that they ask for.

It looks at state, not at messages: an alert that is unresolved, a dataset version that is newer than the trigger, a
time that has come. What it finds is written down once, as a firing; what a firing may do now is decided by rules, again
and again, until it has opened its change or was skipped. So nothing is lost between the two, and nothing comes twice.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from headway.errors import HeadwayError, Invalid, NotFound
from headway.kernel.access import SYSTEM
from headway.kernel.clock import Clock
from headway.kernel.paging import MOST
from headway.lifecycle.changes.asked import slot_key
from headway.lifecycle.changes.calendar import Calendar
from headway.lifecycle.changes.records import CatchUp, Cause, Firing, Noticed, Stage, Trigger
from headway.lifecycle.datasets.records import DatasetVersion
from headway.lifecycle.monitors.records import Alert, AlertState
from headway.lifecycle.platform import Platform

_LOG = logging.getLogger("headway.scheduler")
IN_TIME = timedelta(minutes=1)
"""What is looked at later than this after it came was missed."""


class Scheduler:
    def __init__(self, platform: Platform, clock: Clock, calendar: Calendar) -> None:
        self._platform, self._clock, self._calendar = platform, clock, calendar
        self._next_due: dict[tuple[str, str, str, datetime], datetime | None] = {}

    def step(self) -> None:
        """One look at all triggers, and at the alerts that have been dealt with."""
        self._resolve()
        triggers = self._platform.triggers
        for trigger in triggers.all():
            try:
                if not trigger.paused_at and trigger.on in _LOOKS:
                    triggers.notice(trigger, _LOOKS[trigger.on](self, trigger))
            except HeadwayError as error:
                _LOG.warning("trigger %s: %s", trigger.name, error)
        waiting: dict[str, list[Firing]] = {}
        for firing in triggers.waiting():
            waiting.setdefault(firing.trigger, []).append(firing)
        for identifier, firings in waiting.items():
            try:
                self._advance(identifier, firings)
            except HeadwayError as error:
                _LOG.warning("trigger %s: %s", identifier, error)

    def _advance(self, identifier: str, firings: list[Firing]) -> None:
        trigger = self._platform.triggers.get(identifier)
        for firing in firings:
            pointless = self._pointless(firing)
            if pointless:
                self._platform.triggers.skip(firing, pointless)
        self._platform.triggers.advance(trigger, event_at=self._platform.predictions.last_event_at(trigger.deployment))

    def _pointless(self, firing: Firing) -> str:
        if firing.cause is not Cause.ALERT:
            return ""
        try:
            alert = self._platform.monitors.alert(firing.key)
        except NotFound:
            return "the alert is gone"
        return f"the alert was resolved: {alert.note}" if alert.state is AlertState.RESOLVED else ""

    def _alerts(self, trigger: Trigger) -> list[Noticed]:
        alerts = self._platform.monitors.unresolved(trigger.source)
        return [
            Noticed(key=alert.id, cause=Cause.ALERT, why=alert.message, facts={"alert": alert.id}) for alert in alerts
        ]

    def _datasets(self, trigger: Trigger) -> list[Noticed]:
        """The versions that came since, oldest first: the newest of them, or all; with a tag, the one it leads to."""
        if trigger.tag:
            return self._tagged(trigger)
        limit = 1 if trigger.catch_up is not CatchUp.ALL else min(trigger.most_caught_up, MOST)
        page = self._platform.datasets.versions(trigger.source, limit=limit).items
        new = [version for version in reversed(page) if version.created_at > trigger.since]
        return [self._version(trigger, version) for version in new]

    def _tagged(self, trigger: Trigger) -> list[Noticed]:
        """A tag is moved by hand, also to a version that is old: each version is news once."""
        try:
            version = self._platform.datasets.version(f"{trigger.source}@{trigger.tag}")
        except (Invalid, NotFound):  # nothing bears it yet
            return []
        why, facts = f"{version.label} is tagged {trigger.tag}", {"version": version.label}
        return [Noticed(key=version.id, cause=Cause.DATASET, why=why, facts=facts)]

    def _version(self, trigger: Trigger, version: DatasetVersion) -> Noticed:
        late = trigger.catch_up is CatchUp.NONE and self._clock.now() - version.created_at > IN_TIME
        return Noticed(
            key=version.id, cause=Cause.DATASET, why=f"new version {version.label}", facts={"version": version.label},
            missed=_MISSED if late else "",
        )  # fmt: skip

    def _schedule(self, trigger: Trigger) -> list[Noticed]:
        since, now = self._platform.triggers.last_slot(trigger), self._clock.now()
        if not self._is_due(trigger, since, now):
            return []
        wanted = trigger.most_caught_up if trigger.catch_up is CatchUp.ALL else 1
        found = self._calendar.within(trigger.source, trigger.time_zone, since, now, wanted + 1)
        slots, before = found[-wanted:], len(found) > wanted
        return [self._slot(trigger, slot, now, before and slot is slots[0]) for slot in slots]

    def _is_due(self, trigger: Trigger, since: datetime, now: datetime) -> bool:
        """Kept in memory, for it is asked several times a second."""
        place = (trigger.id, trigger.source, trigger.time_zone, since)
        if place not in self._next_due:
            self._next_due = {key: due for key, due in self._next_due.items() if key[0] != trigger.id}
            due = self._calendar.after(trigger.source, trigger.time_zone, since, 1)
            self._next_due[place] = due[0] if due else None
        due_at = self._next_due[place]
        return due_at is not None and due_at <= now

    def _slot(self, trigger: Trigger, slot: datetime, now: datetime, first_of_more: bool) -> Noticed:
        late = trigger.catch_up is CatchUp.NONE and now - slot > IN_TIME
        before = "; earlier due times were missed" if first_of_more else ""
        return Noticed(
            key=slot_key(trigger, slot), cause=Cause.SCHEDULE, why=f"due at {slot.isoformat()}{before}", slot_at=slot,
            missed=_MISSED if late else "",
        )  # fmt: skip

    def _resolve(self) -> None:
        for alert in self._platform.monitors.unresolved():
            reason = self._answered(alert)
            if reason:
                self._platform.monitors.resolve(alert.id, reason, by=SYSTEM)

    def _answered(self, alert: Alert) -> str:
        """What has made an alert pointless: the release it speaks of no longer serves."""
        deployment = self._platform.deployments.get(alert.deployment)
        if any(share.release == alert.release for share in deployment.traffic):
            return ""
        settled = (change for change in self._platform.changes.list().items if change.caused_by == alert.id)
        change = next((change for change in settled if change.stage is Stage.SETTLED), None)
        return f"change {change.number} settled" if change else f"{alert.release} no longer serves"


_MISSED = "it came while no server looked, and is not caught up with"
_LOOKS = {
    Cause.ALERT: Scheduler._alerts,
    Cause.DATASET: Scheduler._datasets,
    Cause.SCHEDULE: Scheduler._schedule,
}
"""People and other systems ask by themselves; for files there is `Arrivals`."""
