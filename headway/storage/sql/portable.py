"""The whole database in a form that owes nothing to SQL: records as they are sealed, points of curves, plain rows.

What is only there to search by is left out and made again; so are leases, which belong to processes that run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Double, Integer, LargeBinary, Table, func, select, tuple_

from headway.errors import Invalid
from headway.kernel.clock import to_us
from headway.kernel.ledger import Anchor, Entry
from headway.kernel.lineage import Edge
from headway.lifecycle.runs.curve import Curve
from headway.lifecycle.runs.records import Run
from headway.lifecycle.runs.traces import Trace
from headway.storage.sql.chunks import unpacked
from headway.storage.sql.engine import SqlEngine, Transaction
from headway.storage.sql.leases import LEASES
from headway.storage.sql.ledger import LEDGER, SqlLedgerStore, entry_row
from headway.storage.sql.lineage import LINEAGE
from headway.storage.sql.metrics import CHUNKS, CURVES, SqlMetricStore
from headway.storage.sql.search import FOUND, TEXTS, index_run
from headway.storage.sql.tables import METADATA, RecordTable
from headway.storage.sql.trace_search import TRACE_SEARCH, TRACE_TEXTS, index_trace

_INDEXES = (FOUND, TEXTS, TRACE_SEARCH, TRACE_TEXTS)
_ELSEWHERE = {table.name for table in (LEDGER, LINEAGE, CURVES, CHUNKS, LEASES, *_INDEXES)}
_AT_ONCE = 1000
_CURVES_AT_ONCE = 200


class PlainColumn(NamedTuple):
    """`kind` is text, integer, real, time (microseconds since 1970) or json (its bytes, as they are kept)."""

    name: str
    kind: str


class PortableDatabase:
    """Reads are of one state inside `snapshot`; writes are all or nothing inside `filling`."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine
        self.ledger = SqlLedgerStore(engine)
        self._metrics = SqlMetricStore(engine)

    def snapshot(self) -> AbstractContextManager[None]:
        return self._engine.snapshot()

    def record_tables(self) -> list[str]:
        return sorted(table.name for table in METADATA.sorted_tables if "kept" in table.info)

    def plain_tables(self) -> list[str]:
        """Those of rows that no ledger seals, such as labels and events."""
        tables = METADATA.sorted_tables
        return sorted(each.name for each in tables if "kept" not in each.info and each.name not in _ELSEWHERE)

    def columns(self, table: str) -> list[PlainColumn]:
        """The columns of a plain table, in their order."""
        kinds = {BigInteger: "integer", Integer: "integer", Double: "real", LargeBinary: "json"}
        found = []
        for column in _table(table).columns:
            kind = next((kind for sort, kind in kinds.items() if isinstance(column.type, sort)), "text")
            is_time = kind == "integer" and (column.name == "at" or column.name.endswith("_at"))
            found.append(PlainColumn(str(column.name), "time" if is_time else kind))
        return found

    def records(self, table: str) -> Iterator[tuple[str, bytes]]:
        """Id and canonical bytes of each record, in the order of their ids; no bytes for one that is damaged."""
        kept: RecordTable[Any] = _table(table).info["kept"]
        for rows in self._pages(kept.rows):
            yield from ((row.id, kept.sealed(row._asdict())) for row in rows)

    def rows(self, table: str) -> Iterator[list[Sequence[Any]]]:
        """Pages of rows of a plain table, in the order of its primary key."""
        for rows in self._pages(_table(table)):
            yield [tuple(row) for row in rows]

    def edges(self) -> Iterator[Edge]:
        """Lineage, in order of children, then parents."""
        yield from sorted(self.ledger.edges(), key=lambda edge: (edge.child, edge.parent))

    def curves(self) -> Iterator[tuple[str, str, Curve]]:
        """Every metric's points by run and key, in the order of writing; a long curve comes in parts."""
        after: tuple[str, str] = ("", "")
        while True:
            names = (CURVES.c.run, CURVES.c.key)
            query = select(CURVES.c.number, *names).where(tuple_(*names) > after).order_by(*names)
            with self._engine.reading() as connection:
                found = connection.execute(query.limit(_CURVES_AT_ONCE)).all()
                for number, run, key in found:
                    chunks = select(CHUNKS.c.body).where(CHUNKS.c.curve == number).order_by(CHUNKS.c.first)
                    for body in connection.scalars(chunks):
                        yield run, key, unpacked(body)
            if not found:
                return
            after = (found[-1].run, found[-1].key)

    def _pages(self, table: Table) -> Iterator[Sequence[Any]]:
        keys = tuple(table.primary_key)
        after: tuple[Any, ...] | None = None
        while True:
            query = select(table).order_by(*keys).limit(_AT_ONCE)
            if after is not None:
                query = query.where(tuple_(*keys) > after)
            with self._engine.reading() as connection:
                rows = connection.execute(query).all()
            if not rows:
                return
            yield rows
            after = tuple(getattr(rows[-1], key.name) for key in keys)

    def full_table(self) -> str:
        """The name of a table that has rows, or an empty string for a database that nobody has written to."""
        with self._engine.reading() as connection:
            for table in METADATA.sorted_tables:
                if connection.execute(select(1).select_from(table).limit(1)).first():
                    return table.name
        return ""

    @contextmanager
    def filling(self) -> Iterator[Filling]:
        """Write to an empty database: everything or nothing."""
        with self._engine.transaction() as transaction:
            yield Filling(self._engine, transaction, self._metrics)


