"""Metrics in SQL: one row per curve with what is asked of it most, and its points in chunks.

A write adds a small chunk; when a curve has many of them, or a chunk's worth of points, they are folded into full
chunks within the same act, so that there is no state in between and nothing that has to run besides. A point is
looked for in older chunks only when its step and its time say that it could be there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import lt
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, LargeBinary, Table, select

from headway.kernel.clock import from_us
from headway.lifecycle.runs.curve import Curve, Summary, joined, thinned, within
from headway.lifecycle.runs.records import Metric
from headway.storage.sql.chunks import FULL, deflated, identities, outline, packed, unpacked
from headway.storage.sql.engine import SqlEngine
from headway.storage.sql.tables import COUNTER, METADATA, TEXT

CURVES = Table(
    "curves",
    METADATA,
    Column("number", COUNTER, primary_key=True),
    Column("run", TEXT, nullable=False),
    Column("key", TEXT, nullable=False),
    Column("experiment", TEXT, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("loose", BigInteger, nullable=False),
    Column("loose_from", BigInteger, nullable=False),
    Column("last_at", BigInteger),
    Column("step", BigInteger),
    Column("at", BigInteger),
    Column("value", Double),
    Column("lowest", Double),
    Column("highest", Double),
    Index("curves_one_run_key", "run", "key", unique=True),
    Index("curves_by_value", "experiment", "key", "value", "run"),
)
"""`points` is the number of the last point; `loose` chunks, from the point `loose_from` on, are not full yet. `step`,
`at` and `value` are those of the latest point, `last_at` is the newest time. NaN is NULL here."""

CHUNKS = Table(
    "chunks",
    METADATA,
    Column("curve", BigInteger, ForeignKey("curves.number"), primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("points", BigInteger, nullable=False),
    Column("first_step", BigInteger, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("outline", LargeBinary),
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""`first` is the number of the first point. `outline` stands before `body`, so that it is read without it."""

_MOST_LOOSE = 128
_AT_ONCE = 400
_EXACTLY = 20_000
"""Points that are thinned one by one; of more, the outlines of full chunks are enough."""


class Key(NamedTuple):
    run: str
    key: str


