"""What one can do with datasets."""

from __future__ import annotations

from headway.errors import ContractBroken, Invalid, NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.blobs import BlobStore, checked_digest
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids, kind_of
from headway.kernel.journal import Journal
from headway.kernel.naming import checked_name, split_reference
from headway.kernel.paging import Page
from headway.lifecycle.datasets.contract import Contract, violations
from headway.lifecycle.datasets.inspector import Inspector
from headway.lifecycle.datasets.records import AddVersion, Dataset, DatasetVersion, facts
from headway.lifecycle.datasets.schema import Column, Summary
from headway.lifecycle.datasets.store import DatasetStore, DatasetVersionStore


class DatasetService:
    def __init__(
        self,
        journal: Journal,
        store: DatasetStore,
        versions: DatasetVersionStore,
        blobs: BlobStore,
        inspector: Inspector,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._store, self._versions, self._blobs = journal, store, versions, blobs
        self._inspector, self._clock, self._ids = inspector, clock, ids

    def add(self, command: AddVersion, *, by: Actor) -> DatasetVersion:
        """Add a version, or return the one that already holds exactly this content under this contract.

        Without a contract of its own the version is held to that of the version before. Raises `ContractBroken`
        naming every column and rule that is broken; then nothing is kept.
        """
        by.must(Permission.WRITE)
        name = checked_name(command.dataset, "dataset")
        data = self._blobs.get(checked_digest(command.blob))
        newest = self._versions.of(name)
        contract = command.contract or (newest.contract if newest else None)
        same = self._versions.holding(name, command.blob)
        if same and same.contract == contract:
            return same
        summary = self._inspector.summarise(data)
        if contract:
            _must_hold(name, contract, summary)
        profile = self._blobs.put(self._inspector.reference(data, contract))
        with self._journal.act(by.name, "dataset.add", why=command.note) as act:
            if self._store.named(name) is None:
                now = self._clock.now()
                act.save(self._store, Dataset(id=self._ids(Dataset.prefix), created_at=now, name=name))
            newest = self._versions.of(name)
            version = DatasetVersion(
                id=self._ids(DatasetVersion.prefix),
                created_at=self._clock.now(),
                dataset=name,
                number=newest.number + 1 if newest else 1,
                blob=command.blob,
                size=len(data),
                rows=summary.rows,
                schema=tuple(Column(name=column.name, kind=column.kind) for column in summary.columns),
                contract=contract,
                profile=profile,
                note=command.note,
                made_by=command.made_by,
            )
            act.save(self._versions, version, came_from=[*command.came_from, command.made_by])
            act.emit("DatasetVersionAdded", version.id, **facts(version))
        return version

    def version(self, reference: str) -> DatasetVersion:
        """By id, `name` (the newest) or `name@number`."""
        if kind_of(reference) == DatasetVersion.prefix:
            found = self._versions.get(reference)
        else:
            found = self._versions.of(*split_reference(reference))
        if found is None:
            raise NotFound(f"no dataset version {reference!r}; `headway dataset list` shows what there is")
        return found

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Dataset]:
        return self._store.all(limit=limit, before=before)

    def versions(
        self, dataset: str | None = None, *, limit: int = 100, before: str | None = None
    ) -> Page[DatasetVersion]:
        return self._versions.list(dataset, limit=limit, before=before)

    def check(self, blob: str, contract: Contract) -> None:
        """Raise `ContractBroken` unless the table in `blob` keeps `contract`."""
        _must_hold("the data", contract, self._inspector.summarise(self._blobs.get(checked_digest(blob))))


def _must_hold(name: str, contract: Contract, summary: Summary) -> None:
    if not contract.columns:
        raise Invalid("a contract needs at least one column")
    broken = violations(contract, summary)
    if broken:
        head = "; ".join(str(violation) for violation in broken[:3])
        more = f"; and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise ContractBroken(f"{name} breaks its contract: {head}{more}", violations=broken)
