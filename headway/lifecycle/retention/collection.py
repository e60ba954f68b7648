"""Collecting blobs that no record has: mark what is reachable, discard what is not and is old, destroy what stayed so.

It runs beside writers, who put a blob first and keep a record of it then. Two things see to it that nothing reachable
is ever destroyed. A blob is destroyed only inside an act, after all that was written since the marking has been marked
too; and whoever keeps a record of a blob asks inside the act whether it is there (`must_be_kept`). Acts are serialised,
so either the record comes first and is seen, or the destruction does and the writer is told to send the blob again.
The age that a blob must have makes the latter rare; what holds does not depend on it, nor on any clock.

Each step is a rename or a removal of one blob: killed at any moment, the next collection goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from headway.kernel.access import Actor
from headway.kernel.blobs import BlobStore, KeptBlob
from headway.kernel.journal import Journal
from headway.kernel.ledger import LedgerStore
from headway.kernel.reachability import Reference, digests, references
from headway.kernel.records import Value
from headway.lifecycle.retention.records import Explained, Fate, Missing, Tally
from headway.lifecycle.retention.store import KeptRecords

MOST_MISSING = 100
_AT_ONCE = 200
"""Blobs that are destroyed in one act: other writers wait no longer than that."""


class Leftover(Value):
    """A file of an upload that was cut off."""

    name: str
    size: int
    at: datetime


class Leftovers(Protocol):
    def found(self) -> Iterable[Leftover]: ...
    def remove(self, name: str) -> None: ...


class Marks:
    """Every digest that stands in a record, up to an entry of the ledger."""

    def __init__(self, ledger: LedgerStore, kept: KeptRecords) -> None:
        self._ledger, self._kept = ledger, kept
        newest = ledger.latest(limit=1)  # before the reading: what is written meanwhile is marked by `catch_up`
        self._number = newest[0].number if newest else 0
        self.reached = digests(ledger.records())

    def catch_up(self) -> None:
        """Mark what was written since. Digests are only ever added: what a record has let go of is for the next."""
        while entries := self._ledger.entries(after=self._number):
            bodies = ((entry.subject, self._kept.body(entry.subject)) for entry in entries)
            self.reached.update(digests((subject, body) for subject, body in bodies if body))
            self._number = entries[-1].number

    def missing(self, there: set[str]) -> Iterator[Missing]:
        """What is held and was not `there` when that was listed."""
        for digest in self.reached.keys() - there:
            for reference in self.places(digest):
                if reference.held:
                    yield Missing(digest=digest, record=reference.record, place=reference.place)

    def places(self, digest: str) -> list[Reference]:
        """Where the record that `digest` was found in first has it; those that hold it come first."""
        record = self.reached[digest]
        found = references(record, self._kept.body(record) or b"")
        return sorted((each for each in found if each.digest == digest), key=lambda each: not each.held)


class Collection:
    """One pass over all blobs. `explain` is told of each, with a reason."""

    def __init__(
        self, journal: Journal, ledger: LedgerStore, kept: KeptRecords, blobs: BlobStore, *, now: datetime,
        older_than_s: float, dry_run: bool, explain: Callable[[Explained], None] | None,
    ) -> None:  # fmt: skip
        self._journal, self._blobs, self._explain = journal, blobs, explain
        self._at_once, self._dry_run, self._now = older_than_s == 0, dry_run, now
        self._due = datetime.max.replace(tzinfo=UTC) if self._at_once else now - timedelta(seconds=older_than_s)
        self._marks = Marks(ledger, kept)
        self.tallies: dict[str, Tally] = {}
        self.missing: list[Missing] = []

    def run(self, by: Actor) -> None:
        waiting, there = {blob.digest: blob for blob in self._blobs.discarded()}, set[str]()
        for blob in self._blobs.all():
            there.add(blob.digest)
            self._look(blob)
        self._marks.catch_up()
        group: list[KeptBlob] = []
        for blob in waiting.values() if self._dry_run else self._blobs.discarded():
            there.add(blob.digest)
            if blob.digest in self._marks.reached:
                self._bring_back(blob)
            elif blob.at > self._due:
                if blob.digest in waiting:
                    self._tell(blob, Fate.WAITING, "no record has it; discarded, and not long enough ago")
            else:
                group.append(blob)
            if len(group) >= _AT_ONCE:
                self._destroy(group, by)
                group = []
        self._destroy(group, by)
        told = (each for each in self._marks.missing(there) if not self._blobs.has(each.digest))
        self.missing = sorted(told, key=lambda each: each.digest)

    def _look(self, blob: KeptBlob) -> None:
        if blob.digest in self._marks.reached:
            self._tell(blob, Fate.KEPT, "")
        elif blob.at > self._due:
            self._tell(blob, Fate.YOUNG, f"no record has it; put or asked for {_ago(self._now - blob.at)} ago")
        else:
            if self._dry_run or not self._at_once:
                fate = Fate.DESTROYED if self._at_once else Fate.DISCARDED
                self._tell(blob, fate, f"no record has it; put or asked for {_ago(self._now - blob.at)} ago")
            if not self._dry_run:
                self._blobs.discard(blob.digest)

    def _bring_back(self, blob: KeptBlob) -> None:
        self._tell(blob, Fate.BROUGHT_BACK, "")
        if not self._dry_run:
            self._blobs.has(blob.digest)

    def _destroy(self, group: list[KeptBlob], by: Actor) -> None:
        if self._dry_run or not group:
            for blob in group:
                self._tell(blob, Fate.DESTROYED, "no record has it; discarded long enough ago")
            return
        self._marks.catch_up()  # what is left for inside the act is little
        with self._journal.act(by.name, "blobs.destroy"):
            self._marks.catch_up()
            for blob in group:
                if blob.digest not in self._marks.reached:
                    self._tell(blob, Fate.DESTROYED, "no record has it; discarded long enough ago")
                    self._blobs.destroy(blob.digest)
        for blob in group:
            if blob.digest in self._marks.reached:
                self._bring_back(blob)

    def _tell(self, blob: KeptBlob, fate: Fate, why: str) -> None:
        self.tallies[fate] = self.tallies.get(fate, Tally()).plus(blob.size)
        if self._explain is not None:
            why = why or self._holder(blob.digest)
            self._explain(Explained(digest=blob.digest, size=blob.size, fate=fate, why=why, at=blob.at))

    def _holder(self, digest: str) -> str:
        places = self._marks.places(digest)
        if not places:
            return f"{self._marks.reached[digest]} had it when this began"
        verb = "is" if places[0].held else "is mentioned in"
        return f"{verb} {places[0].place} of {places[0].record}"


def _ago(age: timedelta) -> str:
    hours = max(age.total_seconds(), 0.0) / 3600
    return f"{hours / 24:.1f} d" if hours >= 48 else f"{hours:.1f} h"
