"""When cron lines are due where clocks change, held against real transitions of the IANA database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engines.calendar import CronCalendar

CALENDAR = CronCalendar()
BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
SAO_PAULO, APIA, TEHRAN = "America/Sao_Paulo", "Pacific/Apia", "Asia/Tehran"
# (line, zone, after, the next due times), all in UTC. Berlin: 2026-03-29 01:00 UTC forward, 2026-10-25 01:00 UTC back.
# New York: 2026-03-08 07:00 UTC forward, 2026-11-01 06:00 UTC back. Lord Howe changes by half an hour: 2026-10-03 15:30
# UTC forward, 2026-04-04 15:00 UTC back. Sao Paulo left out midnight on 2018-11-04. Apia left out 2011-12-30 whole.
TABLE = [
    # A fixed time that is left out comes when the clocks have gone on.
    ("30 2 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
    ("30 2 * * *", NEW_YORK, "2026-03-07T12:00", ["2026-03-08T07:00", "2026-03-09T06:30"]),
    ("15 2 * * *", LORD_HOWE, "2026-10-03T12:00", ["2026-10-03T15:30", "2026-10-04T15:15"]),
    ("0 0 * * *", SAO_PAULO, "2018-11-03T12:00", ["2018-11-04T03:00", "2018-11-05T02:00"]),
    ("0 12 * * *", APIA, "2011-12-29T12:00", ["2011-12-29T22:00", "2011-12-30T10:00", "2011-12-30T22:00"]),
    ("0 2,3 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:00", "2026-03-30T01:00"]),
    # One that is repeated comes the first time, and not again.
    ("30 2 * * *", BERLIN, "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
    ("30 2 * * *", BERLIN, "2026-10-25T00:30", ["2026-10-26T01:30"]),
    ("30 2 * * *", BERLIN, "2026-10-25T01:15", ["2026-10-26T01:30"]),
    ("30 1 * * *", NEW_YORK, "2026-10-31T12:00", ["2026-11-01T05:30", "2026-11-02T06:30"]),
    ("45 1 * * *", LORD_HOWE, "2026-04-04T12:00", ["2026-04-04T14:45", "2026-04-05T15:15"]),
    # Other lines go by the time that passes.
    ("*/30 * * * *", BERLIN, "2026-03-29T00:00", ["2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30"]),
    ("*/30 * * * *", BERLIN, "2026-10-25T00:00", ["2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30"]),
    ("0 * * * *", BERLIN, "2026-10-24T23:30", ["2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00"]),
    ("*/20 2 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-30T00:00", "2026-03-30T00:20"]),
    # Half an hour of time repeated: 01:30 to 02:00 there is twice, and hours begin at half past in UTC after it.
    ("0 * * * *", LORD_HOWE, "2026-04-04T13:30", ["2026-04-04T14:00", "2026-04-04T15:30", "2026-04-04T16:30"]),
    # No clock changes here, or none any more.
    ("30 2 * * *", "UTC", "2026-03-28T12:00", ["2026-03-29T02:30", "2026-03-30T02:30"]),
    ("0 0 * * *", TEHRAN, "2026-03-20T12:00", ["2026-03-20T20:30", "2026-03-21T20:30"]),
    ("0 9 * * MON-FRI", "Asia/Kolkata", "2026-01-02T12:00", ["2026-01-05T03:30", "2026-01-06T03:30"]),
    ("0 0 29 2 *", BERLIN, "2026-01-01T00:00", ["2028-02-28T23:00"]),
]


@pytest.mark.parametrize(("line", "zone", "since", "due"), TABLE)
def test_due_times_where_clocks_change(line: str, zone: str, since: str, due: list[str]) -> None:
    expected = [datetime.fromisoformat(each).replace(tzinfo=UTC) for each in due]
    start = datetime.fromisoformat(since).replace(tzinfo=UTC)
    assert CALENDAR.after(line, zone, start, len(due)) == expected
    assert CALENDAR.within(line, zone, start, expected[-1], 100) == expected
    assert CALENDAR.within(line, zone, start, expected[-1] - timedelta(seconds=1), 100) == expected[:-1]


ZONES = st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, "America/St_Johns", "Africa/Casablanca", "Antarctica/Troll"])
DAYS = st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


@settings(max_examples=60, deadline=None)
@given(DAYS, ZONES, st.integers(0, 23), st.integers(0, 59))
def test_a_fixed_time_comes_once_for_each_day_there(since: datetime, zone: str, hour: int, minute: int) -> None:
    due = CALENDAR.after(f"{minute} {hour} * * *", zone, since, 5)
    days = [CALENDAR.day(each, zone) for each in due]
    assert due == sorted(set(due))
    assert len(set(days)) == len(days) == 5
    for each in due:
        local = each.astimezone(ZoneInfo(zone))
        if (local.hour, local.minute) != (hour, minute):  # then the clocks there went over it
            naive = local.replace(hour=hour, minute=minute)
            assert naive.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) != naive.replace(tzinfo=None)


@settings(max_examples=60, deadline=None)
@given(DAYS, ZONES, st.sampled_from([1, 5, 15, 30]))
def test_minutes_go_by_the_time_that_passes(since: datetime, zone: str, every: int) -> None:
    due = CALENDAR.after(f"*/{every} * * * *", zone, since, 20)
    assert {after - before for before, after in pairwise(due)} == {timedelta(minutes=every)}
    assert since < due[0] <= since + timedelta(minutes=every)


@settings(max_examples=60, deadline=None)
@given(DAYS, st.timedeltas(timedelta(0), timedelta(days=40)), ZONES, st.integers(1, 30))
def test_a_range_has_the_newest_of_what_was_due_in_it(since: datetime, long: timedelta, zone: str, most: int) -> None:
    line = "*/30 */6 * * *"
    every = [each for each in CALENDAR.after(line, zone, since, 400) if each <= since + long]
    assert CALENDAR.within(line, zone, since, since + long, most) == every[-most:]


def test_years_of_minutes_are_not_counted_through() -> None:
    start = datetime(1990, 1, 1, tzinfo=UTC)
    found = CALENDAR.within("* * * * *", BERLIN, start, datetime(2026, 1, 1, tzinfo=UTC), 3)
    assert found == [datetime(2025, 12, 31, 23, minute, tzinfo=UTC) for minute in (58, 59)] + [
        datetime(2026, 1, 1, tzinfo=UTC)
    ]


@pytest.mark.parametrize("name", ["Europe/Berlim", "", "../../etc/passwd", "/etc/localtime", "Europe", "\0", "é"])
def test_what_is_no_time_zone(name: str) -> None:
    assert not CALENDAR.knows(name)
    assert CALENDAR.knows(BERLIN)
