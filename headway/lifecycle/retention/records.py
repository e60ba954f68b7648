"""What is put aside, what is left of what was purged, and how long things are kept."""

from __future__ import annotations

from datetime import datetime

from headway.kernel.records import Record


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
