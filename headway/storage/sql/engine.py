"""One SQL engine behind every store: short reads beside the writer, and writes inside a transaction only.

A transaction belongs to the thread that opened it. While it is open, everything that thread reads or writes through
any store goes through it; other threads read what was last committed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, IntegrityError, OperationalError

from headway.errors import AlreadyExists, HeadwayError, Invalid, Unavailable, first_line
from headway.kernel.ledger import Anchor
from headway.kernel.patience import PATIENCE
from headway.storage.sql.anchor import AnchorFile

if TYPE_CHECKING:  # a database of the one kind does without the dialect of the other
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

    AnyInsert = SqliteInsert | PostgresInsert


_MOST_KNOWN = 1000


class Transaction:
    """`head` is the ledger's last entry as this transaction leaves it, or None while it has not looked; `known` are
    the records that it has read or written, by table and id, as they stand; None for one that is not there."""

    def __init__(self, connection: Connection, driver: Any) -> None:
        self.connection, self.driver = connection, driver
        self.head: Anchor | None = None
        self.known: dict[tuple[str, str], Any] = {}
        self.kept: tuple[Any, bytes] = (None, b"")
        """The record that was kept last, and its bytes."""


class Database(Protocol):
    """What differs between SQLite and PostgreSQL."""

    @property
    def insert(self) -> Callable[[Table], AnyInsert]:
        """The dialect's own insert, which knows ON CONFLICT."""
        ...

    mark: str
    """Stands for a value in a statement: the driver's own."""

    takes_arrays: bool
    """Whether many rows go into one statement, as an array for each column."""

    @property
    def error(self) -> type[Exception]:
        """The root of the driver's own errors."""
        ...

    def reading(self) -> AbstractContextManager[Connection]: ...

    def rows(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """What a query finds, read as by `reading`; raises the driver's own errors."""
        ...

    def snapshot(self) -> AbstractContextManager[Connection]:
        """A connection whose reads all see one committed state."""
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """One after the other over all threads and processes; leaves only once what was written is durable."""
        ...

    def interrupt(self, connection: Connection) -> None:
        """Stop, from another thread, the statement that runs on a connection; it raises there."""
        ...

    def together(self) -> AbstractContextManager[None]:
        """What this thread's transactions inside wrote is durable when it ends, not when they do."""
        ...

    def close(self) -> None: ...


class _Here(threading.local):
    """What the thread has open. In a snapshot there is no transaction."""

    connection: Connection | None = None
    driver: Any = None
    transaction: Transaction | None = None


class SqlEngine:
    def __init__(self, database: Database, anchor: AnchorFile) -> None:
        self._database, self.anchor = database, anchor
        self._here = _Here()

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Write, all or nothing; a second one on the same thread raises `RuntimeError`."""
        return _Writing(self._database, self._here)

    def together(self) -> AbstractContextManager[None]:
        """Let the transactions of this thread inside share one commit."""
        return self._database.together()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all reads of this thread inside see one state."""
        here = self._here
        if here.connection is not None:
            yield
            return
        with _Answered(), self._database.snapshot() as connection:
            here.connection, here.driver = connection, connection.connection.dbapi_connection
            try:
                yield
            finally:
                here.connection = here.driver = None

    def writing(self) -> AbstractContextManager[Connection]:
        """The connection of this thread's transaction; raises `RuntimeError` outside one."""
        return _Kept(self._must_write().connection)

    @property
    def known(self) -> dict[tuple[str, str], Any] | None:
        """`Transaction.known` of this thread's transaction; None outside one."""
        transaction = self._here.transaction
        return None if transaction is None else transaction.known

    def note(self, table: str, identifier: str, record: Any, body: bytes = b"") -> None:
        """Let this thread's transaction, if there is one, know how a record stands, with its bytes if it was kept just
        now; None for one that is not there."""
        transaction = self._here.transaction
        if transaction is not None:
            known = transaction.known
            if body:
                transaction.kept = record, body
            if len(known) >= _MOST_KNOWN:
                known.clear()
            known[table, identifier] = record

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """The connection of this thread's transaction or snapshot, else one of the pool."""
        connection = self._here.connection
        if connection is not None:
            with _Kept(connection):
                yield connection
        else:
            with _Kept(None), self._database.reading() as pooled, self._stoppable(pooled):
                yield pooled

    @contextmanager
    def _stoppable(self, connection: Connection) -> Iterator[None]:
        """Let the patience of the request that is answered here, if it has one, stop what runs on `connection`."""
        patience = PATIENCE.get()
        if patience is None:
            yield
            return
        try:
            with patience.lasting(lambda: self._database.interrupt(connection)):
                yield
        except (DatabaseError, Unavailable) as error:
            if patience.reason is None:
                raise
            connection.invalidate()  # a server may hear of the stop only now, and would stop what runs next
            raise patience.reason from error

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query finds, read as by `reading` but straight from the driver: for what every call of a run asks,
        SQLAlchemy's part would be four times that of the database."""
        driver = self._here.driver
        try:
            if driver is not None:
                return driver.execute(statement, values).fetchall()  # type: ignore[no-any-return]
            if PATIENCE.get() is None:
                return self._database.rows(statement, values)
            with _Answered(), self._database.reading() as pooled, self._stoppable(pooled):
                borrowed: Any = pooled.connection.dbapi_connection
                try:
                    return borrowed.execute(statement, values).fetchall()  # type: ignore[no-any-return]
                except self._database.error as error:  # told to the patience as SQLAlchemy's
                    raise DBAPIError.instance(statement, None, error, self._database.error) from error
        except (self._database.error, OverflowError, UnicodeError) as error:
            raise self._told(statement, error) from error

    def write(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each row of values, as in `writing` but straight through the driver."""
        driver = self._must_write().driver
        try:
            if len(rows) == 1:
                driver.execute(statement, rows[0])
            elif rows:
                driver.cursor().executemany(statement, rows)
        except (self._database.error, OverflowError, UnicodeError) as error:
            raise self._told(statement, error) from error

    def _told(self, statement: str, error: Exception) -> Exception:
        """An error of the driver as SQLAlchemy would have told it, or as what it means for who asked."""
        if isinstance(error, self._database.error):
            known: Exception = DBAPIError.instance(statement, None, error, self._database.error)
        else:
            known = error
        return _named(known) or known

    @property
    def mark(self) -> str:
        """Stands for a value in a statement that goes straight to the driver."""
        return self._database.mark

    @property
    def takes_arrays(self) -> bool:
        """Whether `write_rows` is given statements whose values are arrays."""
        return self._database.takes_arrays

    def insert(self, table: Table) -> AnyInsert:
        """An insert that knows ON CONFLICT."""
        return self._database.insert(table)

    def upsert(self, table: Table) -> AnyInsert:
        """An insert that replaces the row of the same primary key."""
        statement = self.insert(table)
        keys = [column.name for column in table.primary_key]
        changed = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
        return statement.on_conflict_do_update(index_elements=keys, set_=changed)

    def insert_rows(
        self, table: Table, rows: Sequence[tuple[Any, ...]], *, unless_there: bool = False, replace: bool = False
    ) -> None:
        """Insert rows, each with a value for every column, straight through the driver. One whose primary key is
        there already is left out with `unless_there`, and takes its place with `replace`.

        SQLAlchemy's way from a list of dicts costs more than the database itself does.
        """
        arrays = self.takes_arrays and len(rows) > 1
        statement = _insertion(table, self.mark, unless_there, replace, arrays)
        self.write(statement, [_columns(rows)] if arrays else rows)

    def write_rows(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement for each of `rows`; where the database takes arrays it is one for all of them."""
        if rows:
            self.write(statement, [_columns(rows)] if self.takes_arrays else rows)

    def close(self) -> None:
        self._database.close()

    def _must_write(self) -> Transaction:
        transaction = self._here.transaction
        if transaction is None:
            raise RuntimeError("a store writes only inside `with journal.act(...)`")
        return transaction


class _Writing:
    """`Database.transaction` as that of a thread."""

    def __init__(self, database: Database, here: _Here) -> None:
        self._database, self._here = database, here

    def __enter__(self) -> Transaction:
        here = self._here
        if here.connection is not None:
            raise RuntimeError("this thread has a transaction open already: acts cannot be nested")
        with _ANSWERED:
            self._inner = self._database.transaction()
            transaction = self._inner.__enter__()
        here.connection, here.driver, here.transaction = transaction.connection, transaction.driver, transaction
        return transaction

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        here = self._here
        here.connection = here.driver = here.transaction = None
        with _ANSWERED:
            self._inner.__exit__(kind, error, trace)
            if isinstance(error, DatabaseError):
                raise error


class _Answered:
    """Says of a database that does not answer what that means for who asked."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, DatabaseError) and type(error) in (OperationalError, DatabaseError):
            raise _named(error) or error from error


_ANSWERED = _Answered()


class _Kept(AbstractContextManager[Any]):
    """Says of a value that a database cannot keep, and of a database that does not answer, what that means for who
    asked. It holds `connection` meanwhile."""

    def __init__(self, connection: Connection | None) -> None:
        self._connection = connection

    def __enter__(self) -> Any:
        return self._connection

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (DatabaseError, OverflowError, UnicodeError)):
            told = _named(error)
            if told is not None:
                raise told from error


@cache
def _insertion(table: Table, mark: str, unless_there: bool, replace: bool, arrays: bool) -> str:
    end = " ON CONFLICT DO NOTHING" if unless_there else ""
    if replace:
        keys = ", ".join(f'"{column.name}"' for column in table.primary_key)
        changes = [f'"{c.name}" = excluded."{c.name}"' for c in table.columns if not c.primary_key]
        end = f" ON CONFLICT ({keys}) DO UPDATE SET {', '.join(changes)}"
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    source = f"VALUES ({', '.join([mark] * len(table.columns))})"
    if arrays:
        from sqlalchemy.dialects.postgresql.base import PGDialect  # noqa: PLC0415

        kinds = [str(column.type.compile(PGDialect())).partition(" COLLATE")[0] for column in table.columns]  # type: ignore[no-untyped-call]
        source = f"SELECT * FROM unnest({', '.join(f'{mark}::{kind}[]' for kind in kinds)})"
    return f'INSERT INTO "{table.name}" ({names}) {source}{end}'


def _columns(rows: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))


def _named(error: Exception) -> HeadwayError | None:
    """What it means for who asked; None for an error that is not the database's doing."""
    if isinstance(error, (DataError, OverflowError, UnicodeError)):
        return Invalid(f"the database cannot keep this value: {_reason(error)}")
    if isinstance(error, IntegrityError):
        return AlreadyExists(f"it is there already: {_reason(error)}")
    if type(error) in (OperationalError, DatabaseError):
        return Unavailable(f"the database does not answer, or is damaged: {_reason(error)}")
    return None


def _reason(error: Exception) -> str:
    return first_line(getattr(error, "orig", None) or error)
