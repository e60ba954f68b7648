"""When a cron line is due in a time zone, by cronsim, which reads lines as Debian's cron does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim

from headway.errors import BadSettings

_FIRST_LOOK = timedelta(hours=2)
_WIDER = 32


class CronCalendar:
    """Implements `Calendar`."""

    def knows(self, time_zone: str) -> bool:
        try:
            _zone(time_zone)
        except BadSettings:
            return False
        return True

    def after(self, line: str, time_zone: str, since: datetime, most: int) -> list[datetime]:
        found: list[datetime] = []
        for due in _times(line, time_zone, since):
            if len(found) == most:
                break
            found.append(due)
        return found

    def within(self, line: str, time_zone: str, since: datetime, until: datetime, most: int) -> list[datetime]:
        # Backwards cronsim answers otherwise where clocks change, so that it is asked forwards, from ever further back:
        # a line of every minute that nobody looked at for a year has half a million times.
        look = _FIRST_LOOK
        while True:
            start = max(since, until - look)
            found = []
            for due in _times(line, time_zone, start):
                if due > until:
                    break
                found.append(due)
            if len(found) >= most or start == since:
                return found[-most:]
            look *= _WIDER

    def day(self, moment: datetime, time_zone: str) -> str:
        return moment.astimezone(_zone(time_zone)).date().isoformat()


def _times(line: str, time_zone: str, since: datetime) -> Iterator[datetime]:
    """Due times after `since`, rising, in UTC."""
    last = since
    # A day earlier: when `since` lies where the clocks are set back, its local time alone does not say which of both.
    for local in CronSim(line, (since - timedelta(days=1)).astimezone(_zone(time_zone))):
        due = local.astimezone(UTC)
        if due > last:
            yield due
            last = due


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadSettings(
            f"this machine knows no time zone {name[:60]!r}; names are as in Europe/Berlin, and `pip install tzdata` "
            "brings them where there are none"
        ) from error
