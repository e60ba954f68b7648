"""Points of metrics move from one row each into chunks."""

from __future__ import annotations

import math
import struct
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TABLES = sa.MetaData()
_AT_ONCE = 2048

_CURVES = sa.Table(
    "curves",
    _TABLES,
    sa.Column("number", _COUNTER, primary_key=True),
    sa.Column("run", _TEXT, nullable=False),
    sa.Column("key", _TEXT, nullable=False),
    sa.Column("experiment", _TEXT, nullable=False),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.Column("loose", sa.BigInteger, nullable=False),
    sa.Column("loose_from", sa.BigInteger, nullable=False),
    sa.Column("last_at", sa.BigInteger),
    sa.Column("step", sa.BigInteger),
    sa.Column("at", sa.BigInteger),
    sa.Column("value", sa.Double),
    sa.Column("lowest", sa.Double),
    sa.Column("highest", sa.Double),
    sa.Index("curves_one_run_key", "run", "key", unique=True),
    sa.Index("curves_by_value", "experiment", "key", "value", "run"),
)
_CHUNKS = sa.Table(
    "chunks",
    _TABLES,
    sa.Column("curve", sa.BigInteger, sa.ForeignKey("curves.number"), primary_key=True),
    sa.Column("first", sa.BigInteger, primary_key=True),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.Column("first_step", sa.BigInteger, nullable=False),
    sa.Column("last_step", sa.BigInteger, nullable=False),
    sa.Column("first_at", sa.BigInteger, nullable=False),
    sa.Column("last_at", sa.BigInteger, nullable=False),
    sa.Column("outline", sa.LargeBinary),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
_POINTS = sa.text(
    "SELECT number, step, at, bits FROM points WHERE series = :series AND number > :after ORDER BY number LIMIT :most"
)


def upgrade() -> None:
    connection = op.get_bind()
    _TABLES.create_all(connection)
    series = sa.text(
        "SELECT s.number, s.run, s.key, s.step, s.at, s.value, r.experiment FROM series s"
        " LEFT JOIN runs r ON r.id = s.run ORDER BY s.number"
    )
    for row in connection.execute(series).all():
        head = {name: getattr(row, name) for name in ("number", "run", "key", "step", "at", "value")}
        head |= {"experiment": row.experiment or "", "points": 0, "loose": 0, "loose_from": 1}
        connection.execute(_CURVES.insert(), head)
        chunks = _chunks(connection, row.number)
        if chunks:
            connection.execute(_CHUNKS.insert(), [{**chunk, "curve": row.number} for _, chunk in chunks])
        known = [value for low_high, _ in chunks for value in low_high]
        points = sum(chunk["points"] for _, chunk in chunks)
        connection.execute(
            _CURVES.update().where(_CURVES.c.number == row.number),
            {
                "points": points,
                "loose_from": points + 1,
                "last_at": max((chunk["last_at"] for _, chunk in chunks), default=None),
                "lowest": min(known, default=None),
                "highest": max(known, default=None),
            },
        )
    connection.execute(sa.text("DROP TABLE points"))
    connection.execute(sa.text("DROP TABLE series"))
    _go_on_counting(connection)


def _chunks(connection: sa.Connection, series: int) -> list[tuple[list[float], dict[str, Any]]]:
    """The chunks of one series, each with the lowest and the highest value in it."""
    found: list[tuple[list[float], dict[str, Any]]] = []
    after, first = 0, 1
    while rows := connection.execute(_POINTS, {"series": series, "after": after, "most": _AT_ONCE}).all():
        numbers, steps, ats, bits = (list(column) for column in zip(*rows, strict=True))
        size = len(rows)
        chunk = {
            "first": first, "points": size, "first_step": min(steps), "last_step": max(steps),
            "first_at": min(ats), "last_at": max(ats), "outline": None,
            "body": b"\0" + struct.pack(f"<{3 * size}q", *steps, *ats, *bits),
        }  # fmt: skip
        values = struct.unpack(f"<{size}d", struct.pack(f"<{size}q", *bits))
        known = [value for value in values if not math.isnan(value)]
        found.append(([min(known), max(known)] if known else [], chunk))
        after, first = numbers[-1], first + size
    return found


def _go_on_counting(connection: sa.Connection) -> None:
    """PostgreSQL's sequence has not seen the numbers that were given by hand."""
    if connection.dialect.name == "postgresql":
        sequence = "SELECT setval(pg_get_serial_sequence('curves', 'number'), coalesce(max(number), 0) + 1, false)"
        connection.execute(sa.text(f"{sequence} FROM curves"))
