"""Metrics in SQL: one row per series with its latest value, and its points beside it.

Points are many, so they are narrow: the series' number instead of two texts. A value is kept as the bits of its
IEEE 754 double, because NaN is a value that was measured and SQLite would make it NULL, which equals nothing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Table,
    bindparam,
    select,
    update,
)

from headway.lifecycle.runs.records import Metric
from headway.storage.sql.engine import SqlEngine
from headway.storage.sql.tables import COUNTER, METADATA, TEXT, from_us, to_us

SERIES = Table(
    "series",
    METADATA,
    Column("number", COUNTER, primary_key=True),
    Column("run", TEXT, nullable=False),
    Column("key", TEXT, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("step", BigInteger),
    Column("at", BigInteger),
    Column("value", Double),
    Index("series_one_run_key", "run", "key", unique=True),
)
"""`points` is the number of the last point, `step`, `at` and `value` are those of the latest; NaN is NULL here."""

POINTS = Table(
    "points",
    METADATA,
    Column("series", BigInteger, ForeignKey("series.number"), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("step", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("bits", BigInteger, nullable=False),
    Index("points_one_step_at_bits", "series", "step", "at", "bits", unique=True),
    sqlite_with_rowid=False,
)

_AT_ONCE = 500
_double, _int64 = struct.Struct("<d"), struct.Struct("<q")
_NAN_BITS: int = _int64.unpack(_double.pack(math.nan))[0]


def _bits(value: float) -> int:
    return _NAN_BITS if math.isnan(value) else _int64.unpack(_double.pack(value))[0]


def _value(bits: int) -> float:
    return float(_double.unpack(_int64.pack(bits))[0])


class SqlMetrics:
    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine
        self._advance = (
            update(SERIES)
            .where(SERIES.c.number == bindparam("series"))
            .values({name: bindparam("new_" + name) for name in ("points", "step", "at", "value")})
        )

    def log(self, run: str, metrics: Sequence[Metric]) -> None:
        if not metrics:
            return
        with self._engine.writing() as connection:
            series = self._series(connection, run, {metric.key for metric in metrics})
            points = [series[metric.key].add(metric) for metric in metrics]
            self._engine.insert_rows(POINTS, points, unless_there=True)
            connection.execute(self._advance, [series[key].row() for key in {metric.key for metric in metrics}])

    def latest(self, runs: Sequence[str]) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {run: {} for run in runs}
        with self._engine.reading() as connection:
            for start in range(0, len(runs), _AT_ONCE):
                among = SERIES.c.run.in_(runs[start : start + _AT_ONCE])
                query = select(SERIES.c.run, SERIES.c.key, SERIES.c.value).where(among).order_by(SERIES.c.key)
                for run, key, value in connection.execute(query):
                    found[run][key] = math.nan if value is None else value
        return found

    def history(self, run: str, key: str, limit: int, after: int) -> list[tuple[int, Metric]]:
        query = (
            select(POINTS)
            .join(SERIES, SERIES.c.number == POINTS.c.series)
            .where(SERIES.c.run == run, SERIES.c.key == key, POINTS.c.number > after)
            .order_by(POINTS.c.number)
            .limit(limit)
        )
        with self._engine.reading() as connection:
            return [
                (row.number, Metric(key=key, value=_value(row.bits), step=row.step, at=from_us(row.at)))
                for row in connection.execute(query)
            ]

    def _series(self, connection: Connection, run: str, keys: set[str]) -> dict[str, _Series]:
        query = select(SERIES).where(SERIES.c.run == run)
        found = {row.key: _Series(row) for row in connection.execute(query)}
        missing = [{"run": run, "key": key, "points": 0} for key in sorted(keys - found.keys())]
        if missing:
            connection.execute(SERIES.insert(), missing)
            found = {row.key: _Series(row) for row in connection.execute(query)}
        return found


class _Series:
    """A series while points are added to it."""

    def __init__(self, row: Any) -> None:
        self._number: int = row.number
        self._points: int = row.points
        self._latest = (row.step, row.at, _rank(row.value)) if row.points else None

    def add(self, metric: Metric) -> tuple[int, ...]:
        """The metric as a row of points."""
        self._points += 1
        at = to_us(metric.at)
        candidate = (metric.step, at, _rank(metric.value))
        if self._latest is None or candidate > self._latest:
            self._latest = candidate
        return self._number, self._points, metric.step, at, _bits(metric.value)

    def row(self) -> dict[str, Any]:
        assert self._latest is not None, "a series is written only after a point was added"
        step, at, (known, value) = self._latest
        return {
            "series": self._number,
            "new_points": self._points,
            "new_step": step,
            "new_at": at,
            "new_value": value if known else None,
        }


def _rank(value: float | None) -> tuple[bool, float]:
    """An order of values in which NaN comes first."""
    return (False, 0.0) if value is None or math.isnan(value) else (True, value)
