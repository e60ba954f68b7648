"""When a schedule is due."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Calendar(Protocol):
    """Reads cron lines in time zones of the IANA database; all times are given and taken in UTC.

    A line with a fixed hour and minute comes once a day, whatever the clocks do: a time that they leave out comes when
    they have gone on, a time that they repeat comes the first time. Other lines go by the time that passes.
    """

    def knows(self, time_zone: str) -> bool: ...

    def after(self, line: str, time_zone: str, since: datetime, most: int) -> list[datetime]:
        """The first due times after `since`."""
        ...

    def within(self, line: str, time_zone: str, since: datetime, until: datetime, most: int) -> list[datetime]:
        """The last `most` due times in (since, until], oldest first."""
        ...

    def day(self, moment: datetime, time_zone: str) -> str:
        """The date there, as 2026-01-31."""
        ...
