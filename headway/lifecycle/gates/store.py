"""What must be kept of gates."""

from __future__ import annotations

from typing import Protocol

from headway.kernel.paging import Page
from headway.lifecycle.gates.records import Evidence, Verdict


class EvidenceStore(Protocol):
    def put(self, record: Evidence) -> None: ...
    def get(self, identifier: str) -> Evidence | None: ...
    def list(self, subject: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Evidence]: ...


class VerdictStore(Protocol):
    def put(self, record: Verdict) -> None: ...
    def get(self, identifier: str) -> Verdict | None: ...
    def list(
        self, model_version: str | None = None, *, limit: int = 100, before: str | None = None
    ) -> Page[Verdict]: ...
