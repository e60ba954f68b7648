"""Time, handed in: nothing in the platform asks the machine for the time by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol

from msgspec import Meta

Instant = Annotated[datetime, Meta(tz=True)]
"""A time that came from outside: one without a time zone is refused, because it could be any of 24."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    def now(self) -> datetime:
        """The present, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def to_us(moment: datetime) -> int:
    """Microseconds since 1970: the form in which databases and columns keep a time exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def microseconds(clock: Clock) -> Callable[[], int]:
    """What tells the present in microseconds since 1970, for who asks at each step of a loop: the machine's clock is
    then read without making a date of it."""
    if isinstance(clock, SystemClock):
        return _of_the_machine
    return lambda: to_us(clock.now())


def _of_the_machine() -> int:
    return time.time_ns() // 1000
