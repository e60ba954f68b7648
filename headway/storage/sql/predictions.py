"""Segments, the index of predictions, labels and sums of realised quality in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import msgspec
from msgspec.structs import asdict
from sqlalchemy import BigInteger, Column, Connection, Double, Index, Row, Table, func, select

from headway.errors import AlreadyExists
from headway.kernel.clock import from_us, to_us
from headway.kernel.paging import Page
from headway.lifecycle.predictions.records import Captured, Label, Quality, Segment
from headway.lifecycle.rollouts.records import RewardDay
from headway.storage.sql.engine import SqlEngine
from headway.storage.sql.tables import COUNTER, METADATA, TEXT, RecordTable, SqlRecordStore

SEGMENTS = RecordTable(
    "segments", Segment, "deployment", "blob", "first_event_at", "last_event_at", index=["deployment", "blob"]
)
KEPT_SEGMENTS = Table(
    "kept_segments",
    METADATA,
    Column("number", COUNTER, primary_key=True),
    Column("segment", TEXT, nullable=False),
    Index("kept_segments_one_segment", "segment", unique=True),
)
"""The order of keeping: ids are made before their act, so two writers may keep theirs the other way round."""

PREDICTIONS = Table(
    "predictions",
    METADATA,
    Column("id", TEXT, primary_key=True),
    Column("deployment", TEXT, nullable=False),
    Column("segment", TEXT, nullable=False),
    Column("row", BigInteger, nullable=False),
    Column("release", TEXT, nullable=False),
    Column("event_at", BigInteger, nullable=False),
    Column("score", Double),
    Column("mirror_release", TEXT),
    Column("mirror_score", Double),
    Column("probabilities", TEXT),
    Column("mirror_probabilities", TEXT),
    sqlite_with_rowid=False,
)
LAST_EVENTS = Table(
    "last_events",
    METADATA,
    Column("deployment", TEXT, primary_key=True),
    Column("event_at", BigInteger, nullable=False),
)
LABELS = Table(
    "labels",
    METADATA,
    Column("prediction", TEXT, primary_key=True),
    Column("value", Double, nullable=False),
    Column("at", BigInteger),
    Column("name", TEXT),
    sqlite_with_rowid=False,
)
_SUMS = ("n", "loss", "loss_squares", "paired_n", "paired", "paired_squares")
QUALITY = Table(
    "quality",
    METADATA,
    *(Column(name, TEXT, primary_key=True) for name in ("deployment", "release", "day", "rival")),
    *(Column(name, BigInteger if name.endswith("n") else Double, nullable=False) for name in _SUMS),
)
_REWARD_SUMS = ("n", "total", "squares", "outside")
REWARDS = Table(
    "rewards",
    METADATA,
    *(Column(name, TEXT, primary_key=True) for name in ("rollout", "release", "day")),
    *(Column(name, Double if name in ("total", "squares") else BigInteger, nullable=False) for name in _REWARD_SUMS),
)

_AT_ONCE = 500
_read_floats = msgspec.json.Decoder(tuple[float, ...]).decode


class SqlSegmentStore(SqlRecordStore[Segment]):
    table = SEGMENTS

    def put(self, record: Segment) -> None:
        super().put(record)
        with self._engine.writing() as connection:
            statement = self._engine.insert(KEPT_SEGMENTS).on_conflict_do_nothing(index_elements=["segment"])
            connection.execute(statement, {"segment": record.id})

    def holding(self, deployment: str, blob: str) -> Segment | None:
        return self._first(SEGMENTS.rows.c.blob == blob, SEGMENTS.rows.c.deployment == deployment)

    def between(self, deployment: str, start: datetime, end: datetime) -> list[Segment]:
        column = SEGMENTS.rows.c
        return self._every(
            column.deployment == deployment,
            column.first_event_at < to_us(end),
            column.last_event_at >= to_us(start),
            order=[column.first_event_at],
        )

    def since(self, deployment: str, identifier: str = "", limit: int = 1000) -> list[Segment]:
        rows, kept = SEGMENTS.rows, KEPT_SEGMENTS.c
        mark = select(kept.number).where(kept.segment == identifier).scalar_subquery()
        query = (
            select(rows.c.body)
            .join(KEPT_SEGMENTS, kept.segment == rows.c.id)
            .where(rows.c.deployment == deployment, kept.number > func.coalesce(mark, 0))
            .order_by(kept.number)
            .limit(limit)
        )
        with self._engine.reading() as connection:
            return [SEGMENTS.read(body) for body in connection.scalars(query)]

    def list(self, deployment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Segment]:
        return self._page(limit, before, deployment=deployment)


class SqlPredictionStore:
    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine
        seen = engine.insert(LAST_EVENTS)
        later = LAST_EVENTS.c.event_at < seen.excluded.event_at
        self._saw = seen.on_conflict_do_update(
            index_elements=["deployment"], set_={"event_at": seen.excluded.event_at}, where=later
        )
        self._add_labels = engine.insert(LABELS).on_conflict_do_nothing()
        added = engine.insert(QUALITY)
        self._add_quality = added.on_conflict_do_update(
            index_elements=[column.name for column in QUALITY.primary_key],
            set_={name: QUALITY.c[name] + added.excluded[name] for name in _SUMS},
        )
        more = engine.insert(REWARDS)
        self._add_rewards = more.on_conflict_do_update(
            index_elements=[column.name for column in REWARDS.primary_key],
            set_={name: REWARDS.c[name] + more.excluded[name] for name in _REWARD_SUMS},
        )

    def index(self, captured: Sequence[Captured]) -> list[str]:
        if not captured:
            return []
        with self._engine.writing() as connection:
            repeated: list[str] = []
            try:
                with connection.begin_nested():
                    self._engine.insert_rows(PREDICTIONS, [_row(each) for each in captured])
            except AlreadyExists:
                captured, repeated = _split(captured, _known(connection, [each.id for each in captured]))
                self._engine.insert_rows(PREDICTIONS, [_row(each) for each in captured])
            newest: dict[str, datetime] = {}
            for each in captured:
                newest[each.deployment] = max(each.event_at, newest.get(each.deployment, each.event_at))
            for deployment, event_at in newest.items():
                connection.execute(self._saw, {"deployment": deployment, "event_at": to_us(event_at)})
            return repeated

    def find(self, ids: Sequence[str]) -> dict[str, Captured]:
        with self._engine.reading() as connection:
            rows = _rows(connection, PREDICTIONS, PREDICTIONS.c.id, ids)
            return {row.id: _captured(row) for row in rows}

    def label(self, labels: Sequence[Label]) -> None:
        rows = [
            {
                "prediction": label.prediction,
                "value": 0.0 if isinstance(label.value, str) else label.value,
                "at": label.at and to_us(label.at),
                "name": label.value if isinstance(label.value, str) else None,
            }
            for label in labels
        ]
        if rows:
            with self._engine.writing() as connection:
                connection.execute(self._add_labels, rows)

    def labels(self, ids: Sequence[str]) -> dict[str, Label]:
        with self._engine.reading() as connection:
            return {
                row.prediction: Label(
                    prediction=row.prediction,
                    value=row.value if row.name is None else row.name,
                    at=None if row.at is None else from_us(row.at),
                )
                for row in _rows(connection, LABELS, LABELS.c.prediction, ids)
            }

    def add_quality(self, sums: Sequence[Quality]) -> None:
        names = [column.name for column in QUALITY.columns]
        rows = [{name: getattr(each, name) for name in names} for each in sums]
        if rows:
            with self._engine.writing() as connection:
                connection.execute(self._add_quality, rows)

    def quality(self, deployment: str, release: str | None = None, *, since_day: str = "") -> list[Quality]:
        column = QUALITY.c
        query = select(QUALITY).where(column.deployment == deployment, column.day >= since_day)
        if release is not None:
            query = query.where(column.release == release)
        with self._engine.reading() as connection:
            found = connection.execute(query.order_by(column.day, column.release, column.rival))
            return [Quality(**row._mapping) for row in found]

    def add_rewards(self, rollout: str, sums: Sequence[RewardDay]) -> None:
        rows = [{**asdict(each), "rollout": rollout, "day": each.day.isoformat()} for each in sums]
        if rows:
            with self._engine.writing() as connection:
                connection.execute(self._add_rewards, rows)

    def rewards(self, rollout: str) -> list[RewardDay]:
        column = REWARDS.c
        query = select(REWARDS).where(column.rollout == rollout).order_by(column.day, column.release)
        with self._engine.reading() as connection:
            return [
                RewardDay(
                    release=row.release, day=date.fromisoformat(row.day),
                    n=row.n, total=row.total, squares=row.squares, outside=row.outside,
                )
                for row in connection.execute(query)
            ]  # fmt: skip

    def last_event_at(self, deployment: str) -> datetime | None:
        query = select(LAST_EVENTS.c.event_at).where(LAST_EVENTS.c.deployment == deployment)
        with self._engine.reading() as connection:
            found = connection.scalar(query)
        return None if found is None else from_us(found)


def _row(captured: Captured) -> tuple[Any, ...]:
    return (
        captured.id,
        captured.deployment,
        captured.segment,
        captured.row,
        captured.release,
        to_us(captured.event_at),
        _number(captured.score),
        captured.mirror_release,
        _number(captured.mirror_score),
        _packed(captured.probabilities),
        _packed(captured.mirror_probabilities),
    )


def _captured(row: Row[Any]) -> Captured:
    told = {
        "event_at": from_us(row.event_at),
        "probabilities": _unpacked(row.probabilities),
        "mirror_probabilities": _unpacked(row.mirror_probabilities),
    }
    return Captured(**{**row._mapping, **told})


def _packed(probabilities: Sequence[float]) -> str | None:
    return msgspec.json.encode(probabilities).decode() if probabilities else None


def _unpacked(text: str | None) -> tuple[float, ...]:
    return _read_floats(text) if text else ()


def _number(score: float | None) -> float | None:
    """NaN is no score; the databases would keep it differently."""
    return score if score == score else None


def _split(captured: Iterable[Captured], known: set[str]) -> tuple[list[Captured], list[str]]:
    """Those that are new, and the ids of those that are known or come a second time."""
    fresh: list[Captured] = []
    repeated = []
    for each in captured:
        if each.id in known:
            repeated.append(each.id)
        else:
            known.add(each.id)
            fresh.append(each)
    return fresh, repeated


def _known(connection: Connection, ids: Sequence[str]) -> set[str]:
    return {row.id for row in _rows(connection, PREDICTIONS, PREDICTIONS.c.id, ids)}


def _rows(connection: Connection, table: Table, key: Column[Any], ids: Sequence[str]) -> list[Row[Any]]:
    return [
        row
        for start in range(0, len(ids), _AT_ONCE)
        for row in connection.execute(select(table).where(key.in_(ids[start : start + _AT_ONCE])))
    ]
