"""SQLite: readers beside one writer (WAL), and one sync to disk for all writers that wait at the same time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, RootTransaction, create_engine, event
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.exc import SQLAlchemyError

from headway.errors import Unavailable
from headway.kernel.ledger import Anchor
from headway.lifecycle.runs.matching import like
from headway.storage.sql.anchor import AnchorFile
from headway.storage.sql.engine import Transaction

_BUSY_TIMEOUT_S = 30.0
_MOST_IN_GROUP = 64
_STRANDED_AFTER_S = 1.0


class _Group:
    """Transactions that are committed together. `head` is the ledger's last entry among them."""

    def __init__(self, outer: RootTransaction) -> None:
        self.outer = outer
        self.members = 0
        self.head: Anchor | None = None
        self.error: Exception | None = None
        self.done = threading.Event()


class SqliteDatabase:
    """One file, shared by the threads of this process and by other processes.

    Each transaction is a savepoint inside the group's. Who leaves while others wait to enter leaves the commit to
    them; the last one commits for all, and nobody returns before that. A lone writer so commits at once, and many
    share one sync without a thread or a timer of their own.
    """

    insert = Insert
    mark = "?"
    takes_arrays = False
    error = sqlite3.Error

    def __init__(self, path: Path, anchor: AnchorFile) -> None:
        self._anchor = anchor
        self._readers = _engine(path, read_only=True)
        self._writer = _engine(path, read_only=False)
        self._connection = self._writer.connect()
        self._turn = threading.RLock()  # a thread that reads what it wrote `together` may hold it already
        self._counting = threading.Lock()
        self._waiting = 0
        self._group: _Group | None = None
        self._held = threading.local()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        joined = self._joined()
        if joined:
            with self._turn:
                if self._group in joined:  # what this thread wrote is to be seen by it, though not yet by others
                    yield self._connection
                    return
        with self._readers.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        with self._readers.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        joined = self._joined()
        with self._my_turn():
            group = self._group = self._group or _Group(self._connection.begin())
            try:
                with self._member(group) as transaction:
                    yield transaction
            finally:
                group.members += 1
                nobody_else = joined is None and self._waiting == 0
                if group is self._group and (nobody_else or group.members >= _MOST_IN_GROUP):
                    self._commit(group)
        if joined is None:
            self._until_committed(group)
        else:
            joined.append(group)

    @contextmanager
    def together(self) -> Iterator[None]:
        joined = self._held.joined = list[_Group]()
        try:
            yield
        finally:
            self._held.joined = None
            with self._turn:
                if self._group in joined:
                    self._commit(self._group)
        for group in joined:
            self._until_committed(group)

    def _joined(self) -> list[_Group] | None:
        """The groups that this thread has written in, inside `together`; None outside it."""
        return getattr(self._held, "joined", None)

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        with self._counting:
            self._waiting += 1
        try:
            self._turn.acquire()
        finally:
            with self._counting:
                self._waiting -= 1
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _member(self, group: _Group) -> Iterator[Transaction]:
        transaction = Transaction(self._connection)
        if group.members == 0:  # nobody else's writes are in it yet: what fails takes the whole group back
            try:
                yield transaction
            except BaseException:
                self._abandon(group, RuntimeError("the only act of its group failed"))
                raise
            group.head = transaction.head
            return
        savepoint = self._connection.begin_nested()
        try:
            yield transaction
            savepoint.commit()
        except BaseException:
            try:
                savepoint.rollback()
            except SQLAlchemyError as error:  # a full disk ends the whole transaction, with all its savepoints
                self._abandon(group, error)
            raise
        group.head = transaction.head or group.head

    def _commit(self, group: _Group) -> None:
        try:
            group.outer.commit()
        except SQLAlchemyError as error:
            self._abandon(group, error)
            return
        self._group = None
        if group.head is not None:
            self._anchor.advance(group.head)
        group.done.set()

    def _abandon(self, group: _Group, error: Exception) -> None:
        with suppress(SQLAlchemyError):
            group.outer.rollback()
        self._connection.connection.rollback()  # a COMMIT that failed leaves it open, and SQLAlchemy takes it for over
        self._group, group.error = None, error
        group.done.set()

    def _until_committed(self, group: _Group) -> None:
        while not group.done.wait(_STRANDED_AFTER_S):
            with self._turn:  # who was to commit has died while waiting for its turn
                if group is self._group:
                    self._commit(group)
        if group.error is not None:
            raise Unavailable(f"nothing was written: {group.error}; is the disk full?") from group.error

    def interrupt(self, connection: Connection) -> None:
        raw = connection.connection.dbapi_connection
        if isinstance(raw, sqlite3.Connection):
            raw.interrupt()

    def close(self) -> None:
        self._readers.dispose()
        self._connection.close()
        self._writer.dispose()  # last, because the last one out folds the write-ahead log into the file


def _like(text: str | None, pattern: str) -> bool | None:
    return None if text is None else like(text, pattern)


def _engine(path: Path, *, read_only: bool) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        isolation_level="AUTOCOMMIT" if read_only else None,
        connect_args={"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False},
        pool_size=8 if read_only else 1,
        max_overflow=-1 if read_only else 0,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        connection.create_function("headway_like", 2, _like, deterministic=True)
        connection.isolation_level = None  # the driver's own BEGIN would be deferred, and fail once others write
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA cache_size = -65536")  # 64 MiB: a bulk insert is not spilled page by page

    if not read_only:

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
