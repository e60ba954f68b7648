"""Monitors and alerts: a saved question over windows of predictions, and its raised hand."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from headway.kernel.records import Record, State
from headway.lifecycle.gates.records import Outcome


class Watches(StrEnum):
    DRIFT = "drift"
    QUALITY = "quality"
    CLASSES = "classes"
    """How often each class is predicted."""
    SKEW = "skew"
    """How many rows break rules of the contract that lets them pass."""
    DATA = "data"
    """Whether new versions of the training data break such rules."""


class Monitor(Record, prefix="mo"):
    name: str
    deployment: str
    watches: Watches
    settings: dict[str, Any] = {}
    """Settings of the method, as `settings.py` has them."""


class Window(Record, prefix="wi"):
    """A monitor's answer for one day of events, for the release whose reference it was held against; or, of a monitor
    of data, for one dataset version, whose label stands in the place of the day."""

    monitor: str
    release: str
    day: str
    rows: int
    outcome: Outcome
    statistic: float
    """Evidence gathered so far against `nothing has changed`; the alarm is at `limit`."""
    limit: float
    reason: str
    numbers: dict[str, Any] = {}


class AlertState(State):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


MOVES: dict[AlertState, frozenset[AlertState]] = {
    AlertState.OPEN: frozenset({AlertState.ACKNOWLEDGED, AlertState.RESOLVED}),
    AlertState.ACKNOWLEDGED: frozenset({AlertState.RESOLVED}),
    AlertState.RESOLVED: frozenset(),
}


class Alert(Record, prefix="al"):
    """One per monitor and release at most stays unresolved."""

    monitor: str
    deployment: str
    release: str
    window: str
    day: str
    message: str
    state: AlertState = AlertState.OPEN
    moved_by: str = ""
    moved_at: datetime | None = None
    note: str = ""
