"""The kernel's stores in memory, and blobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock

from headway.errors import NotFound
from headway.kernel.access import AccessToken
from headway.kernel.blobs import BlobsUsed, KeptBlob, checked_digest, checked_part
from headway.kernel.clock import Clock, SystemClock
from headway.kernel.events import Event
from headway.kernel.leases import Lease
from headway.kernel.ledger import Anchor, Entry
from headway.kernel.lineage import Edge
from headway.kernel.records import digest
from headway.testing.memory_journal import MemoryJournal, MemoryRecordStore, MemoryTable


class MemoryTokenStore(MemoryRecordStore[AccessToken]):
    record_type = AccessToken
    unique = (("secret_sha256",),)

    def by_secret(self, secret_sha256: str) -> AccessToken | None:
        return self._first(lambda token: token.secret_sha256 == secret_sha256)

    def all(self) -> list[AccessToken]:
        return self._every(lambda _: True)


class MemoryLedgerStore:
    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal

    def entries(self, *, after: int = 0, subject: str | None = None, limit: int = 1000) -> list[Entry]:
        found = [entry for entry in self._journal.ledger.all().values() if entry.number > after]
        return [entry for entry in found if subject is None or entry.subject == subject][:limit]

    def latest(self, *, before: int | None = None, limit: int = 100) -> list[Entry]:
        entries = reversed(self._journal.ledger.all().values())
        return [entry for entry in entries if before is None or entry.number < before][:limit]

    def records(self) -> Iterator[tuple[str, bytes]]:
        for table in self._journal.records:
            yield from table.all().items()

    def edges(self) -> Iterator[Edge]:
        yield from self._journal.edges.all().values()

    def anchor(self) -> Anchor | None:
        return self._journal.anchor

    def snapshot(self) -> AbstractContextManager[None]:
        return self._journal.snapshot()


class MemoryLineageStore:
    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal

    def parents(self, child: str) -> list[Edge]:
        return self._edges(lambda edge: edge.child == child)

    def children(self, parent: str) -> list[Edge]:
        return self._edges(lambda edge: edge.parent == parent)

    def _edges(self, fits: Callable[[Edge], bool]) -> list[Edge]:
        found = filter(fits, self._journal.edges.all().values())
        return sorted(found, key=lambda edge: (edge.at, edge.child, edge.parent))


class MemoryEventStore:
    def __init__(self, journal: MemoryJournal) -> None:
        self._events, self._marks = journal.events, MemoryTable[str, int](journal)

    def after(self, number: int, limit: int = 100) -> list[Event]:
        return [event for event in self._events.all().values() if event.number > number][:limit]

    def last(self) -> int:
        return max(self._events.all(), default=0)

    def heard(self, listener: str) -> int:
        return self._marks.get(listener) or 0

    def mark(self, listener: str, number: int) -> None:
        self._marks.set(listener, number)


class MemoryLeaseStore:
    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal
        self._leases: dict[str, Lease] = {}

    def take(self, name: str, holder: str, now: datetime, seconds: float) -> Lease | None:
        with self._journal.alone():
            known = self._leases.get(name)
            runs = known is not None and bool(known.holder) and known.expires_at > now
            if known is not None and runs and known.holder != holder:
                return None
            token = 1 if known is None else known.token if runs else known.token + 1
            lease = Lease(name=name, holder=holder, token=token, expires_at=now + timedelta(seconds=seconds))
            self._leases[name] = lease
            return lease

    def give_back(self, lease: Lease) -> None:
        with self._journal.alone():
            known = self._leases.get(lease.name)
            if known is not None and known.token == lease.token:
                self._leases[lease.name] = known.but(holder="")

    def held(self, name: str, token: int) -> bool:
        known = self._leases.get(name)
        return known is not None and bool(known.holder) and known.token == token


class MemoryBlobStore:
    def __init__(self, clock: Clock | None = None) -> None:
        self._clock, self._one_step = clock or SystemClock(), Lock()
        self._kept: dict[str, tuple[bytes, datetime]] = {}
        self._discarded: dict[str, tuple[bytes, datetime]] = {}

    def put(self, data: bytes) -> str:
        name = digest(data)
        with self._one_step:
            self._discarded.pop(name, None)
            self._kept[name] = bytes(data), self._clock.now()
        return name

    def adopt(self, file: Path, digest: str) -> None:
        self.put(file.read_bytes())
        file.unlink()

    def part(self, digest: str, start: int, length: int) -> bytes:
        data = self.get(digest)
        checked_part(start, length, len(data))
        return data[start : start + length]

    def get(self, digest: str) -> bytes:
        with self._one_step:
            if not self._brought_back(digest):
                raise NotFound(f"no blob {digest}")
            return self._kept[digest][0]

    def has(self, digest: str) -> bool:
        with self._one_step:
            return self._brought_back(digest)

    def delete(self, digest: str) -> None:
        with self._one_step:
            self._kept.pop(checked_digest(digest), None)
            self._discarded.pop(digest, None)

    def all(self) -> Iterable[KeptBlob]:
        return _told(self._kept)

    def discard(self, digest: str) -> None:
        with self._one_step:
            found = self._kept.pop(checked_digest(digest), None)
            if found is not None:
                self._discarded[digest] = found[0], self._clock.now()

    def discarded(self) -> Iterable[KeptBlob]:
        return _told(self._discarded)

    def destroy(self, digest: str) -> None:
        with self._one_step:
            self._discarded.pop(checked_digest(digest), None)

    def used(self) -> BlobsUsed:
        with self._one_step:
            sizes = [len(data) for data, _ in (*self._kept.values(), *self._discarded.values())]
            return BlobsUsed(objects=len(sizes), bytes=sum(sizes))

    def address(self, digest: str) -> str:
        return "memory:" + checked_digest(digest)

    def _brought_back(self, digest: str) -> bool:
        found = self._discarded.pop(checked_digest(digest), None)
        if found is not None:
            self._kept[digest] = found
        return digest in self._kept


def _told(blobs: dict[str, tuple[bytes, datetime]]) -> list[KeptBlob]:
    return [KeptBlob(digest=name, size=len(data), at=at) for name, (data, at) in sorted(blobs.copy().items())]
