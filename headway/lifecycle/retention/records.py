"""What is put aside, what is left of what was purged, and how long things are kept."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from headway.kernel.blobs import BlobsUsed
from headway.kernel.quotas import Quotas
from headway.kernel.records import Record, Value


class Tombstone(Record):
    """What is left of a record that was purged. It bears the record's id, so that the ledger goes on to seal it."""

    kind: str
    """The prefix of the id, such as `rn`."""
    name: str
    """What people called it."""
    made_at: datetime
    sealed: str
    """Digest of the record as it was last written: the same that the ledger has."""
    purged_by: str
    why: str
    purged_with: str = ""
    """The record whose purge took this one along, if there was one."""


class Standing(Value):
    """Whether a thing is in use or was put aside."""

    id: str
    kind: str
    name: str
    deleted: bool


class Purged(Value):
    """What a purge has left: the tombstone of what was named, and how many records went in all."""

    tombstone: Tombstone
    records: int


class Tally(Value):
    objects: int = 0
    bytes: int = 0

    def plus(self, size: int) -> Tally:
        return Tally(objects=self.objects + 1, bytes=self.bytes + size)


class Fate(StrEnum):
    """What a collection decides about a blob."""

    KEPT = "kept"
    """A record has its digest."""
    YOUNG = "young"
    """No record has it, but it was put lately: somebody may be about to say what it is."""
    DISCARDED = "discarded"
    """No record has it: it is put aside, and comes back if anybody asks for it."""
    WAITING = "waiting"
    """It was discarded before, and not long enough ago."""
    DESTROYED = "destroyed"
    BROUGHT_BACK = "brought_back"
    """It was discarded, and a record has it now."""


class Explained(Value):
    """One blob: what is decided, and why."""

    digest: str
    size: int
    fate: Fate
    why: str
    at: datetime


class Missing(Value):
    """A blob that a record holds and that is not there; collection only tells."""

    digest: str
    record: str
    place: str


class Sweep(Record, prefix="sw"):
    """What one collection did, or with `dry_run` would do."""

    swept_by: str
    older_than_s: float
    dry_run: bool = False
    purged: dict[str, int] = {}
    """Records that retention purged: rule -> how many."""
    refused: dict[str, int] = {}
    """Records that were due and that something still depends on."""
    blobs: dict[str, Tally] = {}
    """By fate."""
    leftovers: Tally = Tally()
    """Files of uploads that were cut off."""
    missing: int = 0
    """Blobs that a record holds and that are not there. Their digests are only told, since to keep them in a record
    would be to have them."""

    @property
    def freed_bytes(self) -> int:
        return self.blobs.get(Fate.DESTROYED, Tally()).bytes + self.leftovers.bytes

    @property
    def idle(self) -> bool:
        """Whether nothing was changed."""
        moved = (Fate.DISCARDED, Fate.DESTROYED, Fate.BROUGHT_BACK)
        return not (self.purged or self.leftovers.objects or any(fate in self.blobs for fate in moved))


class Usage(Value):
    blobs: BlobsUsed
    quotas: Quotas


class Swept(Value):
    """A sweep with an explanation of each blob, at most as many as were asked for."""

    sweep: Sweep
    missing: tuple[Missing, ...] = ()
    """The first hundred of them."""
    explained: tuple[Explained, ...] = ()
    unexplained: int = 0
    """Blobs beyond that number."""
