"""What a table looks like: its columns, and the summary of their values that a contract judges."""

from __future__ import annotations

from enum import StrEnum

from headway.kernel.records import Value


class Kind(StrEnum):
    """What a column holds."""

    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    STR = "str"
    TIME = "time"
    OTHER = "other"


class Column(Value):
    name: str
    kind: Kind


class ColumnSummary(Value):
    """What a contract looks at: computed from the data, never taken from a client's word."""

    name: str
    kind: Kind
    nulls: int
    low: float | None = None
    high: float | None = None
    median: float | None = None
    levels: tuple[str, ...] | None = None
    """The distinct texts, most frequent first, at most 1,000; None for other kinds."""
    distinct: int = 0


class Summary(Value):
    rows: int
    columns: tuple[ColumnSummary, ...]
