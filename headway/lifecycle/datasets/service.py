"""What one can do with datasets."""

from __future__ import annotations

from headway.errors import ContractBroken, Invalid, NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.blobs import BlobStore, checked_digest, must_be_kept
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids, kind_of
from headway.kernel.journal import Journal
from headway.kernel.naming import checked_name, split_reference
from headway.kernel.paging import Page, every
from headway.lifecycle.datasets.contract import Contract, Violation, WhenSkewed, checked_contract, violations
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
        newest = self._newest(name)
        contract = command.contract or (newest.contract if newest else None)
        same = self._versions.holding(name, command.blob)
        if same and same.contract == contract and same.deleted_at is None:
            return same
        summary = self._inspector.summarise(data)
        skew = _must_hold(name, contract, summary) if contract else ()
        profile = self._blobs.put(self._inspector.reference(data, contract))
        with self._journal.act(by.name, "dataset.add", why=command.note) as act:
            line = self._store.named(name)
            if line is None:
                made = Dataset(id=self._ids(Dataset.prefix), created_at=self._clock.now(), name=name)
                line = act.save(self._store, made)
            newest = self._versions.of(name)
            must_be_kept(self._blobs, command.blob, profile)
            version = DatasetVersion(
                id=self._ids(DatasetVersion.prefix),
                created_at=self._clock.now(),
                dataset=name,
                number=1 + max(newest.number if newest else 0, line.last_number),
                blob=command.blob,
                size=len(data),
                rows=summary.rows,
                schema=tuple(Column(name=column.name, kind=column.kind) for column in summary.columns),
                contract=contract,
                profile=profile,
                note=command.note,
                made_by=command.made_by,
                skew=skew,
            )
            act.save(self._versions, version, came_from=[*command.came_from, command.made_by])
            act.emit("DatasetVersionAdded", version.id, **facts(version))
        return version

    def version(self, reference: str) -> DatasetVersion:
        """By id, `name` (the newest) or `name@number`."""
        if kind_of(reference) == DatasetVersion.prefix:
            found = self._versions.get(reference)
        else:
            name, number = split_reference(reference)
            found = self._newest(name) if number is None else self._versions.of(name, number)
        if found is None:
            raise NotFound(f"no dataset version {reference!r}; `headway dataset list` shows what there is")
        return found

    def _newest(self, name: str) -> DatasetVersion | None:
        """The newest that is not deleted."""
        versions = every(lambda before: self._versions.list(name, before=before))
        return next((version for version in versions if version.deleted_at is None), None)

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Dataset]:
        return self._store.all(limit=limit, before=before)

    def versions(
        self, dataset: str | None = None, *, limit: int = 100, before: str | None = None
    ) -> Page[DatasetVersion]:
        """Without those that are deleted: a page may be shorter than `limit` though more follow."""
        page = self._versions.list(dataset, limit=limit, before=before)
        return page.but(items=tuple(version for version in page.items if version.deleted_at is None))

    def check(self, blob: str, contract: Contract) -> None:
        """Raise `ContractBroken` unless the table in `blob` keeps `contract`, also where it would only warn."""
        _must_hold(
            "the data",
            contract.but(when_skewed=WhenSkewed.REFUSE),
            self._inspector.summarise(self._blobs.get(checked_digest(blob))),
        )


def _must_hold(name: str, contract: Contract, summary: Summary) -> tuple[Violation, ...]:
    """What it breaks of rules that the contract only warns of."""
    if not contract.columns:
        raise Invalid("a contract needs at least one column")
    found = violations(checked_contract(contract), summary)
    warned = contract.when_skewed is WhenSkewed.WARN
    broken = [violation for violation in found if not (warned and violation.of_values)]
    if broken:
        head = "; ".join(str(violation) for violation in broken[:3])
        more = f"; and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise ContractBroken(f"{name} breaks its contract: {head}{more}", violations=broken)
    return tuple(found)
