"""Datasets in SQL."""

from __future__ import annotations

from headway.kernel.paging import Page
from headway.lifecycle.datasets.records import Dataset, DatasetVersion
from headway.storage.sql.tables import RecordTable, SqlRecordStore

DATASETS = RecordTable("datasets", Dataset, "name", unique=[("name",)])
DATASET_VERSIONS = RecordTable(
    "dataset_versions", DatasetVersion, "dataset", "number", "blob", index=["blob"], unique=[("dataset", "number")]
)


class SqlDatasetStore(SqlRecordStore[Dataset]):
    table = DATASETS

    def named(self, name: str) -> Dataset | None:
        return self._first(DATASETS.rows.c.name == name)

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Dataset]:
        return self._page(limit, before)


class SqlDatasetVersionStore(SqlRecordStore[DatasetVersion]):
    table = DATASET_VERSIONS

    def of(self, dataset: str, number: int | None = None) -> DatasetVersion | None:
        column = DATASET_VERSIONS.rows.c
        numbered = [] if number is None else [column.number == number]
        return self._first(column.dataset == dataset, *numbered, order=[column.number.desc()])

    def holding(self, dataset: str, blob: str) -> DatasetVersion | None:
        return self._first(DATASET_VERSIONS.rows.c.blob == blob, DATASET_VERSIONS.rows.c.dataset == dataset)

    def list(self, dataset: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[DatasetVersion]:
        return self._page(limit, before, dataset=dataset)
