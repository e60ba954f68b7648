"""Evidence and verdicts in SQL."""

from __future__ import annotations

from headway.kernel.paging import Page
from headway.lifecycle.gates.records import Evidence, Verdict
from headway.storage.sql.tables import RecordTable, SqlRecordStore

EVIDENCE = RecordTable("evidence", Evidence, "subject", index=["subject"])
VERDICTS = RecordTable("verdicts", Verdict, "model_version", index=["model_version"])


class SqlEvidenceStore(SqlRecordStore[Evidence]):
    table = EVIDENCE

    def list(self, subject: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Evidence]:
        return self._page(limit, before, subject=subject)


class SqlVerdictStore(SqlRecordStore[Verdict]):
    table = VERDICTS

    def list(self, model_version: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Verdict]:
        return self._page(limit, before, model_version=model_version)
