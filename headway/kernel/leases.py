"""Leases: who works on what, until when, with a token that grows so that a late worker can be told from the new one."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from headway.kernel.records import Value


class Lease(Value):
    name: str
    holder: str
    token: int
    expires_at: datetime


class LeaseStore(Protocol):
    """Each call is one atomic step of its own, outside any act."""

    def take(self, name: str, holder: str, now: datetime, seconds: float) -> Lease | None:
        """The lease, new with a higher token or prolonged if `holder` has it; None while somebody else does."""
        ...

    def give_back(self, lease: Lease) -> None: ...

    def held(self, name: str, token: int) -> bool:
        """Whether `token` is still the newest for `name`; asked inside an act, it fences the write."""
        ...
