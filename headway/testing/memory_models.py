"""The stores of models and their versions in memory."""

from __future__ import annotations

from headway.kernel.paging import Page
from headway.lifecycle.models.records import Model, ModelVersion, Registration, Trust
from headway.testing.memory_journal import BY_NAME, MemoryJournal, MemoryRecordStore
from headway.testing.memory_runs import MemoryRunStore


class MemoryModelStore(MemoryRecordStore[Model]):
    record_type = Model
    unique = BY_NAME

    def named(self, name: str) -> Model | None:
        return self._first(lambda model: model.name == name)

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Model]:
        return self._page(limit, before)


class MemoryModelVersionStore(MemoryRecordStore[ModelVersion]):
    record_type = ModelVersion
    unique = (("model", "number"),)

    def __init__(self, journal: MemoryJournal, runs: MemoryRunStore) -> None:
        super().__init__(journal)
        self._runs = runs

    def of(self, model: str, number: int | None = None) -> ModelVersion | None:
        return self._first(
            lambda version: version.model == model and number in (None, version.number),
            order=lambda version: version.number,
        )

    def made_by(self, run: str) -> ModelVersion | None:
        among = {run, *self._runs.inside(run)}
        return self._first(lambda version: version.run in among)

    def list(self, model: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[ModelVersion]:
        return self._page(limit, before, model=model)


class MemoryRegistrationStore(MemoryRecordStore[Registration]):
    record_type = Registration
    unique = (("model", "number"),)

    def of(self, model: str, number: int | None = None) -> Registration | None:
        return self._first(
            lambda registration: registration.model == model and number in (None, registration.number),
            order=lambda registration: registration.number,
        )

    def list(self, model: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Registration]:
        return self._page(limit, before, model=model)


class MemoryTrustStore(MemoryRecordStore[Trust]):
    record_type = Trust
    unique = (("blob",),)

    def of(self, blob: str) -> Trust | None:
        return self._first(lambda trust: trust.blob == blob)
