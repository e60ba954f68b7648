"""The journal in memory: an act writes beside what is kept, and its writes are merged in when it ends well."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import msgspec

from headway.errors import AlreadyExists, Invalid
from headway.kernel.clock import Clock
from headway.kernel.events import Event
from headway.kernel.journal import AnyRecord, Keeps
from headway.kernel.ledger import GENESIS, Anchor, Entry, checked_parents, seal
from headway.kernel.lineage import Edge
from headway.kernel.paging import Page, checked
from headway.kernel.records import Record, digest, encode

Key = TypeVar("Key")
Item = TypeVar("Item")
Kept = TypeVar("Kept", bound=Record)
_GONE: Any = object()
"""What an act sets in the place of an item that it drops."""


class MemoryTable(Generic[Key, Item]):
    """A dict in the order of writing; what an act sets is seen by its own thread only, until it is committed."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal
        self.kept: dict[Key, Item] = {}

    def set(self, key: Key, item: Item) -> None:
        self._journal.changes(self)[key] = item

    def drop(self, key: Key) -> None:
        self._journal.changes(self)[key] = _GONE

    def get(self, key: Key) -> Item | None:
        return self.all().get(key)

    def all(self) -> dict[Key, Item]:
        with self._journal.merging:
            every = {**self.kept, **(self._journal.changes(self) if self._journal.writing else {})}
            return {key: item for key, item in every.items() if item is not _GONE}


class MemoryJournal:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turn = threading.RLock()
        self._mine = threading.local()
        self._committed = threading.Condition()
        self._acts = 0
        self.merging = threading.RLock()
        self.ledger = MemoryTable[int, Entry](self)
        self.edges = MemoryTable[tuple[str, str], Edge](self)
        self.events = MemoryTable[int, Event](self)
        self.anchor: Anchor | None = None
        self.records: list[MemoryTable[str, bytes]] = []
        """The tables that the ledger seals."""

    @contextmanager
    def act(self, actor: str, verb: str, *, why: str = "") -> Iterator[MemoryAct]:
        if self.writing:
            raise RuntimeError("this thread has a transaction open already: acts cannot be nested")
        with self._turn:
            self._mine.changes = {}
            try:
                yield MemoryAct(self, self._clock, actor=actor, verb=verb, why=why)
                announced = bool(self.changes(self.events))
                self._merge()
            finally:
                self._mine.changes = None
        if announced:
            with self._committed:
                self._acts += 1
                self._committed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until an act that emitted an event is committed, and this thread was not woken for it yet."""
        with self._committed:
            woken = self._committed.wait_for(lambda: self._acts > getattr(self._mine, "seen", 0), timeout_s)
            self._mine.seen = self._acts
            return woken

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let no other thread commit meanwhile."""
        with self._turn:
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One atomic step outside any act."""
        if self.writing:
            raise RuntimeError("this thread has a transaction open already: a lease is taken outside of it")
        with self._turn:
            yield

    @property
    def writing(self) -> bool:
        """Whether this thread is inside an act."""
        return getattr(self._mine, "changes", None) is not None

    def changes(self, table: MemoryTable[Key, Item]) -> dict[Key, Item]:
        """What this thread's act has set in `table`; raises `RuntimeError` outside an act."""
        if not self.writing:
            raise RuntimeError("a store writes only inside `with journal.act(...)`")
        changes: dict[Any, dict[Key, Item]] = self._mine.changes
        return changes.setdefault(table, {})

    def _merge(self) -> None:
        with self.merging:
            for table, changed in self._mine.changes.items():
                table.kept.update(changed)
                for key in [key for key, item in changed.items() if item is _GONE]:
                    del table.kept[key]
            if self.ledger.kept:
                last = self.ledger.kept[len(self.ledger.kept)]
                self.anchor = Anchor(number=last.number, hash=last.hash)


class MemoryAct:
    def __init__(self, journal: MemoryJournal, clock: Clock, **signed: str) -> None:
        self._journal, self._clock, self._signed = journal, clock, signed

    def save(self, store: Keeps[AnyRecord], record: AnyRecord, *, came_from: Iterable[str] = ()) -> AnyRecord:
        """As `Act.save`; an empty id in `came_from` is left out."""
        store.put(record)
        entries, now = self._journal.ledger.all(), self._clock.now()
        before = entries[len(entries)].hash if entries else GENESIS
        parents = checked_parents(came_from)
        entry = Entry(
            number=len(entries) + 1, at=now, subject=record.id, record=digest(encode(record)), before=before,
            came_from=parents, **self._signed,
        )  # fmt: skip
        try:
            self._journal.ledger.set(entry.number, seal(entry))
        except UnicodeEncodeError as error:
            raise Invalid(f"the ledger cannot keep this text: {error}") from error
        for parent in parents:
            if self._journal.edges.get((record.id, parent)) is None:
                self._journal.edges.set((record.id, parent), Edge(child=record.id, parent=parent, at=now))
        return record

    def emit(self, kind: str, subject: str, /, **facts: Any) -> None:
        number = len(self._journal.events.all()) + 1
        event = Event(number=number, kind=kind, subject=subject, at=self._clock.now(), facts=facts)
        self._journal.events.set(number, msgspec.json.decode(encode(event), type=Event))


BY_NAME = (("name",),)
"""`unique` of records that have a name of their own."""


class MemoryRecordStore(Generic[Kept]):
    """What every store of records does. Records are kept as their bytes, so that nobody can change one in place."""

    record_type: type[Kept]
    unique: Sequence[tuple[str, ...]] = ()

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal
        self._bodies = MemoryTable[str, bytes](journal)
        journal.records.append(self._bodies)
        self._decode = msgspec.json.Decoder(self.record_type).decode

    def put(self, record: Kept) -> None:
        try:
            body = encode(record)
            self._decode(body)
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            raise Invalid(f"this {self.record_type.__name__} cannot be kept: {error}") from error
        for key in self.unique:
            if self._another(record, key):
                raise AlreadyExists(f"there is another {self.record_type.__name__} with this {key} already")
        self._bodies.set(record.id, body)

    def get(self, identifier: str) -> Kept | None:
        body = self._bodies.get(identifier)
        return None if body is None else self._decode(body)

    def _another(self, record: Kept, key: tuple[str, ...]) -> bool:
        taken = [getattr(record, field) for field in key]
        return any(
            other.id != record.id and [getattr(other, field) for field in key] == taken
            for other in map(self._decode, self._bodies.all().values())
        )

    def _every(
        self, fits: Callable[[Kept], bool], order: Callable[[Kept], Any] = lambda record: record.id
    ) -> list[Kept]:
        """All that fit, oldest first or in `order`."""
        return sorted((record for record in map(self._decode, self._bodies.all().values()) if fits(record)), key=order)

    def _first(
        self, fits: Callable[[Kept], bool], order: Callable[[Kept], Any] = lambda record: record.id
    ) -> Kept | None:
        """The newest that fits, or the last in `order`."""
        found = self._every(fits, order)
        return found[-1] if found else None

    def _page(self, limit: int, before: str | None, **equal: str | None) -> Page[Kept]:
        wanted = {field: value for field, value in equal.items() if value is not None}

        def fits(record: Kept) -> bool:
            return all(getattr(record, field) == value for field, value in wanted.items())

        checked(limit)
        found = [record for record in reversed(self._every(fits)) if before is None or record.id < before]
        return Page(items=tuple(found[:limit]), next=found[limit - 1].id if len(found) > limit else None)
