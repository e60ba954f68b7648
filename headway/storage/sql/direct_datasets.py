"""The journal and the stores of datasets on a `DirectDatabase`: what they keep is row by row what those on SQLAlchemy
do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import msgspec

from headway.errors import AlreadyExists, Invalid, Unavailable
from headway.kernel.clock import Clock
from headway.kernel.journal import AnyRecord, Keeps
from headway.kernel.ledger import checked_parents
from headway.kernel.paging import Page, checked
from headway.kernel.records import Record, encode
from headway.lifecycle.datasets.records import Dataset, DatasetVersion
from headway.storage.sql.direct import DirectDatabase, DirectLedger

Kept = TypeVar("Kept", bound=Record)


class DirectAct:
    def __init__(self, database: DirectDatabase, ledger: DirectLedger, clock: Clock, signed: dict[str, str]) -> None:
        self._database, self._ledger, self._clock, self._signed = database, ledger, clock, signed

    def save(self, store: Keeps[AnyRecord], record: AnyRecord, *, came_from: Iterable[str] = ()) -> AnyRecord:
        """As `Act.save`; an empty id in `came_from` is left out."""
        store.put(record)
        try:
            self._ledger.add(record, self._clock.now(), came_from=checked_parents(came_from), **self._signed)
        except UnicodeEncodeError as error:
            raise Invalid(f"this text cannot be kept: {error}") from error
        return record

    def emit(self, kind: str, subject: str, /, **facts: Any) -> None:
        self._database.emit(kind, subject, self._clock.now(), facts)


class DirectJournal:
    """Acts of one thread, one at a time."""

    def __init__(self, database: DirectDatabase, clock: Clock) -> None:
        self._database, self._clock = database, clock

    @contextmanager
    def act(self, actor: str, verb: str, *, why: str = "") -> Iterator[DirectAct]:
        signed = {"actor": actor, "verb": verb, "why": why}
        try:
            with self._database.transaction() as ledger:
                yield DirectAct(self._database, ledger, self._clock, signed)
        except sqlite3.Error as error:
            raise Unavailable(f"the database cannot be written to: {error}") from error


class _DirectStore(Generic[Kept]):
    """`columns` are fields of the record, copied out so that they can be searched."""

    def __init__(self, database: DirectDatabase, table: str, kind: type[Kept], columns: Sequence[str]) -> None:
        self._database, self._table, self._columns = database, table, columns
        self._read = msgspec.json.Decoder(kind).decode

    def put(self, record: Kept) -> None:
        """Keep `record`, replacing the one of the same id; raises `AlreadyExists` when another bears its name."""
        assert self._database.writing, "a store writes inside an act only"
        values = [getattr(record, column) for column in self._columns]
        try:
            self._database.replace(self._table, ("id", *self._columns, "body"), (record.id, *values, encode(record)))
        except sqlite3.IntegrityError as error:
            raise AlreadyExists(f"there is another {type(record).__name__} like this already", id=record.id) from error
        except UnicodeEncodeError as error:
            raise Invalid(f"this text cannot be kept: {error}") from error

    def get(self, identifier: str) -> Kept | None:
        return self._first("id = ?", identifier)

    def _first(self, where: str, *values: object, order: str = "id DESC") -> Kept | None:
        """The newest that fits, or the first in `order`."""
        query = f'SELECT body FROM "{self._table}" WHERE {where} ORDER BY {order} LIMIT 1'
        found = self._database.bodies(query, *values)
        return self._read(found[0]) if found else None

    def _page(self, limit: int, before: str | None, **equal: str | None) -> Page[Kept]:
        """As `SqlRecordStore._page`."""
        where = {f'"{name}" = ?': value for name, value in equal.items() if value is not None}
        where |= {"id < ?": before} if before is not None else {}
        query = f'SELECT body FROM "{self._table}" WHERE {" AND ".join(["1", *where])} ORDER BY id DESC LIMIT ?'
        found = [self._read(body) for body in self._database.bodies(query, *where.values(), checked(limit) + 1)]
        return Page(items=tuple(found[:limit]), next=found[limit - 1].id if len(found) > limit else None)


class DirectDatasetStore(_DirectStore[Dataset]):
    def __init__(self, database: DirectDatabase) -> None:
        super().__init__(database, "datasets", Dataset, ("name",))

    def named(self, name: str) -> Dataset | None:
        return self._first("name = ?", name)

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Dataset]:
        return self._page(limit, before)


class DirectDatasetVersionStore(_DirectStore[DatasetVersion]):
    def __init__(self, database: DirectDatabase) -> None:
        super().__init__(database, "dataset_versions", DatasetVersion, ("dataset", "number", "blob"))

    def of(self, dataset: str, number: int | None = None) -> DatasetVersion | None:
        order = "number DESC, id DESC"
        if number is None:
            return self._first("dataset = ?", dataset, order=order)
        return self._first("dataset = ? AND number = ?", dataset, number, order=order)

    def holding(self, dataset: str, blob: str) -> DatasetVersion | None:
        return self._first("blob = ? AND dataset = ?", blob, dataset)

    def list(self, dataset: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[DatasetVersion]:
        return self._page(limit, before, dataset=dataset)
