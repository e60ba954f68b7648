"""The lines of datasets: which versions there are, and the number of the next one."""

from __future__ import annotations

from typing import Any

from headway.errors import NotFound
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Act
from headway.kernel.naming import find_version
from headway.kernel.paging import Page, every
from headway.lifecycle.datasets.records import Dataset, DatasetVersion, facts
from headway.lifecycle.datasets.store import DatasetStore, DatasetVersionStore


class DatasetLines:
    def __init__(self, store: DatasetStore, versions: DatasetVersionStore, clock: Clock, ids: Ids) -> None:
        self._store, self._versions, self._clock, self._ids = store, versions, clock, ids

    def number(self, act: Act, name: str, /, *, came_from: list[str], **fields: Any) -> DatasetVersion:
        """Keep the next version of `name` inside `act`, and the dataset if this is its first."""
        line = self._store.named(name)
        if line is None:
            made = Dataset(id=self._ids(Dataset.prefix), created_at=self._clock.now(), name=name)
            line = act.save(self._store, made)
        newest = self._versions.of(name)
        version = DatasetVersion(
            id=self._ids(DatasetVersion.prefix),
            created_at=self._clock.now(),
            dataset=name,
            number=1 + max(newest.number if newest else 0, line.last_number),
            **fields,
        )
        act.save(self._versions, version, came_from=came_from)
        act.emit("DatasetVersionAdded", version.id, **facts(version))
        return version

    def line(self, name: str) -> Dataset:
        found = self._store.named(name)
        if found is None:
            raise NotFound(f"no dataset {name[:100]!r}; `headway dataset list` shows what there is")
        return found

    def version(self, reference: str) -> DatasetVersion:
        """By id, `name` (the newest), `name@number` or `name@tag`."""
        name, _, tag = reference.partition("@")
        if tag and not tag.isdecimal() and tag in (line.tagged if (line := self._store.named(name)) else {}):
            reference = f"{name}@{line.tagged[tag]}"  # type: ignore[union-attr]
        found = find_version(reference, DatasetVersion.prefix, self._versions, self.newest)
        if found is None:
            raise NotFound(f"no dataset version {reference!r}; `headway dataset list` shows what there is")
        return found

    def newest(self, name: str) -> DatasetVersion | None:
        """The newest that is not deleted."""
        last = self._versions.of(name)
        if last is None or last.deleted_at is None:
            return last
        versions = every(lambda before: self._versions.list(name, before=before))
        return next((version for version in versions if version.deleted_at is None), None)

    def versions(
        self, dataset: str | None = None, *, limit: int = 100, before: str | None = None
    ) -> Page[DatasetVersion]:
        """Without those that are deleted: a page may be shorter than `limit` though more follow."""
        page = self._versions.list(dataset, limit=limit, before=before)
        return page.but(items=tuple(version for version in page.items if version.deleted_at is None))