class SqlMetricStore:
    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine
        self._sql = _ArrayStatements(engine.mark) if engine.takes_arrays else _Statements(engine.mark)

    def add(self, curves: Mapping[tuple[str, str], Curve]) -> int:
        wanted = {Key(*name): curve for name, curve in curves.items() if len(curve)}
        added = 0
        changed: list[tuple[Any, ...]] = []
        chunks: list[tuple[Any, ...]] = []
        with self._engine.writing():  # which turns a number that cannot be kept into `Invalid`
            heads = self._heads(list(wanted))
            for name, curve in wanted.items():
                head = heads[name]
                if fresh := self._fresh(head, curve):
                    chunks += self._appended(head, fresh)
                    changed.append(head.row())
                    added += len(fresh)
            self._engine.insert_rows(CHUNKS, chunks)
            self._engine.write_rows(self._sql.advance, changed)
        return added

    def latest(self, runs: Sequence[str]) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {run: {} for run in runs}
        with self._engine.reading() as connection:
            for start in range(0, len(runs), _AT_ONCE):
                among = CURVES.c.run.in_(runs[start : start + _AT_ONCE])
                query = select(CURVES.c.run, CURVES.c.key, CURVES.c.value).where(among).order_by(CURVES.c.key)
                for run, key, value in connection.execute(query):
                    found[run][key] = _number(value)
        return found

    def last_points(self, runs: Sequence[str]) -> dict[str, list[Metric]]:
        found: dict[str, list[Metric]] = {run: [] for run in runs}
        for start in range(0, len(runs), _AT_ONCE):
            asked = runs[start : start + _AT_ONCE]
            for run, key, value, step, at in self._engine.rows(self._sql.last_points(len(asked)), asked):
                found[run].append(Metric(key=key, value=_number(value), step=step, at=from_us(at)))
        return found

    def summaries(self, run: str) -> dict[str, Summary]:
        query = select(CURVES).where(CURVES.c.run == run).order_by(CURVES.c.key)
        with self._engine.reading() as connection:
            return {
                row.key: Summary(
                    last=_number(row.value),
                    lowest=_number(row.lowest),
                    highest=_number(row.highest),
                    points=row.points,
                    last_step=row.step,
                )
                for row in connection.execute(query)
            }

    def curve(self, run: str, key: str, *, limit: int, after: int = 0) -> Curve:
        rows = self._engine.rows(self._sql.stretch, (run, key, after, after + limit))
        if not rows:
            return Curve()
        skip = after + 1 - rows[0][0]
        return joined([unpacked(body) for _, body in rows]).part(max(skip, 0), max(skip, 0) + limit)

    def sample(
        self, run: str, key: str, *, most: int, first_step: int | None = None, last_step: int | None = None
    ) -> Curve:
        low = -(2**63) if first_step is None else first_step
        high = 2**63 - 1 if last_step is None else last_step
        with self._engine.reading() as connection:
            size = connection.exec_driver_sql(self._sql.size, (run, key, low, high)).scalar() or 0
            exactly = self._sql.bodies if size <= _EXACTLY else self._sql.outlines
            window = (run, key, low, high) if size <= _EXACTLY else (low, high, run, key, low, high)
            parts = [unpacked(data) for (data,) in connection.exec_driver_sql(exactly, window)]
        return thinned(within(joined(parts), first_step, last_step), most) if parts else Curve()

    def _heads(self, names: list[Key]) -> dict[Key, _Head]:
        heads = self._known(names)
        missing = sorted(name for name in names if name not in heads)
        if len(missing) == 1:  # what it says of a new row needs no look at it
            (number,) = self._engine.rows(f"{self._sql.begin_one} RETURNING number", missing[0])[0]
            heads[missing[0]] = _Head(number, 0, 0, 1, None, None, None, None, None, None)
        elif missing:
            self._engine.write_rows(self._sql.begin, missing)
            heads |= self._known(missing)
        return heads

    def _known(self, names: list[Key]) -> dict[Key, _Head]:
        heads: dict[Key, _Head] = {}
        for start in range(0, len(names), _AT_ONCE):
            asked = names[start : start + _AT_ONCE]
            for run, key, *rest in self._engine.rows(*self._sql.heads(asked)):
                heads[Key(run, key)] = _Head(*rest)
        return heads

    def _fresh(self, head: _Head, curve: Curve) -> Curve:
        """The points that are not there yet, each once."""
        pairs = list(zip(curve.steps, curve.at_us, strict=True))
        once = all(map(lt, pairs, pairs[1:]))
        if once and head.surely_new(curve):
            return curve
        seen: set[tuple[int, int, int]] = set()
        if not head.surely_new(curve):
            asked = (head.number, max(curve.steps), min(curve.steps), max(curve.at_us), min(curve.at_us))
            for (body,) in self._engine.rows(self._sql.overlapping, asked):
                seen.update(identities(unpacked(body)))
        places = []
        for place, point in enumerate(identities(curve)):
            if point not in seen:
                seen.add(point)
                places.append(place)
        return curve if len(places) == len(curve) else curve.at(places)

    def _appended(self, head: _Head, curve: Curve) -> list[tuple[Any, ...]]:
        """The chunks to write behind the others; loose ones are folded into them when there are enough of them."""
        loose_points = head.points - head.loose_from + 1 + len(curve)
        if loose_points < FULL and head.loose < _MOST_LOOSE:
            row = _row(head.number, head.points + 1, curve, full=False)
            head.grow(curve, loose=head.loose + 1, loose_from=head.loose_from)
            return [row]
        whole = curve
        if head.loose:
            bodies = self._engine.rows(self._sql.loose, (head.number, head.loose_from))
            whole = joined([*(unpacked(body) for (body,) in bodies), curve])
            self._engine.write(self._sql.drop, [(head.number, head.loose_from)])
        rows, first = [], head.loose_from
        for start in range(0, len(whole), FULL):
            part = whole.part(start, start + FULL)
            rows.append(_row(head.number, first + start, part, full=len(part) == FULL))
        rest = len(whole) % FULL
        head.grow(curve, loose=1 if rest else 0, loose_from=head.points + len(curve) - rest + 1)
        return rows


class _Head:
    """A curve's row while points are added to it."""

    def __init__(
        self, number: int, points: int, loose: int, loose_from: int, last_at: int | None, step: int | None,
        at: int | None, value: float | None, lowest: float | None, highest: float | None,
    ) -> None:  # fmt: skip
        self.number, self.points, self.loose, self.loose_from = number, points, loose, loose_from
        self._last_at, self._step, self._at, self._value = last_at, step, at, value
        self._lowest, self._highest = lowest, highest

    def surely_new(self, curve: Curve) -> bool:
        """Whether all points are later, by step or by time, than every one that is there."""
        if self._step is None or self._last_at is None:
            return True
        return min(curve.steps) > self._step or min(curve.at_us) > self._last_at

    def grow(self, curve: Curve, *, loose: int, loose_from: int) -> None:
        self.points, self.loose, self.loose_from = self.points + len(curve), loose, loose_from
        newest = max(curve.at_us)
        self._last_at = newest if self._last_at is None else max(self._last_at, newest)
        step, at, (known, value) = max(
            zip(curve.steps, curve.at_us, map(_rank, curve.values), strict=True) if len(curve) > 1 else [_only(curve)]
        )
        if self._step is None or (step, at, (known, value)) > (self._step, self._at, _rank(self._value)):
            self._step, self._at, self._value = step, at, value if known else None
        values = [value for value in curve.values if value == value]
        if values:
            self._lowest = min(values) if self._lowest is None else min(self._lowest, min(values))
            self._highest = max(values) if self._highest is None else max(self._highest, max(values))

    def row(self) -> tuple[Any, ...]:
        return (
            self.points, self.loose, self.loose_from, self._last_at, self._step, self._at, self._value,
            self._lowest, self._highest, self.number,
        )  # fmt: skip


