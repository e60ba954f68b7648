"""Tombstones in memory, and letting go of records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headway.kernel.ids import kind_of
from headway.kernel.paging import Page
from headway.lifecycle.retention.collection import Leftover
from headway.lifecycle.retention.policy import Retention
from headway.lifecycle.retention.records import Sweep, Tombstone
from headway.testing.memory_journal import MemoryJournal, MemoryRecordStore, MemoryTable
from headway.testing.memory_metrics import MemoryMetricStore
from headway.testing.memory_runs import MemoryRunStore, MemoryTraceStore


class MemoryTombstoneStore(MemoryRecordStore[Tombstone]):
    record_type = Tombstone

    def list(self, kind: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Tombstone]:
        return self._page(limit, before, kind=kind)


class MemorySweepStore(MemoryRecordStore[Sweep]):
    record_type = Sweep

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Sweep]:
        return self._page(limit, before)


class MemoryPolicyStore(MemoryRecordStore[Retention]):
    record_type = Retention

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Retention]:
        return self._page(limit, before)


class NoLeftovers:
    """Uploads in memory leave nothing behind."""

    def found(self) -> list[Leftover]:
        return []

    def remove(self, name: str) -> None:
        """Nothing to remove."""


class MemoryKeptRecords:
    """All tables of `journal` as they are when this is made: make it before the store of tombstones."""

    def __init__(
        self, journal: MemoryJournal, runs: MemoryRunStore, metrics: MemoryMetricStore, traces: MemoryTraceStore
    ) -> None:
        self._tables: Sequence[MemoryTable[str, bytes]] = tuple(journal.records)
        self._runs, self._metrics, self._traces = runs, metrics, traces

    def body(self, identifier: str) -> bytes | None:
        return next((body for table in self._tables if (body := table.get(identifier)) is not None), None)

    def of_kind(self, prefix: str) -> Iterator[bytes]:
        found = [item for table in self._tables for item in table.all().items() if kind_of(item[0]) == prefix]
        yield from (body for _, body in sorted(found))

    def remove(self, identifier: str) -> None:
        self._runs.forget_steps(identifier)
        self._metrics.forget(identifier)
        self._traces.forget_spans(identifier)
        for table in self._tables:
            if table.get(identifier) is not None:
                table.drop(identifier)
