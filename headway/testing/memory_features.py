"""Feature views and their newest values in memory."""

from __future__ import annotations

from collections.abc import Sequence

from headway.kernel.paging import Page
from headway.lifecycle.feature_views.records import FeatureView, Materialisation, OnlineRow
from headway.testing.memory_journal import MemoryJournal, MemoryRecordStore, MemoryTable


class MemoryFeatureViewStore(MemoryRecordStore[FeatureView]):
    record_type = FeatureView
    unique = (("name", "number"),)

    def of(self, name: str, number: int | None = None) -> FeatureView | None:
        return self._first(
            lambda view: view.name == name and number in (None, view.number), order=lambda view: view.number
        )

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[FeatureView]:
        return self._page(limit, before)


class MemoryMaterialisationStore(MemoryRecordStore[Materialisation]):
    record_type = Materialisation

    def newest(self, view: str) -> Materialisation | None:
        return self._first(lambda done: done.view == view)

    def list(self, view: str, *, limit: int = 100, before: str | None = None) -> Page[Materialisation]:
        return self._page(limit, before, view=view)


class MemoryOnlineStore:
    def __init__(self, journal: MemoryJournal) -> None:
        self._rows = MemoryTable[tuple[str, str], OnlineRow](journal)

    def find(self, view: str, keys: Sequence[str]) -> dict[str, OnlineRow]:
        every = self.all(view)
        return {key: every[key] for key in keys if key in every}

    def all(self, view: str) -> dict[str, OnlineRow]:
        return {key: row for (owner, key), row in self._rows.all().items() if owner == view}

    def change(self, view: str, written: dict[str, OnlineRow], removed: Sequence[str]) -> None:
        for key, row in written.items():
            self._rows.set((view, key), row)
        for key in removed:
            self._rows.drop((view, key))