def _only(curve: Curve) -> tuple[int, int, tuple[bool, float]]:
    return curve.steps[0], curve.at_us[0], _rank(curve.values[0])


def _row(curve_number: int, first: int, curve: Curve, *, full: bool) -> tuple[Any, ...]:
    return (
        curve_number, first, len(curve), min(curve.steps), max(curve.steps), min(curve.at_us), max(curve.at_us),
        outline(curve) if full else None, deflated(curve) if full else packed(curve),
    )  # fmt: skip


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _rank(value: float | None) -> tuple[bool, float]:
    """An order of values in which NaN comes first."""
    return (True, value) if value is not None and value == value else (False, 0.0)


class _Statements:
    """Straight for the driver, whose sign for a value is `mark`: what SQLAlchemy adds costs more than the database."""

    def __init__(self, mark: str) -> None:
        self._mark = m = mark
        state = "points, loose, loose_from, last_at, step, at, value, lowest, highest"
        named = f"FROM chunks c JOIN curves v ON v.number = c.curve WHERE v.run = {m} AND v.key = {m}"
        window = f"{named} AND c.last_step >= {m} AND c.first_step <= {m}"
        self._heads = f"SELECT run, key, number, {state} FROM curves WHERE "
        self._name = f"(run = {m} AND key = {m})"
        self.begin = (
            "INSERT INTO curves (run, key, experiment, points, loose, loose_from)"
            " SELECT n.run, n.key, coalesce(r.experiment, ''), 0, 0, 1"
            f" FROM (SELECT {m} AS run, {m} AS key) n LEFT JOIN runs r ON r.id = n.run"
        )
        self.begin_one = self.begin
        self.advance = (
            f"UPDATE curves SET {', '.join(f'{name} = {m}' for name in state.split(', '))} WHERE number = {m}"
        )
        self.overlapping = (
            f"SELECT body FROM chunks WHERE curve = {m} AND first_step <= {m} AND last_step >= {m}"
            f" AND first_at <= {m} AND last_at >= {m}"
        )
        self.loose = f"SELECT body FROM chunks WHERE curve = {m} AND first >= {m} ORDER BY first"
        self.drop = f"DELETE FROM chunks WHERE curve = {m} AND first >= {m}"
        self.stretch = (
            f"SELECT c.first, c.body {named} AND c.first + c.points > {m} + 1 AND c.first <= {m} ORDER BY c.first"
        )
        self.size = f"SELECT CAST(sum(c.points) AS BIGINT) {window}"
        self.bodies = f"SELECT c.body {window} ORDER BY c.first"
        self.outlines = (
            f"SELECT CASE WHEN c.outline IS NOT NULL AND c.first_step >= {m} AND c.last_step <= {m}"
            f" THEN c.outline ELSE c.body END {window} ORDER BY c.first"
        )

    def last_points(self, runs: int) -> str:
        among = ", ".join([self._mark] * runs)
        return f"SELECT run, key, value, step, at FROM curves WHERE run IN ({among}) AND at IS NOT NULL ORDER BY key"

    def heads(self, names: Sequence[Key]) -> tuple[str, tuple[Any, ...]]:
        """The statement that finds these curves, and its values."""
        return self._heads + " OR ".join([self._name] * len(names)), tuple(part for name in names for part in name)


class _ArrayStatements(_Statements):
    """One statement for all rows, each value an array: a column of them."""

    def __init__(self, mark: str) -> None:
        super().__init__(mark)
        names = f"unnest({mark}::text[], {mark}::text[]) AS n(run, key)"
        self.begin = self.begin.replace(f"(SELECT {mark} AS run, {mark} AS key) n", names)
        state = {
            **dict.fromkeys(("points", "loose", "loose_from", "last_at", "step", "at"), "bigint"),
            **dict.fromkeys(("value", "lowest", "highest"), "double precision"), "number": "bigint",
        }  # fmt: skip
        changes = ", ".join(f"{name} = n.{name}" for name in state if name != "number")
        arrays = ", ".join(f"{mark}::{kind}[]" for kind in state.values())
        self.advance = (
            f"UPDATE curves SET {changes} FROM unnest({arrays}) AS n({', '.join(state)}) WHERE curves.number = n.number"
        )
        self._join = self._heads.replace("SELECT run, key, ", "SELECT curves.run, curves.key, ").replace(
            "FROM curves WHERE ", f"FROM curves JOIN {names} ON curves.run = n.run AND curves.key = n.key"
        )

    def heads(self, names: Sequence[Key]) -> tuple[str, tuple[Any, ...]]:
        return self._join, ([name.run for name in names], [name.key for name in names])
