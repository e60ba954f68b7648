"""What differs between two versions: files by their digests, tables by schema, rows and profiles of columns."""

from __future__ import annotations

import math
from collections import defaultdict

from headway.errors import Invalid
from headway.kernel.blobs import BlobStore
from headway.kernel.records import Value
from headway.lifecycle.datasets.files import DatasetFileService
from headway.lifecycle.datasets.listing import Entry
from headway.lifecycle.datasets.profile import LevelProfile, NumericProfile
from headway.lifecycle.datasets.records import DatasetVersion, Form
from headway.lifecycle.datasets.reference import read_reference
from headway.lifecycle.datasets.schema import Column
from headway.lifecycle.datasets.service import DatasetService

MOST_CHANGES = 10_000


class FileChange(Value):
    """`size` is None for a file that is not there."""

    path: str
    size_before: int | None
    size_after: int | None
    moved_from: str = ""
    """Where a file with this content was that is not there any more."""


class FileDifference(Value):
    """Counts are of all changes; `changes` holds the first 10,000 by path."""

    added: int
    removed: int
    changed: int
    moved: int
    changes: tuple[FileChange, ...]


class ColumnStatistics(Value):
    """Of one version; what its kind does not have is None. `sd` divides by n - 1."""

    n: int
    nulls: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None


class ColumnDifference(Value):
    """A column that one side does not have, or of another kind there, or with other statistics."""

    name: str
    kind_before: str = ""
    kind_after: str = ""
    before: ColumnStatistics | None = None
    after: ColumnStatistics | None = None


class Comparison(Value):
    """Of two versions; `same` when they hold exactly the same."""

    first: str
    second: str
    same: bool
    form: Form
    size_before: int
    size_after: int
    rows_before: int = 0
    rows_after: int = 0
    columns: tuple[ColumnDifference, ...] = ()
    files: FileDifference | None = None


class ComparisonService:
    """Reads only."""

    def __init__(self, datasets: DatasetService, files: DatasetFileService, blobs: BlobStore) -> None:
        self._datasets, self._files, self._blobs = datasets, files, blobs

    def compare(self, first: str, second: str) -> Comparison:
        """Raises `Invalid` for a table beside files."""
        before, after = self._datasets.version(first), self._datasets.version(second)
        if before.form is not after.form:
            raise Invalid(
                f"{before.label} is of the form {before.form}, {after.label} {after.form}: nothing to compare"
            )
        compared = Comparison(
            first=before.label, second=after.label, same=before.blob == after.blob, form=before.form,
            size_before=before.size, size_after=after.size,
        )  # fmt: skip
        if before.form is Form.FILES:
            files = difference(self._files.entries(before), self._files.entries(after))
            return compared.but(files=files, same=before.digest == after.digest)
        columns = _columns(before.schema, after.schema, self._statistics(before), self._statistics(after))
        return compared.but(rows_before=before.rows, rows_after=after.rows, columns=columns)

    def _statistics(self, version: DatasetVersion) -> dict[str, ColumnStatistics]:
        if version.profile is None:
            return {}
        whole = read_reference(self._blobs.get(version.profile)).whole
        return {name: _told(profile) for name, profile in whole.columns.items()}


def difference(before: list[Entry], after: list[Entry]) -> FileDifference:
    """What happened to each path. A file that went, and whose content is at a new path, has moved there."""
    old = {each.path: each for each in before}
    new = {each.path: each for each in after}
    gone = {path: old[path] for path in old.keys() - new.keys()}
    come = sorted(new.keys() - old.keys())
    changed = [path for path in old.keys() & new.keys() if _content(old[path]) != _content(new[path])]
    by_content: dict[tuple[bytes, int, bool], list[str]] = defaultdict(list)
    for path in sorted(gone, reverse=True):
        by_content[_content(gone[path])].append(path)
    changes = []
    for path in come:
        sources = by_content[_content(new[path])]
        source = sources.pop() if sources else ""
        gone.pop(source, None)
        changes.append(FileChange(path=path, size_before=None, size_after=new[path].size, moved_from=source))
    moved = sum(1 for each in changes if each.moved_from)
    changes += [FileChange(path=path, size_before=old[path].size, size_after=new[path].size) for path in changed]
    changes += [FileChange(path=path, size_before=entry.size, size_after=None) for path, entry in gone.items()]
    changes.sort(key=lambda each: each.path)
    return FileDifference(
        added=len(come) - moved, removed=len(gone), changed=len(changed), moved=moved,
        changes=tuple(changes[:MOST_CHANGES]),
    )  # fmt: skip


def _content(entry: Entry) -> tuple[bytes, int, bool]:
    return entry.digest, entry.size, entry.executable


def _columns(
    before: tuple[Column, ...], after: tuple[Column, ...], old: dict[str, ColumnStatistics],
    new: dict[str, ColumnStatistics],
) -> tuple[ColumnDifference, ...]:  # fmt: skip
    kinds_before = {column.name: str(column.kind) for column in before}
    kinds_after = {column.name: str(column.kind) for column in after}
    found = (
        ColumnDifference(
            name=name, kind_before=kinds_before.get(name, ""), kind_after=kinds_after.get(name, ""),
            before=old.get(name), after=new.get(name),
        )
        for name in dict.fromkeys((*kinds_before, *kinds_after))
    )  # fmt: skip
    return tuple(each for each in found if (each.kind_before, each.before) != (each.kind_after, each.after))


def _told(profile: NumericProfile | LevelProfile) -> ColumnStatistics:
    if isinstance(profile, LevelProfile):
        return ColumnStatistics(n=profile.n, nulls=profile.nulls)
    spread = math.sqrt(profile.m2 / (profile.n - 1)) if profile.n > 1 else None
    return ColumnStatistics(
        n=profile.n, nulls=profile.nulls, mean=profile.mean if profile.n else None, sd=spread, low=profile.low,
        high=profile.high,
    )  # fmt: skip
