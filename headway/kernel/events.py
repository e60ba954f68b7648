"""What has happened, told to whoever listens: the one backward arrow of the platform (alert -> change) is an event."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from headway.kernel.records import Value


class Event(Value):
    """`kind` is a past participle (`RunFinished`), `subject` the id of what it happened to."""

    number: int
    kind: str
    subject: str
    at: datetime
    facts: dict[str, Any] = {}


class EventStore(Protocol):
    """The outbox: written in the transaction of what it tells, read by each listener at its own pace."""

    def after(self, number: int, limit: int = 100) -> list[Event]: ...

    def last(self) -> int:
        """The number of the newest event; 0 before the first."""
        ...

    def heard(self, listener: str) -> int:
        """The number of the last event that `listener` has dealt with; 0 for a new one."""
        ...

    def mark(self, listener: str, number: int) -> None:
        """Remember, inside an act, that `listener` has dealt with all up to `number`."""
        ...
