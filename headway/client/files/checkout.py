"""Bringing the files of a version into a folder: each whole or not at all, and none outside of that folder."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from headway.client.blobs import Blobs
from headway.client.files import contents
from headway.client.files.index import FolderIndex, IndexFile, index_of
from headway.client.files.pieces import PackIndexes, PieceReader
from headway.client.files.places import Destination
from headway.client.files.scanning import Found, Told, found_of, uncollected
from headway.client.line import Line
from headway.errors import Conflict, Invalid, LedgerBroken, NotFound
from headway.kernel.records import Value
from headway.lifecycle.datasets.globs import matcher
from headway.lifecycle.datasets.listing import Entry, checked_paths, clashes, listing_digest
from headway.lifecycle.datasets.records import DatasetVersion, Form
from headway.lifecycle.datasets.tree import entries_of

_MOST_NAMED = 5
Advance = Callable[[int], None]


class CheckedOut(Value):
    """What a checkout did; `kept` files held the same already."""

    version: str
    files: int
    written: int
    kept: int
    removed: int


class _Plan(NamedTuple):
    write: list[Entry]
    keep: dict[str, Found]
    remove: list[str]


def files_of(connection: Line, version: DatasetVersion) -> tuple[list[Entry], PieceReader]:
    """The files of a version, and where their bytes are read. Nothing that the server says of them is taken on trust:
    `Invalid` is raised for paths that lead elsewhere, `LedgerBroken` for a listing that is not the version's."""
    if version.form is not Form.FILES:
        raise Invalid(f"{version.label} is a table, not files; `client.datasets.read` reads it")
    blobs = Blobs(connection)
    reader = PieceReader(blobs, PackIndexes(blobs, connection.place.cache).places(version.packs))
    entries = list(entries_of(bytes.fromhex(version.root.removeprefix("b3:")), reader.get))
    checked_paths([each.path for each in entries])
    if listing_digest(entries) != version.digest:
        raise LedgerBroken(f"the tree of {version.label} does not have its files; restore the home from a backup")
    return entries, reader


def check_out(
    connection: Line, version: DatasetVersion, folder: Path, *, only: Sequence[str] = (), force: bool = False,
    shared: bool = False, advance: Advance = lambda size: None,
) -> CheckedOut:  # fmt: skip
    """Make `folder` hold the files of `version`, or those that match `only`.

    A file that holds the same stays. One that was brought by a checkout before and has not been edited is replaced, or
    removed if the version does not have it. Raises `Conflict`, and changes nothing, when a file would be overwritten
    that nobody else has; `force` overwrites it. Killed at any moment, it goes on when it is called again. A folder that
    is `shared` holds what is of others, too, beside the one file of the version.
    """
    with uncollected():
        return _check_out(connection, version, folder, only, force, shared, advance)


def _check_out(
    connection: Line, version: DatasetVersion, folder: Path, only: Sequence[str], force: bool, shared: bool,
    advance: Advance,
) -> CheckedOut:  # fmt: skip
    entries, reader = files_of(connection, version)
    matches = matcher(only)
    wanted = [each for each in entries if matches(each.path)] if only else entries
    if not wanted:
        raise NotFound(f"{version.label} has no file that matches {', '.join(only)[:200]}")
    file = IndexFile(connection.place.cache, folder / wanted[0].path if shared else folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(connection.place.cache, file), Destination(folder) as destination:
        destination.tidy()
        if clash := clashes([each.path for each in wanted]):
            destination.must_tell_apart(*clash[0])
        before = file.read()
        plan = _planned(destination, wanted, before, force, partial=bool(only) or shared)
        for path in plan.remove:
            destination.remove(path)
        for entry in plan.write:
            plan.keep[entry.path] = destination.write(entry, reader)
            advance(entry.size)
    file.write(_index(version, wanted, plan, before if only else None))
    return CheckedOut(
        version=version.label, files=len(wanted), written=len(plan.write), kept=len(wanted) - len(plan.write),
        removed=len(plan.remove),
    )  # fmt: skip


def _index(version: DatasetVersion, wanted: list[Entry], plan: _Plan, before: FolderIndex | None) -> FolderIndex:
    """What is known of the folder now; beside a part of a version, what was known `before` of the rest."""
    known: dict[str, tuple[Found | Told, Entry]] = {each.path: (plan.keep[each.path], each) for each in wanted}
    if before is not None:
        for told, entry in zip(before.found, before.entries(), strict=True):
            known.setdefault(entry.path, (told, entry))
    found, entries = zip(*(known[path] for path in sorted(known)), strict=True)
    whole = len(entries) == version.files and listing_digest(entries) == version.digest
    return index_of(
        found, list(entries), time.time_ns(), version=version.id, exclude=(), digest=version.digest if whole else "",
        label=version.label if whole else f"{version.label}, in part",
    )  # fmt: skip


def _planned(
    destination: Destination, wanted: list[Entry], index: FolderIndex | None, force: bool, *, partial: bool
) -> _Plan:
    known = _Known(destination, index)
    write, keep, in_the_way = [], dict[str, Found](), []
    for entry in wanted:
        told = destination.look(entry.path)
        if told is None:
            write.append(entry)
            continue
        found = found_of(entry.path, told)
        if stat.S_ISREG(told.st_mode) and known.holds(found, entry):
            keep[entry.path] = found
        elif stat.S_ISDIR(told.st_mode) or not (force or known.brought(found)):
            in_the_way.append(entry.path)
        else:
            write.append(entry)
    if in_the_way:
        more = f" and {len(in_the_way) - _MOST_NAMED} more" if len(in_the_way) > _MOST_NAMED else ""
        raise Conflict(
            f"{', '.join(map(repr, in_the_way[:_MOST_NAMED]))}{more} would be overwritten, and no version is known to "
            "have what is there; add the folder first, choose another, or say --force"
        )
    there = {entry.path for entry in wanted}
    return _Plan(write, keep, [] if partial else known.brought_besides(there))


class _Known:
    """What an index says of the files in a folder; where `stat` cannot vouch for one, its bytes are asked."""

    def __init__(self, destination: Destination, index: FolderIndex | None) -> None:
        self._destination = destination
        self._believed = index.known() if index else {}
        self._by_path = {entry.path: entry for entry in index.entries()} if index else {}

    def holds(self, found: Found, entry: Entry) -> bool:
        """Whether a file that is there is the wanted one."""
        if found.size != entry.size or found.executable != entry.executable:
            return False
        return self._digest(found) == entry.digest

    def brought(self, found: Found) -> bool:
        """Whether a file holds what it did when it was brought or added: a version has it then."""
        if found in self._believed:
            return True
        entry = self._by_path.get(found.path)
        return entry is not None and entry.size == found.size and self._digest(found) == entry.digest

    def brought_besides(self, wanted: set[str]) -> list[str]:
        """The files that were brought, are still as they were, and are not wanted now."""
        found = []
        for path in self._by_path.keys() - wanted:
            told = self._destination.look(path)
            if told is not None and stat.S_ISREG(told.st_mode) and self.brought(found_of(path, told)):
                found.append(path)
        return sorted(found)

    def _digest(self, found: Found) -> bytes:
        entry = self._believed.get(found)
        return entry.digest if entry else contents.digest_of_file(self._destination.path, found)[1]


@contextmanager
def _alone(cache: Path, file: IndexFile) -> Iterator[None]:
    """Raises `Conflict` while another checkout is at work on this folder."""
    path = cache / "folders" / f"{file.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Conflict("another checkout is at work on this folder; wait until it is done") from None
    finally:
        os.close(handle)
