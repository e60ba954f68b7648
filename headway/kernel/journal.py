"""The only way to write: one transaction holds the record, its ledger entry, its lineage and its events.

    with journal.act(by.name, "release.sign", why=reason) as act:
        act.save(store, release, came_from=[verdict.id])
        act.emit("ReleaseSigned", release.id)

Everything inside is committed together, or nothing is. Reads inside see the writes before them, and acts are
serialised, so a check made inside still holds when the write is kept. A store refuses to write outside an act.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from headway.kernel.records import Record

AnyRecord = TypeVar("AnyRecord", bound=Record)
AnyRecord_contra = TypeVar("AnyRecord_contra", bound=Record, contravariant=True)


class Keeps(Protocol[AnyRecord_contra]):
    """A store that keeps this kind of record, by id; a later `put` of the same id replaces."""

    def put(self, record: AnyRecord_contra) -> None: ...


class Act(Protocol):
    def save(self, store: Keeps[AnyRecord], record: AnyRecord, *, came_from: Iterable[str] = ()) -> AnyRecord:
        """Keep `record`, with a ledger entry sealing it and a lineage edge from each id in `came_from`."""
        ...

    def emit(self, kind: str, subject: str, /, **facts: Any) -> None:
        """Announce what has happened (`RunFinished`), to be delivered at least once after the commit."""
        ...


class Journal(Protocol):
    def act(self, actor: str, verb: str, *, why: str = "") -> AbstractContextManager[Act]: ...
