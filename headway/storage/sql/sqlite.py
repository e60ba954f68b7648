"""SQLite: readers beside one writer (WAL), and one sync to disk for all writers that wait at the same time."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

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

    def __init__(self) -> None:
        self.members = 0
        self.head: Anchor | None = None
        self.error: Exception | None = None
        self.done = threading.Event()


class _Held(threading.local):
    joined: list[_Group] | None = None
    """The groups that this thread has written in, inside `together`; None outside it."""


class SqliteDatabase:
    """One file, shared by the threads of this process and by other processes.

    Each transaction but the first is a savepoint inside the group's. Who leaves while others wait to enter leaves the
    commit to them; the last one commits for all, and nobody returns before that. A lone writer so commits at once, and
    many share one sync without a thread or a timer of their own. Transactions are begun and ended on the driver's
    connection: SQLAlchemy's account of them would cost as much as a small act.
    """

    insert = Insert
    mark = "?"
    takes_arrays = False
    error = sqlite3.Error

    def __init__(self, path: Path, anchor: AnchorFile) -> None:
        self._path, self._anchor = path, anchor
        self._readers = _engine(path, read_only=True)
        self._writer = _engine(path, read_only=False)
        self._connection = self._writer.connect()
        self._connection.begin()  # once and for all: SQLAlchemy neither commits nor rolls back by itself
        self._driver = _driver_of(self._connection)
        self._turn = threading.RLock()  # a thread that reads what it wrote `together` may hold it already
        self._counting = threading.Lock()
        self._waiting = 0
        self._group: _Group | None = None
        self._held = _Held()
        self._idle = deque[sqlite3.Connection]()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        if self._held.joined is not None:
            with self._turn:
                if self._sees_own():
                    yield self._connection
                    return
        with self._readers.connect() as connection:
            yield connection

    def rows(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        if self._held.joined is not None:
            with self._turn:
                if self._sees_own():
                    return self._driver.execute(statement, values).fetchall()
        try:
            driver = self._idle.pop()
        except IndexError:
            driver = _connect(self._path, read_only=True)
        try:
            found = driver.execute(statement, values).fetchall()
        except BaseException:
            driver.close()
            raise
        self._idle.append(driver)
        return found

    def _sees_own(self) -> bool:
        """Whether the writer's connection shows, to a thread inside `together`, what is committed and what it wrote
        itself, though not yet to others, and no more than that."""
        return self._group is None or self._group in (self._held.joined or ())

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        with self._readers.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("COMMIT")

    def transaction(self) -> _Member:
        return _Member(self)

    def together(self) -> _Together:
        return _Together(self)

    def _enter(self) -> _Group:
        """Wait for the turn, and join the group that is open or begin one."""
        with self._counting:
            self._waiting += 1
        try:
            self._turn.acquire()
        finally:
            with self._counting:
                self._waiting -= 1
        if self._group is None:
            try:
                self._run("BEGIN IMMEDIATE")
            except BaseException:
                self._turn.release()
                raise
            self._group = _Group()
        return self._group

    def _leave(self, group: _Group, *, kept: bool) -> None:
        """Give the turn up, and return once the group is durable: the last one out commits, unless it is `together`."""
        joined = self._held.joined
        try:
            group.members += 1
            nobody_else = joined is None and self._waiting == 0
            if group is self._group and (nobody_else or group.members >= _MOST_IN_GROUP):
                self._commit(group)
        finally:
            self._turn.release()
        if not kept:
            return
        if joined is None:
            self._until_committed(group)
        else:
            joined.append(group)

    def _run(self, statement: str) -> None:
        try:
            self._driver.execute(statement)
        except sqlite3.Error as error:
            raise DBAPIError.instance(statement, None, error, sqlite3.Error) from error

    def _commit(self, group: _Group) -> None:
        try:
            self._driver.execute("COMMIT")
        except sqlite3.Error as error:
            self._abandon(group, error)
            return
        self._group = None
        if group.head is not None:
            self._anchor.advance(group.head)
        group.done.set()

    def _abandon(self, group: _Group, error: Exception) -> None:
        with suppress(sqlite3.Error):
            self._driver.rollback()  # nothing when a full disk has ended the transaction already
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
        while self._idle:
            self._idle.pop().close()
        self._readers.dispose()
        self._connection.close()
        self._writer.dispose()  # last, because the last one out folds the write-ahead log into the file


class _Together(AbstractContextManager[None]):
    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._groups: list[_Group] = []
        self._database._held.joined = self._groups

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        database = self._database
        database._held.joined = None
        with database._turn:
            if database._group in self._groups:
                database._commit(database._group)
        if error is None:
            for group in self._groups:
                database._until_committed(group)


class _Member:
    """One transaction of a group: a class, as each call of a run opens one."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def __enter__(self) -> Transaction:
        database = self._database
        self._group = database._enter()
        self._alone = self._group.members == 0
        """Nobody else's writes are in it yet: what fails takes the whole group back."""
        if not self._alone:
            try:
                database._run("SAVEPOINT act")
            except BaseException:
                database._leave(self._group, kept=False)
                raise
        self._transaction = Transaction(database._connection, database._driver)
        return self._transaction

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        kept = False
        try:
            if error is None:
                kept = self._keep()
            else:
                self._take_back()
        finally:
            self._database._leave(self._group, kept=kept)

    def _keep(self) -> bool:
        if not self._alone:
            try:
                self._database._run("RELEASE act")
            except BaseException:
                self._take_back()
                raise
        self._group.head = self._transaction.head or self._group.head
        return True

    def _take_back(self) -> None:
        database = self._database
        if self._alone:
            database._abandon(self._group, RuntimeError("the only act of its group failed"))
            return
        try:
            database._run("ROLLBACK TO act")
            database._run("RELEASE act")
        except SQLAlchemyError as error:  # a full disk ends the whole transaction, with all its savepoints
            database._abandon(self._group, error)


def _like(text: str | None, pattern: str) -> bool | None:
    return None if text is None else like(text, pattern)


def _driver_of(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.dbapi_connection
    if not isinstance(driver, sqlite3.Connection):
        raise TypeError(f"SQLite's own driver is needed here, not {type(driver).__name__}")
    return driver


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    driver = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
    _prepare(driver, read_only=read_only)
    return driver


def _prepare(driver: sqlite3.Connection, *, read_only: bool) -> None:
    driver.create_function("headway_like", 2, _like, deterministic=True)
    driver.isolation_level = None  # the driver's own BEGIN would be deferred, and fail once others write
    if read_only:
        driver.execute("PRAGMA query_only = ON")
    else:
        driver.execute("PRAGMA journal_mode = WAL")
        driver.execute("PRAGMA synchronous = FULL")
        driver.execute("PRAGMA foreign_keys = ON")
        driver.execute("PRAGMA cache_size = -65536")  # 64 MiB: a bulk insert is not spilled page by page


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
        _prepare(connection, read_only=read_only)

    return engine
