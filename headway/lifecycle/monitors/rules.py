"""What an alert may do next."""

from __future__ import annotations

from datetime import datetime

from headway.errors import IllegalMove
from headway.lifecycle.monitors.records import MOVES, Alert, AlertState


def moved(alert: Alert, state: AlertState, *, by: str, at: datetime, note: str = "") -> Alert:
    """The alert in its new state; raises `IllegalMove`. Moving to where it stands already changes nothing."""
    if state is alert.state:
        return alert
    if state not in MOVES[alert.state]:
        raise IllegalMove(f"alert {alert.id} is {alert.state}; it cannot become {state}")
    return alert.but(state=state, moved_by=by, moved_at=at, note=note)
