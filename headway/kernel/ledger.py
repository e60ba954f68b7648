"""The ledger: who wrote what, when and why, each entry sealing the record as written and the entry before it.

`verify` reads everything again: a changed byte in a record or in an entry breaks a seal, and an anchor kept outside
the database (the last number and hash) shows a tail that was cut off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from headway.errors import Invalid, LedgerBroken
from headway.kernel.lineage import Edge
from headway.kernel.records import Value, digest, encode

GENESIS = "b3:" + "0" * 64


LONGEST_PARENT = 500


class Entry(Value):
    number: int
    at: datetime
    actor: str
    verb: str
    subject: str
    why: str
    record: str
    """Digest of the record as written."""
    before: str
    """Hash of the entry before."""
    came_from: tuple[str, ...] = ()
    """The record's lineage as it was told with this write."""
    hash: str = ""


class Anchor(Value):
    """The head of the ledger, kept outside the database."""

    number: int
    hash: str


class LedgerStore(Protocol):
    def entries(self, *, after: int = 0, subject: str | None = None, limit: int = 1000) -> list[Entry]:
        """Entries in order of their number."""
        ...

    def latest(self, *, before: int | None = None, limit: int = 100) -> list[Entry]:
        """Entries, newest first."""
        ...

    def records(self) -> Iterator[tuple[str, bytes]]:
        """Every record that is kept: its id and its canonical bytes, rebuilt from the row and its columns."""
        ...

    def edges(self) -> Iterator[Edge]:
        """All lineage."""
        ...

    def anchor(self) -> Anchor | None: ...

    def snapshot(self) -> AbstractContextManager[None]:
        """All reads of this thread inside see one state, whatever others write meanwhile."""
        ...


def seal(entry: Entry) -> Entry:
    """The entry with its hash filled in."""
    return entry.but(hash=digest(encode(entry.but(hash=""))))


def checked_parents(came_from: Iterable[str]) -> tuple[str, ...]:
    """What a record came from, each once and none empty; raises `Invalid` for what is no id: the ledger keeps them on
    one line, and one with a space in it could not be read back as it was sealed."""
    parents = tuple(dict.fromkeys(parent for parent in came_from if parent))
    for parent in parents:
        if parent.split() != [parent] or len(parent) > LONGEST_PARENT:
            raise Invalid(f"{parent[:100]!r} is nothing that a record can come from: it takes an id")
    return parents


def verify(store: LedgerStore) -> int:
    """The number of entries, all of which hold; raises `LedgerBroken` naming the first that does not."""
    anchor = store.anchor()
    with store.snapshot():
        latest, edges = _verify_chain(store, anchor)
        _verify_records(store.records(), latest)
        _verify_lineage(store.edges(), edges)
    return max((entry.number for entry in latest.values()), default=0)


def _verify_chain(
    store: LedgerStore, anchor: Anchor | None
) -> tuple[dict[str, Entry], dict[tuple[str, str], datetime]]:
    """The last entry of each subject, and when each edge of the lineage was first told."""
    count, head, latest, edges = 0, GENESIS, dict[str, Entry](), dict[tuple[str, str], datetime]()
    for entry in _all(store):
        count += 1
        if entry.number != count:
            raise LedgerBroken(f"entry {count} is missing from the ledger (found {entry.number})", number=count)
        if entry.before != head or seal(entry).hash != entry.hash:
            raise LedgerBroken(f"entry {entry.number} ({entry.verb}) was changed after it was written", number=count)
        if anchor and anchor.number == entry.number and anchor.hash != entry.hash:
            raise LedgerBroken(f"entry {entry.number} is not the one that was anchored", number=count)
        head, latest[entry.subject] = entry.hash, entry
        for parent in entry.came_from:
            edges.setdefault((entry.subject, parent), entry.at)
    if anchor and anchor.number > count:
        raise LedgerBroken(f"the tail is cut: {anchor.number} entries were written, {count} are left", number=count)
    return latest, edges


def _verify_lineage(kept: Iterable[Edge], told: dict[tuple[str, str], datetime]) -> None:
    for edge in kept:
        if told.pop((edge.child, edge.parent), None) != edge.at:
            raise LedgerBroken(f"the ledger does not say so: {edge.child} came from {edge.parent}", subject=edge.child)
    for child, parent in told:
        raise LedgerBroken(f"the lineage no longer says that {child} came from {parent}", subject=child)


def _verify_records(records: Iterable[tuple[str, bytes]], latest: dict[str, Entry]) -> None:
    missing = set(latest)
    for identifier, body in records:
        entry = latest.get(identifier)
        if entry is None:
            raise LedgerBroken(f"{identifier} is in no entry of the ledger", subject=identifier)
        if digest(body) != entry.record:
            raise LedgerBroken(
                f"{identifier} is not as entry {entry.number} ({entry.verb}) wrote it", subject=identifier
            )
        missing.discard(identifier)
    if missing:
        raise LedgerBroken(f"{min(missing)} is in the ledger but no longer kept", subject=min(missing))


def _all(store: LedgerStore) -> Iterator[Entry]:
    after = 0
    while page := store.entries(after=after):
        yield from page
        after = page[-1].number
