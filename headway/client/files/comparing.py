"""Whether a folder is still what it was: by what the file system says, and by the bytes where that has changed."""

from __future__ import annotations

import time
from pathlib import Path

from headway.client.files import contents
from headway.client.files.index import FolderIndex, IndexFile, index_of
from headway.client.files.scanning import Found, Told, plain, scan, uncollected
from headway.errors import NotFound
from headway.kernel.records import Value
from headway.lifecycle.datasets.listing import Entry, checked_paths
from headway.lifecycle.datasets.records import DatasetVersion


class FolderStatus(Value):
    """How a folder differs from a version; `same` when it does not."""

    version: str
    files: int
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        return not (self.added or self.changed or self.removed)


def status_here(root: Path, cache: Path) -> FolderStatus:
    """Against what the folder was last equal to; no server is asked. What was found out is kept, so that the next look
    is quick. Raises `NotFound` for a folder of which nothing is known."""
    with uncollected():
        file = IndexFile(cache, root)
        index = file.read()
        if index is None:
            raise NotFound(f"{root} was neither added nor checked out here; say --against NAME@VERSION")
        return _status(root, file, index)


def _status(root: Path, file: IndexFile, index: FolderIndex) -> FolderStatus:
    began_ns = time.time_ns()
    found = scan(root, index.exclude)
    if found == index.found:
        return FolderStatus(version=index.label, files=len(found))
    checked_paths([each[0] for each in found])
    places = {told[0]: at for at, told in enumerate(index.found)}
    added, changed, seen = list[str](), list[str](), list(found)
    for at, each in enumerate(found):
        before = places.get(each[0])
        if before is None:
            added.append(each[0])
        elif index.found[before] != each:
            seen[at], same = _looked_at(root, each, index, before)
            if not same:
                changed.append(each[0])
    removed = sorted(places.keys() - {each[0] for each in found})
    status = FolderStatus(
        version=index.label, files=len(found), added=tuple(added), changed=tuple(changed), removed=tuple(removed)
    )  # fmt: skip
    if status.same:
        file.write(index.seen_as(seen, began_ns))
    return status


def _looked_at(root: Path, told: Told, index: FolderIndex, place: int) -> tuple[Told, bool]:
    """What is known of a file now, and whether it holds what it did."""
    size, executable, digest = index.found[place][1], index.found[place][5], index.digest_at(place)
    if (told[1], told[5]) != (size, executable):
        return told, False
    now, name = contents.digest_of_file(str(root.parent if root.is_file() else root), Found(*told))
    return plain(now), (now.size, now.executable, name) == (size, executable, digest)


def status_against(
    root: Path, file: IndexFile, index: FolderIndex | None, version: DatasetVersion, entries: list[Entry]
) -> FolderStatus:
    """Against the files of a version; what is read is kept if they are the same."""
    began_ns = time.time_ns()
    exclude = index.exclude if index else ()
    found = scan(root, exclude)
    seen, now = _current(root, found, index)
    status = _compared(version.label, entries, now)
    if status.same:
        file.write(
            index_of(
                seen, entries, began_ns, version=version.id, label=version.label, digest=version.digest,
                exclude=exclude,
            )
        )  # fmt: skip
    return status


def _current(root: Path, found: list[Told], index: FolderIndex | None) -> tuple[list[Told], list[Entry]]:
    """What the files hold now."""
    checked_paths([each[0] for each in found])
    known = index.known() if index else {}
    lists = {(each.digest, each.size): each.lists for each in index.entries()} if index else {}
    folder = str(root.parent if root.is_file() else root)
    seen, entries = list[Told](), list[Entry]()
    for each in found:
        entry = known.get(each)
        if entry is None:
            now, name = contents.digest_of_file(folder, Found(*each))
            entry = Entry(now.path, now.size, now.executable == 1, name, lists.get((name, now.size), ()))
            each = now
        seen.append(each)
        entries.append(entry)
    return seen, entries


def _compared(label: str, before: list[Entry], now: list[Entry]) -> FolderStatus:
    old, new = {each.path: each for each in before}, {each.path: each for each in now}
    changed = [path for path, each in new.items() if path in old and _differs(old[path], each)]
    return FolderStatus(
        version=label, files=len(now), added=tuple(sorted(new.keys() - old.keys())), changed=tuple(sorted(changed)),
        removed=tuple(sorted(old.keys() - new.keys())),
    )  # fmt: skip


def _differs(before: Entry, now: Entry) -> bool:
    return (before.digest, before.size, before.executable) != (now.digest, now.size, now.executable)
