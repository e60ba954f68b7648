"""Whether a text is a cron line: minute, hour, day of month, month, day of week."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS: tuple[tuple[str, int, int, Sequence[str]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d{1,4}))?", re.ASCII)


def cron_mistake(line: str) -> str:
    """What is wrong with `line`, or an empty text."""
    fields = line.split()
    if len(fields) != len(_FIELDS):
        return f"a cron line has five fields (minute hour day month weekday), and {line[:100]!r} has {len(fields)}"
    values: list[set[int]] = []
    for text, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        found = _values(text, low, high, names)
        if not found:
            return f"the {name} of a cron line goes from {low} to {high}, as in *, {low}-{high} or */2, not {text!r}"
        values.append(found)
    if fields[4].startswith("*") and min(values[2]) > max(_LONGEST_MONTH.get(month, 31) for month in values[3]):
        return f"there is no such day in these months: {line!r} would never come"
    return ""


def _values(text: str, low: int, high: int, names: Sequence[str]) -> set[int]:
    """The numbers that a field stands for; empty when it is wrong."""
    values: set[int] = set()
    for part in text.split(","):
        found = _PART.fullmatch(part)
        if found is None:
            return set()
        first = low if found["first"] is None else _number(found["first"], low, names)
        last = high if found["first"] is None else _number(found["last"] or found["first"], low, names)
        step = int(found["step"] or 1)
        if not low <= first <= last <= high or step < 1 or (found["step"] and found["first"] and not found["last"]):
            return set()
        values |= set(range(first, last + 1, step))
    return values


def _number(text: str, low: int, names: Sequence[str]) -> int:
    """The number of a name or of digits; -1 for neither."""
    if text.upper() in names:
        return names.index(text.upper()) + low
    return int(text) if re.fullmatch(r"\d{1,2}", text, re.ASCII) else -1
