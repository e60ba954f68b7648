"""Lineage in SQL."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ColumnElement, Index, Table, select

from headway.kernel.clock import from_us
from headway.kernel.lineage import Edge
from headway.storage.sql.engine import SqlEngine
from headway.storage.sql.tables import METADATA, TEXT

LINEAGE = Table(
    "lineage",
    METADATA,
    Column("child", TEXT, primary_key=True),
    Column("parent", TEXT, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Index("lineage_by_parent", "parent", "child"),
    sqlite_with_rowid=False,
)


class SqlLineageStore:
    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine

    def parents(self, child: str) -> list[Edge]:
        return self._edges(LINEAGE.c.child == child)

    def children(self, parent: str) -> list[Edge]:
        return self._edges(LINEAGE.c.parent == parent)

    def _edges(self, where: ColumnElement[bool]) -> list[Edge]:
        query = select(LINEAGE).where(where).order_by(LINEAGE.c.at, LINEAGE.c.child, LINEAGE.c.parent)
        with self._engine.reading() as connection:
            return [Edge(child=row.child, parent=row.parent, at=from_us(row.at)) for row in connection.execute(query)]
