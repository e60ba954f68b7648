"""Tables of records: the id, the columns that are searched, and the record itself as canonical JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar, get_args

import msgspec
from sqlalchemy import BigInteger, Column, ColumnElement, Index, Integer, LargeBinary, MetaData, Table, Text, select
from sqlalchemy.sql.elements import UnaryExpression

from headway.errors import AlreadyExists, Invalid
from headway.kernel.clock import to_us
from headway.kernel.paging import Page, checked
from headway.kernel.records import Record, encode
from headway.storage.sql.engine import SqlEngine

METADATA = MetaData()
TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""Text in the order of its bytes, which the paging by id relies on; PostgreSQL would order by the locale."""

COUNTER = BigInteger().with_variant(Integer, "sqlite")
"""A number that is the row's own address in SQLite, for primary keys."""

AnyRecord = TypeVar("AnyRecord", bound=Record)
Order = ColumnElement[Any] | UnaryExpression[Any]


class RecordTable(Generic[AnyRecord]):
    """Where one kind of record is kept. `columns` are fields of it, copied out so that they can be searched.

    `index` and `unique` are tuples of column names; an index ends with the id, so that its matches come paged.
    """

    def __init__(
        self,
        name: str,
        record_type: type[AnyRecord],
        *columns: str,
        index: Iterable[str] = (),
        unique: Iterable[tuple[str, ...]] = (),
    ) -> None:
        types = {field.name: field.type for field in msgspec.structs.fields(record_type)}
        self.record_type, self.columns, self.unique = record_type, columns, tuple(unique)
        self.read = msgspec.json.Decoder(record_type).decode
        self.rows = Table(
            name,
            METADATA,
            Column("id", TEXT, primary_key=True),
            *(_column(column, types[column]) for column in columns),
            Column("body", LargeBinary, nullable=False),
            *(Index(f"{name}_by_{column}", column, "id") for column in index),
            *(Index(f"{name}_one_{'_'.join(key)}", *key, unique=True) for key in self.unique),
            info={"kept": self},  # by this the ledger finds every table that it seals
        )

    def row(self, record: AnyRecord) -> dict[str, Any]:
        """The record as a row, in the order of the columns; raises `Invalid` for one that could not be read again (a
        number that is not finite)."""
        try:
            body = encode(record)
            self.read(body)
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            kind = self.record_type.__name__
            raise Invalid(f"this {kind} cannot be kept, is a number in it NaN or infinite? ({error})") from error
        return {"id": record.id, **self._searched(record), "body": body}

    def row_of(self, body: bytes) -> dict[str, Any]:
        """The row of a record that was written elsewhere, with its bytes as they are; raises `Invalid` for bytes that
        are none."""
        try:
            record = self.read(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Invalid(f"this is no {self.record_type.__name__} of this version: {error}") from error
        return {"id": record.id, "body": body, **self._searched(record)}

    def sealed(self, row: Mapping[str, Any]) -> bytes:
        """The record's bytes as kept, or none at all when the columns beside them say something else."""
        try:
            record = self.read(row["body"])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return b""
        expected = {"id": record.id, **self._searched(record)}
        whole = isinstance(row["body"], bytes) and all(_same(row[name], value) for name, value in expected.items())
        return bytes(row["body"]) if whole else b""

    def searched(self, record: AnyRecord) -> tuple[Any, ...]:
        """The row of the record without its body."""
        return record.id, *self._searched(record).values()

    def _searched(self, record: AnyRecord) -> dict[str, Any]:
        return {column: _stored(getattr(record, column)) for column in self.columns}


def _column(name: str, declared: Any) -> Column[Any]:
    kinds = [kind for kind in get_args(declared) or (declared,) if kind is not type(None)]
    stored = BigInteger() if kinds[0] in (int, datetime) else TEXT
    return Column(name, stored, nullable=type(None) in get_args(declared))


def _stored(value: Any) -> Any:
    return to_us(value) if isinstance(value, datetime) else value


def _same(kept: Any, expected: Any) -> bool:
    """Equal and of one type: SQLite would keep a text in a column of integers."""
    return bool(kept == expected) and (kept is None or isinstance(kept, int) is isinstance(expected, int))


class SqlRecordStore(Generic[AnyRecord]):
    """What every store of records does; a stage's store adds its own questions."""

    table: RecordTable[AnyRecord]

    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine
        name, searched = self.table.rows.name, "".join(f', "{column}"' for column in self.table.columns)
        self._get = f'SELECT body FROM "{name}" WHERE id = {engine.mark}'
        self._searched = f'SELECT id{searched} FROM "{name}" WHERE id = {engine.mark}'

    def put(self, record: AnyRecord) -> None:
        """Keep `record`, replacing the one of the same id; raises `AlreadyExists` when another bears its name."""
        row = self.table.row(record)
        try:
            kept = self._kept(record.id)
            if kept:
                self._replace(row, kept)
            else:
                self._engine.insert_rows(self.table.rows, [tuple(row.values())])
        except AlreadyExists as error:
            keys = " or ".join(" and ".join(key) for key in self.table.unique)
            kind = self.table.record_type.__name__
            raise AlreadyExists(f"there is another {kind} with this {keys} already", id=record.id) from error
        self._engine.note(self.table.rows.name, record.id, record, row["body"])

    def _kept(self, identifier: str) -> Sequence[Any]:
        """The row that is there, without its body, or nothing."""
        known = self._engine.known
        if known is not None and (place := (self.table.rows.name, identifier)) in known:
            before = known[place]
            return () if before is None else self.table.searched(before)
        found = self._engine.rows(self._searched, (identifier,))
        return found[0] if found else ()

    def _replace(self, row: Mapping[str, Any], kept: Sequence[Any]) -> None:
        """Only what differs: SQLite writes a page of every index whose column is named, changed or not."""
        changed = [name for name, before in zip(row, kept, strict=False) if row[name] != before]
        mark = self._engine.mark
        settings = ", ".join(f'"{name}" = {mark}' for name in [*changed, "body"])
        values = [*(row[name] for name in changed), row["body"], row["id"]]
        self._engine.write(f'UPDATE "{self.table.rows.name}" SET {settings} WHERE id = {mark}', [values])

    def get(self, identifier: str) -> AnyRecord | None:
        known = self._engine.known
        if known is not None and (place := (self.table.rows.name, identifier)) in known:
            return known[place]  # type: ignore[no-any-return]
        found = self._engine.rows(self._get, (identifier,))
        record = self.table.read(found[0][0]) if found else None
        self._engine.note(self.table.rows.name, identifier, record)
        return record

    def _by(self, column: str, value: str) -> AnyRecord | None:
        """The newest whose `column` has this value."""
        table, mark = self.table.rows.name, self._engine.mark
        query = f'SELECT body FROM "{table}" WHERE "{column}" = {mark} ORDER BY id DESC LIMIT 1'
        found = self._engine.rows(query, (value,))
        return self.table.read(found[0][0]) if found else None

    def _first(self, *where: ColumnElement[bool], order: Iterable[Order] = ()) -> AnyRecord | None:
        """The newest that fits, or the first in `order`."""
        found = self._every(*where, order=[*order, self.table.rows.c.id.desc()], limit=1)
        return found[0] if found else None

    def _every(
        self, *where: ColumnElement[bool], order: Iterable[Order] = (), limit: int | None = None
    ) -> list[AnyRecord]:
        """All that fit, oldest first or in `order`."""
        rows = self.table.rows
        query = select(rows.c.body).where(*where).order_by(*order, rows.c.id).limit(limit)
        with self._engine.reading() as connection:
            return [self.table.read(body) for body in connection.scalars(query)]

    def _page(self, limit: int, before: str | None, **equal: str | None) -> Page[AnyRecord]:
        """One page of those whose columns have the values in `equal`, newest first; None leaves a column free."""
        rows = self.table.rows
        where = [rows.c[column] == value for column, value in equal.items() if value is not None]
        if before is not None:
            where.append(rows.c.id < before)
        found = self._every(*where, order=[rows.c.id.desc()], limit=checked(limit) + 1)
        return Page(items=tuple(found[:limit]), next=found[limit - 1].id if len(found) > limit else None)
