"""Opens the changes that triggers ask for.

It looks at state, not at messages: an alert that is unresolved, a dataset version that is newer than the trigger, a
time that has come. What was missed while nobody looked is seen at the next look, once, because a cause opens at most
one change.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from cronsim import CronSim

from headway.errors import HeadwayError
from headway.kernel.access import SYSTEM
from headway.kernel.clock import Clock
from headway.lifecycle.changes.records import Cause, Stage, Trigger
from headway.lifecycle.monitors.records import Alert
from headway.lifecycle.platform import Platform

_LOG = logging.getLogger("headway.scheduler")


class Scheduler:
    def __init__(self, platform: Platform, clock: Clock) -> None:
        self._platform, self._clock = platform, clock

    def step(self) -> None:
        """One look at all triggers, and at the alerts that have been dealt with."""
        self._resolve()
        for trigger in self._platform.changes.triggers():
            try:
                _LOOKS[trigger.on](self, trigger)
            except HeadwayError as error:
                _LOG.warning("trigger %s: %s", trigger.name, error)

    def _alerts(self, trigger: Trigger) -> None:
        for alert in self._platform.monitors.unresolved(trigger.source):
            self._fire(trigger, alert.id, alert.message)

    def _datasets(self, trigger: Trigger) -> None:
        newest = self._platform.datasets.versions(trigger.source, limit=1).items
        if newest and newest[0].created_at > trigger.created_at:
            self._fire(trigger, newest[0].id, f"new version {newest[0].label}")

    def _schedule(self, trigger: Trigger) -> None:
        due = last_due(trigger.source, trigger.created_at, self._clock.now())
        if due:
            self._fire(trigger, f"{trigger.id}/{due.isoformat()}", f"due at {due.isoformat()}")

    def _nothing(self, trigger: Trigger) -> None:
        """A person opens it."""

    def _fire(self, trigger: Trigger, cause: str, why: str) -> None:
        moment = self._platform.predictions.last_event_at(trigger.deployment)
        self._platform.changes.fire(trigger, cause, why, event_at=moment)

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


_LOOKS = {
    Cause.ALERT: Scheduler._alerts,
    Cause.DATASET: Scheduler._datasets,
    Cause.SCHEDULE: Scheduler._schedule,
    Cause.PERSON: Scheduler._nothing,
}


def last_due(line: str, since: datetime, now: datetime) -> datetime | None:
    """The latest time in (since, now] at which the cron `line` was due; None before the first."""
    times = CronSim(line, now + timedelta(seconds=1), reverse=True)
    due = next((time for time in times if time <= now), None)
    return due if due and due > since else None
