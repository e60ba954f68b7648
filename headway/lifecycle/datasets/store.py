"""What must be kept of datasets."""

from __future__ import annotations

from typing import Protocol

from headway.kernel.paging import Page
from headway.lifecycle.datasets.records import Dataset, DatasetVersion


class DatasetStore(Protocol):
    def put(self, record: Dataset) -> None: ...
    def named(self, name: str) -> Dataset | None: ...
    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Dataset]: ...


class DatasetVersionStore(Protocol):
    def put(self, record: DatasetVersion) -> None: ...
    def get(self, identifier: str) -> DatasetVersion | None: ...

    def of(self, dataset: str, number: int | None = None) -> DatasetVersion | None:
        """The version with this number, or the newest one."""
        ...

    def holding(self, dataset: str, blob: str) -> DatasetVersion | None:
        """The version with exactly this content."""
        ...

    def list(
        self, dataset: str | None = None, *, limit: int = 100, before: str | None = None
    ) -> Page[DatasetVersion]: ...
