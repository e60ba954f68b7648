"""What one can do with datasets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from headway.errors import Conflict, ContractBroken, Invalid, LedgerBroken, NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.blobs import BlobStore, checked_digest, must_be_kept
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Act, Journal
from headway.kernel.naming import checked_name, nearest
from headway.kernel.paging import Page
from headway.kernel.records import encode
from headway.lifecycle.datasets.contract import Contract, Violation, checked_contract, is_let_pass, violations
from headway.lifecycle.datasets.inspector import Inspector
from headway.lifecycle.datasets.lines import DatasetLines
from headway.lifecycle.datasets.records import (
    AddVersion,
    AppendRows,
    Dataset,
    DatasetVersion,
    Form,
    Part,
    TableManifest,
)
from headway.lifecycle.datasets.schema import Column, Summary
from headway.lifecycle.datasets.store import DatasetStore, DatasetVersionStore

LEAST_SHARED_BYTES = 64 << 10
"""Less than that is not worth a part of its own."""
MOST_PARTS = 64
"""Of a table that shares; a version that would have more is kept whole, and the next ones share with that."""


class _Table(NamedTuple):
    """A table on its way to become a version: one part, or several whose rows follow one another."""

    schema: tuple[Column, ...]
    contract: Contract | None
    profile: str | None
    parts: tuple[Part, ...]
    together: int = 1
    skew: tuple[Violation, ...] = ()


class _Cut(NamedTuple):
    """A table that shares its first parts with the version before; `stored` bytes of it do not."""

    parts: tuple[Part, ...]
    stored: int


class DatasetService(DatasetLines):
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
        super().__init__(store, versions, clock, ids)
        self._journal, self._blobs, self._inspector = journal, blobs, inspector

    def add(self, command: AddVersion, *, by: Actor) -> DatasetVersion:
        """Add a version, or return the one that already holds exactly this content under this contract.

        Parts of the version before that hold the rows with which the table begins are named again, and only the rest
        is kept anew; contract and profile are of the whole. Without a contract of its own the version is held to that
        of the version before. Raises `ContractBroken` naming every column and rule that is broken; then nothing is
        kept.
        """
        by.must(Permission.WRITE)
        name = checked_name(command.dataset, "dataset")
        blobs = [checked_digest(blob) for blob in (command.blob, *command.parts)]
        if not 1 <= command.together <= len(blobs):
            raise Invalid(f"a table in {len(blobs)} parts cannot have {command.together} that came together")
        newest = self.newest(name)
        if newest is not None and newest.form is not Form.TABLE:
            raise Conflict(f"{name} is a dataset of files; add a table under another name, or this one with --files")
        contract = command.contract or (newest.contract if newest else None)
        same = self._versions.holding(name, command.blob)
        if same and not command.parts and same.contract == contract and same.deleted_at is None:
            return same
        cut = self._cut(command.blob, newest) if newest and not command.parts else None
        if cut is not None and newest is not None and (same := self._same(name, cut.parts, contract, newest)):
            return same
        table = self._looked_at(name, blobs[: command.together], contract)
        if cut is not None:
            table = table._replace(parts=cut.parts, together=len(cut.parts))
        for blob in blobs[command.together :]:
            table = self._longer(name, table, blob)
        stored = cut.stored if cut is not None else sum(part.size for part in table.parts)
        with self._journal.act(by.name, "dataset.add", why=command.note) as act:
            return self._keep_table(act, name, table, command, stored=stored)

    def _looked_at(self, name: str, blobs: Sequence[str], contract: Contract | None) -> _Table:
        """The table whose rows are in `blobs`, checked and profiled as a whole."""
        parts = [self._blobs.get(blob) for blob in blobs]
        data = parts[0] if len(parts) == 1 else self._inspector.joined(parts)
        summary = self._inspector.summarise(data)
        rows = [summary.rows] if len(parts) == 1 else [self._inspector.summarise(part).rows for part in parts]
        return _Table(
            _schema(summary), contract, self._blobs.put(self._inspector.reference(data, contract)),
            tuple(Part(blob=blob, size=len(part), rows=count) for blob, part, count in zip(blobs, parts, rows,
                  strict=True)),
            len(parts), _must_hold(name, contract, summary) if contract else (),
        )  # fmt: skip

    def _cut(self, blob: str, newest: DatasetVersion) -> _Cut | None:
        """The table in `blob` as parts of the newest version and a rest; None where it shares nothing that is worth it.

        To share saves space and nothing else: parts that cannot be read are no reason to refuse a table.
        """
        known = _parts(newest)
        if newest.size < LEAST_SHARED_BYTES:
            return None
        data = self._blobs.get(blob)
        try:
            found = self._inspector.shared([self._blobs.get(part.blob) for part in known], data)
        except (Invalid, NotFound, LedgerBroken):
            return None
        parts = known[: found.parts]
        if sum(part.size for part in parts) < LEAST_SHARED_BYTES or len(parts) >= MOST_PARTS:
            return None
        if not found.rest:
            return _Cut(parts, 0)
        rest = Part(blob=self._blobs.put(found.rest), size=len(found.rest), rows=found.rest_rows)
        return _Cut((*parts, rest), rest.size)

    def _same(
        self, name: str, parts: tuple[Part, ...], contract: Contract | None, newest: DatasetVersion
    ) -> DatasetVersion | None:
        """The version that came as one table in these parts; one that was appended to has another profile."""
        content = self._content(parts)
        for same in (newest, self._versions.holding(name, content)):
            if same is not None and (same.blob, same.contract, same.deleted_at) == (content, contract, None):
                return same if same.together == len(parts) else None
        return None

    def _content(self, parts: Sequence[Part]) -> str:
        """The blob that stands for a table in these parts."""
        return parts[0].blob if len(parts) == 1 else self._blobs.put(encode(TableManifest(parts=tuple(parts))))

    def append(self, command: AppendRows, *, by: Actor) -> DatasetVersion:
        """Add a version that has the rows of the newest one and more behind them; only these are read and kept.

        They are held to the contract as a table of their own, from which it follows that the whole keeps it: bounds,
        levels and kinds hold row by row, a share of nulls and a median lie between those of the parts. The profile
        keeps its layout and counts the new rows too. Raises `Conflict` when `after` is not the newest version any more,
        `Invalid` for rows with other columns.
        """
        by.must(Permission.WRITE)
        name = checked_name(command.dataset, "dataset")
        before = self._appendable(name, command.after)
        so_far = _Table(
            before.schema, before.contract, before.profile, _parts(before), before.together, before.skew
        )  # fmt: skip
        table = self._longer(name, so_far, command.blob)
        with self._journal.act(by.name, "dataset.append", why=command.note) as act:
            self._appendable(name, command.after)
            return self._keep_table(act, name, table, command, stored=table.parts[-1].size, came_from=[before.id])

    def _longer(self, name: str, table: _Table, blob: str) -> _Table:
        """The table with the rows in `blob` behind its own."""
        data = self._blobs.get(checked_digest(blob))
        summary = self._inspector.summarise(data)
        if _schema(summary) != table.schema:
            said = ", ".join(f"{column.name} {column.kind}" for column in table.schema)
            raise Invalid(f"rows to append to {name} must have its columns in their order: {said:.500}")
        skew = _must_hold(name, table.contract.but(min_rows=0), summary) if table.contract else ()
        profile = table.profile
        if profile is not None:
            profile = self._blobs.put(self._inspector.extended(self._blobs.get(profile), data, table.contract))
        part = Part(blob=blob, size=len(data), rows=summary.rows)
        return table._replace(profile=profile, parts=(*table.parts, part), skew=(*table.skew, *skew))

    def _keep_table(
        self, act: Act, name: str, table: _Table, command: AddVersion | AppendRows, *, stored: int,
        came_from: Sequence[str] = (),
    ) -> DatasetVersion:  # fmt: skip
        parts, blob = table.parts, self._content(table.parts)
        kept = [blob, *(part.blob for part in parts), *([table.profile] if table.profile else [])]
        must_be_kept(self._blobs, *dict.fromkeys(kept))
        return self.number(
            act, name, blob=blob, size=sum(part.size for part in parts), rows=sum(part.rows for part in parts),
            schema=table.schema, contract=table.contract, profile=table.profile, note=command.note,
            made_by=command.made_by, parts=parts if len(parts) > 1 else (), together=table.together, stored=stored,
            skew=table.skew,
            came_from=[*came_from, *command.came_from, command.made_by],
        )  # fmt: skip

    def _appendable(self, name: str, after: str) -> DatasetVersion:
        newest = self.newest(name)
        if newest is None:
            raise NotFound(f"there is no {name} to append to; `headway dataset add` makes its first version")
        if newest.form is not Form.TABLE:
            raise Conflict(f"{name} is a dataset of files, which have no rows; add the folder again")
        if newest.id != self.version(after).id:
            raise Conflict(f"{name} has moved on to {newest.label}; append to that", newest=newest.id)
        return newest

    def tag(self, reference: str, tag: str, *, by: Actor) -> Dataset:
        """Let `name@tag` lead to this version from now on, whatever it led to before."""
        by.must(Permission.WRITE)
        checked_name(tag, "tag")
        with self._journal.act(by.name, "dataset.tag") as act:
            version = self.version(reference)
            line = self.line(version.dataset)
            if line.tagged.get(tag) == version.number:
                return line
            return act.save(self._store, line.but(tagged=line.tagged | {tag: version.number}))

    def untag(self, dataset: str, tag: str, *, by: Actor) -> Dataset:
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "dataset.untag") as act:
            line = self.line(dataset)
            if tag not in line.tagged:
                raise NotFound(f"{line.name} has no tag {tag[:100]!r}{nearest(tag, line.tagged)}")
            return act.save(self._store, line.but(tagged={k: v for k, v in line.tagged.items() if k != tag}))

    def table(self, version: DatasetVersion) -> bytes:
        """The rows of a version as one Parquet; raises `Invalid` for a version of files."""
        if version.form is not Form.TABLE:
            raise Invalid(f"{version.label} holds files, not a table; `headway dataset checkout` brings them")
        if not version.parts:
            return self._blobs.get(version.blob)
        return self._inspector.joined([self._blobs.get(part.blob) for part in version.parts])

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Dataset]:
        return self._store.all(limit=limit, before=before)

    def check(self, blob: str, contract: Contract) -> None:
        """Raise `ContractBroken` unless the table in `blob` keeps `contract`, also where it would only warn."""
        summary = self._inspector.summarise(self._blobs.get(checked_digest(blob)))
        _must_hold("the data", contract, summary, lenient=False)


def _parts(version: DatasetVersion) -> tuple[Part, ...]:
    return version.parts or (Part(blob=version.blob, size=version.size, rows=version.rows),)


def _schema(summary: Summary) -> tuple[Column, ...]:
    return tuple(Column(name=column.name, kind=column.kind) for column in summary.columns)


def _must_hold(name: str, contract: Contract, summary: Summary, *, lenient: bool = True) -> tuple[Violation, ...]:
    """What it breaks of rules that the contract does not refuse for; nothing of the sort unless `lenient`."""
    if not contract.columns:
        raise Invalid("a contract needs at least one column")
    found = violations(checked_contract(contract), summary)
    broken = [violation for violation in found if not (lenient and is_let_pass(contract, violation))]
    if broken:
        head = "; ".join(str(violation) for violation in broken[:3])
        more = f"; and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise ContractBroken(f"{name} breaks its contract: {head}{more}", violations=broken)
    return tuple(found)