class Filling:
    def __init__(self, engine: SqlEngine, transaction: Transaction, metrics: SqlMetricStore) -> None:
        self._engine, self._transaction, self._metrics = engine, transaction, metrics

    def records(self, table: str, bodies: Iterable[bytes]) -> None:
        """Raises `Invalid` for bytes that are no such record as it was written."""
        kept: RecordTable[Any] = _table(table).info["kept"]
        rows = []
        for body in bodies:
            row = kept.row_of(body)
            rows.append(tuple(row[column.name] for column in kept.rows.columns))
            if kept.record_type is Run:
                with self._engine.writing():
                    index_run(self._engine, kept.read(body), None)
            if kept.record_type is Trace:
                with self._engine.writing():
                    index_trace(self._engine, kept.read(body), None)
            if len(rows) == _AT_ONCE:
                self._engine.insert_rows(kept.rows, rows)
                rows = []
        self._engine.insert_rows(kept.rows, rows)

    def rows(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        self._engine.insert_rows(_table(table), [tuple(row) for row in rows])

    def points(self, rows: Iterable[tuple[str, str, int, int, float]]) -> None:
        """Run, key, step, microseconds and value of each point; those of a curve stand together."""
        curves: dict[tuple[str, str], Curve] = {}
        for name, points in groupby(rows, key=lambda row: (row[0], row[1])):
            curve = curves.setdefault(name, Curve())
            for _, _, step, at_us, value in points:
                curve.steps.append(step)
                curve.at_us.append(at_us)
                curve.values.append(value)
        self._metrics.add(curves)

    def entries(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._engine.insert_rows(LEDGER, [entry_row(entry)])
            self._transaction.head = Anchor(number=entry.number, hash=entry.hash)

    def edges(self, edges: Iterable[Edge]) -> None:
        for edge in edges:
            self._engine.insert_rows(LINEAGE, [(edge.child, edge.parent, to_us(edge.at))])

    def close_numbers(self) -> None:
        """Let what numbers rows by itself go on behind those that are there."""
        if self._engine.mark == "?":  # SQLite looks at the rows
            return
        for table in METADATA.sorted_tables:
            if table.autoincrement_column is not None and table.name != CURVES.name:
                self._advance(table, table.autoincrement_column.name)

    def _advance(self, table: Table, key: str) -> None:
        with self._engine.writing() as connection:
            last = connection.scalar(select(func.max(table.c[key])))
            sequence = connection.scalar(select(func.pg_get_serial_sequence(table.name, key)))
            if last is not None and sequence is not None:
                connection.execute(select(func.setval(sequence, last)))


def _table(name: str) -> Table:
    found = METADATA.tables.get(name)
    if found is None:
        raise Invalid(f"there is no table {name[:100]!r} in this version; a newer Headway has written it")
    return found
