"""Approvals and releases in SQL."""

from __future__ import annotations

from headway.kernel.paging import Page
from headway.lifecycle.releases.records import Approval, Release
from headway.storage.sql.tables import RecordTable, SqlRecordStore

APPROVALS = RecordTable("approvals", Approval, "change", index=["change"])
RELEASES = RecordTable("releases", Release, "environment", index=["environment"])


class SqlApprovalStore(SqlRecordStore[Approval]):
    table = APPROVALS

    def list(self, change: str) -> list[Approval]:
        """Oldest first."""
        return self._every(APPROVALS.rows.c.change == change)


class SqlReleaseStore(SqlRecordStore[Release]):
    table = RELEASES

    def list(self, environment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Release]:
        return self._page(limit, before, environment=environment)
