"""Ids, times, sizes and numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

from headway.kernel.ids import kind_of

_TAIL = 8
_UNITS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def short(identifier: str) -> str:
    """The kind and the last characters of an id: enough to name it by."""
    kind = kind_of(identifier)
    return f"{kind}_{identifier[-_TAIL:]}" if kind else identifier


def ago(at: datetime | None, now: datetime | None = None) -> str:
    """How long ago, or in how long."""
    if at is None:
        return "-"
    passed = ((now or datetime.now(UTC)) - at).total_seconds()
    if abs(passed) < 1:
        return "now"
    return f"{duration(passed)} ago" if passed > 0 else f"in {duration(-passed)}"


def duration(seconds: float | None) -> str:
    """The two largest units would be too much for a table: one, rounded down, is enough."""
    if seconds is None:
        return "-"
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds / size)} {unit}"
    return f"{seconds * 1000:.0f} ms"


def size(count: int) -> str:
    """Bytes, in binary units."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def counted(count: int, thing: str) -> str:
    """`1 file`, `1,440 rows`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def clip(text: str, width: int = 60) -> str:
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= width else line[: width - 1] + "…"


def numbers(values: dict[str, float], most: int = 3) -> str:
    """A few metrics on one line."""
    return ", ".join(f"{key} {number(value)}" for key, value in sorted(values.items())[:most]) or "-"
