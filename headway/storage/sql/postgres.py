"""PostgreSQL: one connection per transaction, one transaction at a time over all processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.dialects.postgresql import Insert

from headway.storage.sql.anchor import AnchorFile
from headway.storage.sql.engine import Transaction

_ONE_WRITER = text("SELECT pg_advisory_xact_lock(5209163247)")
"""Any number that no other program takes; it is released with the end of the transaction."""

_CANCELLED_WITHIN_S = 5.0


class PostgresDatabase:
    insert = Insert
    mark = "%s"
    takes_arrays = True

    def __init__(self, url: URL, anchor: AnchorFile) -> None:
        self._anchor = anchor
        self._engine = create_engine(url, pool_size=8, max_overflow=24, pool_pre_ping=True)
        self.error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        self._readers = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._snapshots = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self._turn = threading.Lock()  # so that waiting threads hold no connection of the pool

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._readers.connect() as connection:
            yield connection

    def rows(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._readers.connect() as connection:
            driver: Any = connection.connection.dbapi_connection
            return driver.execute(statement, values).fetchall()  # type: ignore[no-any-return]

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        with self._snapshots.begin() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._turn:
            with self._engine.begin() as connection:
                connection.execute(_ONE_WRITER)
                transaction = Transaction(connection, connection.connection.dbapi_connection)
                yield transaction
            if transaction.head is not None:
                self._anchor.advance(transaction.head)

    def interrupt(self, connection: Connection) -> None:
        raw = connection.connection.driver_connection
        if raw is not None:
            raw.cancel_safe(timeout=_CANCELLED_WITHIN_S)

    @contextmanager
    def together(self) -> Iterator[None]:
        yield  # each is committed by itself

    def close(self) -> None:
        self._engine.dispose()
