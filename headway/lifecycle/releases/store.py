"""What must be kept of approvals and releases."""

from __future__ import annotations

from typing import Protocol

from headway.kernel.paging import Page
from headway.lifecycle.releases.records import Approval, Envelope, Release


class ApprovalStore(Protocol):
    def put(self, record: Approval) -> None: ...
    def list(self, change: str) -> list[Approval]: ...


class ReleaseStore(Protocol):
    def put(self, record: Release) -> None: ...
    def get(self, identifier: str) -> Release | None: ...
    def list(self, environment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Release]: ...


class Signer(Protocol):
    """Signs and checks statements; the private key never leaves it."""

    def sign(self, payload_type: str, payload: bytes) -> Envelope: ...

    def check(self, envelope: Envelope) -> bytes:
        """The payload; raises `Refused` when the signature does not hold."""
        ...
