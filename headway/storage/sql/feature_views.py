"""Feature views in SQL, and their newest values, which the ledger does not seal."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Column, LargeBinary, Table, select

from headway.kernel.paging import Page
from headway.lifecycle.feature_views.records import FeatureView, Materialisation, OnlineRow
from headway.storage.sql.engine import SqlEngine
from headway.storage.sql.tables import METADATA, TEXT, RecordTable, SqlRecordStore

FEATURE_VIEWS = RecordTable("feature_views", FeatureView, "name", "number", unique=[("name", "number")])
MATERIALISATIONS = RecordTable("materialisations", Materialisation, "view", index=["view"])
ONLINE = Table(
    "online_rows",
    METADATA,
    Column("view", TEXT, primary_key=True),
    Column("entity", TEXT, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
_AT_ONCE = 500
_read = msgspec.msgpack.Decoder(OnlineRow).decode
_written = msgspec.msgpack.Encoder().encode


class SqlFeatureViewStore(SqlRecordStore[FeatureView]):
    table = FEATURE_VIEWS

    def of(self, name: str, number: int | None = None) -> FeatureView | None:
        column = FEATURE_VIEWS.rows.c
        numbered = [] if number is None else [column.number == number]
        return self._first(column.name == name, *numbered, order=[column.number.desc()])

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[FeatureView]:
        return self._page(limit, before)


class SqlMaterialisationStore(SqlRecordStore[Materialisation]):
    table = MATERIALISATIONS

    def newest(self, view: str) -> Materialisation | None:
        return self._by("view", view)

    def list(self, view: str, *, limit: int = 100, before: str | None = None) -> Page[Materialisation]:
        return self._page(limit, before, view=view)


class SqlOnlineStore:
    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine
        self._drop = f'DELETE FROM "{ONLINE.name}" WHERE "view" = {engine.mark} AND "entity" = {engine.mark}'

    def find(self, view: str, keys: Sequence[str]) -> dict[str, OnlineRow]:
        found: dict[str, OnlineRow] = {}
        mark, select_from = self._engine.mark, f'SELECT "entity", "body" FROM "{ONLINE.name}" WHERE "view" = '
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            query = f'{select_from}{mark} AND "entity" IN ({", ".join([mark] * len(part))})'
            found.update((key, _read(body)) for key, body in self._engine.rows(query, (view, *part)))
        return found

    def all(self, view: str) -> dict[str, OnlineRow]:
        query = select(ONLINE.c.entity, ONLINE.c.body).where(ONLINE.c.view == view)
        with self._engine.reading() as connection:
            return {key: _read(body) for key, body in connection.execute(query)}

    def change(self, view: str, written: dict[str, OnlineRow], removed: Sequence[str]) -> None:
        rows = [(view, key, _written(row)) for key, row in written.items()]
        self._engine.insert_rows(ONLINE, rows, replace=True)
        self._engine.write(self._drop, [(view, key) for key in removed])
