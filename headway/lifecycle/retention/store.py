"""What must be kept of what is gone, and the way to let go of a record of any kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from headway.kernel.paging import Page
from headway.lifecycle.retention.policy import Retention
from headway.lifecycle.retention.records import Sweep, Tombstone


class TombstoneStore(Protocol):
    def put(self, record: Tombstone) -> None: ...
    def get(self, identifier: str) -> Tombstone | None: ...
    def list(self, kind: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Tombstone]: ...


class SweepStore(Protocol):
    def put(self, record: Sweep) -> None: ...
    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Sweep]: ...


class PolicyStore(Protocol):
    def put(self, record: Retention) -> None: ...
    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Retention]: ...


class KeptRecords(Protocol):
    """Every record that the ledger seals, whatever its kind, except tombstones."""

    def body(self, identifier: str) -> bytes | None:
        """The record's canonical bytes."""
        ...

    def of_kind(self, prefix: str) -> Iterator[bytes]:
        """The canonical bytes of all records whose ids have this prefix, oldest first."""
        ...

    def remove(self, identifier: str) -> None:
        """Let go of a record, inside an act, with what is kept of it beside the ledger: points, steps, its place in an
        index. The caller leaves a tombstone in the same act, or the ledger no longer verifies."""
        ...
