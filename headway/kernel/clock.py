"""Time, handed in: nothing in the platform asks the machine for the time by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Protocol

from msgspec import Meta

Instant = Annotated[datetime, Meta(tz=True)]
"""A time that came from outside: one without a time zone is refused, because it could be any of 24."""


class Clock(Protocol):
    def now(self) -> datetime:
        """The present, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)
