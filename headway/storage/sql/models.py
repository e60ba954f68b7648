"""Models in SQL."""

from __future__ import annotations

from sqlalchemy import select

from headway.kernel.paging import Page
from headway.lifecycle.models.records import Model, ModelVersion, Registration, Trust
from headway.storage.sql.runs import RUNS
from headway.storage.sql.tables import RecordTable, SqlRecordStore

MODELS = RecordTable("models", Model, "name", unique=[("name",)])
MODEL_VERSIONS = RecordTable(
    "model_versions", ModelVersion, "model", "number", "run", index=["run"], unique=[("model", "number")]
)

TRUSTS = RecordTable("trusts", Trust, "blob", unique=[("blob",)])
REGISTRATIONS = RecordTable("registrations", Registration, "model", "number", unique=[("model", "number")])


class SqlModelStore(SqlRecordStore[Model]):
    table = MODELS

    def named(self, name: str) -> Model | None:
        return self._first(MODELS.rows.c.name == name)

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Model]:
        return self._page(limit, before)


class SqlModelVersionStore(SqlRecordStore[ModelVersion]):
    table = MODEL_VERSIONS

    def of(self, model: str, number: int | None = None) -> ModelVersion | None:
        column = MODEL_VERSIONS.rows.c
        numbered = [] if number is None else [column.number == number]
        return self._first(column.model == model, *numbered, order=[column.number.desc()])

    def made_by(self, run: str) -> ModelVersion | None:
        inside = select(RUNS.rows.c.id).where(RUNS.rows.c.parent == run)
        made = MODEL_VERSIONS.rows.c.run
        return self._first((made == run) | made.in_(inside))

    def list(self, model: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[ModelVersion]:
        return self._page(limit, before, model=model)


class SqlRegistrationStore(SqlRecordStore[Registration]):
    table = REGISTRATIONS

    def of(self, model: str, number: int | None = None) -> Registration | None:
        column = REGISTRATIONS.rows.c
        numbered = [] if number is None else [column.number == number]
        return self._first(column.model == model, *numbered, order=[column.number.desc()])

    def list(self, model: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Registration]:
        return self._page(limit, before, model=model)


class SqlTrustStore(SqlRecordStore[Trust]):
    table = TRUSTS

    def of(self, blob: str) -> Trust | None:
        return self._first(TRUSTS.rows.c.blob == blob)
