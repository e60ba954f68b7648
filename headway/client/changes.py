"""Changes, over a connection. A change is named by its id or its number."""

from __future__ import annotations

from datetime import datetime

from headway.client.http import Connection
from headway.client.line import segment
from headway.kernel.paging import Page
from headway.lifecycle.changes.dora import Figures
from headway.lifecycle.changes.records import Change, OpenChange
from headway.lifecycle.releases.records import Approval


class Changes:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open(self, command: OpenChange) -> Change:
        """Open a change for a pipeline to run, or for a model version that is there."""
        return self._connection.post("/v1/changes", Change, command)

    def get(self, reference: str) -> Change:
        return self._connection.get(_path(reference), Change)

    def approvals(self, reference: str) -> tuple[Approval, ...]:
        return self._connection.get(_path(reference) + "/approvals", Page[Approval]).items

    def approve(self, reference: str, reason: str) -> Approval:
        """Agree to a change that its gate has let pass. Raises `NotApproved` for who may not."""
        return self._connection.post(_path(reference) + "/approve", Approval, {"reason": reason})

    def decline(self, reference: str, reason: str) -> Approval:
        return self._connection.post(_path(reference) + "/decline", Approval, {"reason": reason})

    def cancel(self, reference: str, reason: str) -> Change:
        """Give a change up before any traffic moves."""
        return self._connection.post(_path(reference) + "/cancel", Change, {"reason": reason})

    def dora(self, since: datetime | None = None, until: datetime | None = None) -> Figures:
        """The four delivery figures of the changes that ended in [since, until)."""
        return self._connection.get(
            "/v1/changes/dora", Figures, since=since and since.isoformat(), until=until and until.isoformat()
        )

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Change]:
        return self._connection.get("/v1/changes", Page[Change], limit=limit, before=before)


def _path(reference: str) -> str:
    return f"/v1/changes/{segment(reference)}"
