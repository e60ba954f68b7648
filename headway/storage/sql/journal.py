"""The journal on SQL: an act is one transaction with the record, its ledger entry, its lineage and its events."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from headway.kernel.clock import Clock, to_us
from headway.kernel.journal import AnyRecord, Keeps
from headway.kernel.ledger import Anchor, Entry, checked_parents, seal
from headway.kernel.records import digest, encode
from headway.storage.sql.anchor import head_of
from headway.storage.sql.engine import SqlEngine, Transaction
from headway.storage.sql.events import EVENTS
from headway.storage.sql.ledger import LEDGER, entry_row
from headway.storage.sql.lineage import LINEAGE

_HEAD = "SELECT number, hash FROM ledger WHERE number = {mark} OR number = (SELECT max(number) FROM ledger)"


class SqlAct:
    def __init__(self, engine: SqlEngine, clock: Clock, transaction: Transaction, **signed: str) -> None:
        self._engine, self._clock, self._transaction, self._signed = engine, clock, transaction, signed
        self.announced = False

    def save(self, store: Keeps[AnyRecord], record: AnyRecord, *, came_from: Iterable[str] = ()) -> AnyRecord:
        """As `Act.save`; an empty id in `came_from` is left out."""
        store.put(record)
        head, now = self._head(), self._clock.now()
        parents = checked_parents(came_from)
        entry = Entry(
            number=head.number + 1,
            at=now,
            subject=record.id,
            record=digest(self._body(record)),
            before=head.hash,
            came_from=parents,
            **self._signed,
        )
        with self._engine.writing():  # which turns a text that cannot be kept into `Invalid`
            entry = seal(entry)
        self._engine.insert_rows(LEDGER, [entry_row(entry)])
        edges = [(record.id, parent, to_us(now)) for parent in parents]
        self._engine.insert_rows(LINEAGE, edges, unless_there=True)
        self._transaction.head = Anchor(number=entry.number, hash=entry.hash)
        return record

    def _body(self, record: AnyRecord) -> bytes:
        kept, body = self._transaction.kept
        return body if kept is record else encode(record)

    def emit(self, kind: str, subject: str, /, **facts: Any) -> None:
        event = {"kind": kind, "subject": subject, "at": to_us(self._clock.now()), "facts": encode(facts)}
        with self._engine.writing() as connection:
            connection.execute(EVENTS.insert(), event)
        self.announced = True

    def _head(self) -> Anchor:
        """The last entry; raises `LedgerBroken` when the ledger no longer holds what was anchored."""
        if self._transaction.head is None:
            anchored = self._engine.anchor.last
            head = _HEAD.format(mark=self._engine.mark)
            kept = dict(self._engine.rows(head, (anchored.number,)))
            self._transaction.head = head_of(kept, anchored)
        return self._transaction.head


class SqlJournal:
    def __init__(self, engine: SqlEngine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock
        self._committed = threading.Condition()
        self._acts = 0
        self._seen = threading.local()

    def act(self, actor: str, verb: str, *, why: str = "") -> AbstractContextManager[SqlAct]:
        return _Acting(self, self._engine, self._clock, {"actor": actor, "verb": verb, "why": why})

    def together(self) -> AbstractContextManager[None]:
        """Acts of this thread inside become durable with one commit, when it ends; nothing of them may be told of
        before. Raises `Unavailable` when that commit failed."""
        return _Together(self, self._engine)

    @property
    def acts(self) -> int:
        """How many acts have announced events."""
        return self._acts

    def announce(self) -> None:
        """Wake who waits for events."""
        with self._committed:
            self._acts += 1
            self._committed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until an act of this process that emits an event is committed, unless this thread has woken for it."""
        with self._committed:
            woken = self._committed.wait_for(lambda: self._acts > getattr(self._seen, "acts", 0), timeout_s)
            self._seen.acts = self._acts
            return woken


class _Together(AbstractContextManager[None]):
    def __init__(self, journal: SqlJournal, engine: SqlEngine) -> None:
        self._journal, self._together = journal, engine.together()

    def __enter__(self) -> None:
        self._acts = self._journal.acts
        self._together.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._together.__exit__(kind, error, trace)
        if self._acts != self._journal.acts:  # who was woken by an act inside has not found its events yet
            self._journal.announce()


class _Acting:
    """One act, from its transaction to its announcement: a class, as each call of a run opens one."""

    def __init__(self, journal: SqlJournal, engine: SqlEngine, clock: Clock, signed: dict[str, str]) -> None:
        self._journal, self._engine, self._clock, self._signed = journal, engine, clock, signed

    def __enter__(self) -> SqlAct:
        self._transaction = self._engine.transaction()
        self._act = SqlAct(self._engine, self._clock, self._transaction.__enter__(), **self._signed)
        return self._act

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transaction.__exit__(kind, error, trace)
        if error is None and self._act.announced:
            self._journal.announce()
