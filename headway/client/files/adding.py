"""Adding a folder: read what changed, pack what is new, and say which tree it makes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from blake3 import blake3

from headway.client.blobs import Blobs
from headway.client.files import contents
from headway.client.files.index import FolderIndex, IndexFile, index_of
from headway.client.files.packing import PackWriter
from headway.client.files.pieces import PackIndexes, PieceReader
from headway.client.files.scanning import Found, Told, scan, uncollected
from headway.client.line import Line, segment
from headway.errors import HeadwayError, Invalid, NotFound
from headway.kernel.paging import Page
from headway.lifecycle.datasets.listing import Entry, checked_paths
from headway.lifecycle.datasets.pack import Place
from headway.lifecycle.datasets.records import AddFiles, DatasetVersion, Form, Pack
from headway.lifecycle.datasets.tree import build, chunks_of, put_chunks

MOST_SMALL_PACKS = 64
SMALL_PACK_BYTES = 4 << 20
"""Once a version has more packs than that which are smaller than this, what is in them is packed anew, together."""
_VERSIONS_LOOKED_AT = 100
_ATTEMPTS = 3

Advance = Callable[[int], None]
"""Told of every so many bytes that were read."""


class Adding:
    """One folder on its way to become the next version of `name`."""

    def __init__(self, connection: Line, name: str, root: Path, exclude: Sequence[str], advance: Advance) -> None:
        self._connection, self._blobs = connection, Blobs(connection)
        self._name, self._root, self._exclude, self._advance = name, root, tuple(exclude), advance
        self._folder = str(root.parent if root.is_file() else root)
        self._file = IndexFile(connection.place.cache, root)
        self._journal = Unfinished(connection.place.cache, connection.url, name)

    def run(self, note: str, made_by: str, came_from: Sequence[str]) -> DatasetVersion:
        """Add it; raises `Invalid` for what cannot be kept, `Conflict` for files that change meanwhile."""
        for left in range(_ATTEMPTS - 1, -1, -1):
            try:
                with uncollected():
                    return self._run(note, made_by, tuple(came_from))
            except NotFound as error:
                if not left or "digest" not in error.details:  # a pack was collected meanwhile: what it had is sent
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _run(self, note: str, made_by: str, came_from: tuple[str, ...]) -> DatasetVersion:
        began_ns = time.time_ns()
        index = self._file.read()
        found = scan(self._root, self._exclude)
        if not found:
            raise Invalid(f"there is no file in {self._root}; a version holds at least one")
        newest = _newest(self._connection, self._name)
        if index and newest and newest.digest == index.digest and index.found == found:
            return newest
        if index is None or not index.has_paths_of(found):  # those were checked
            checked_paths([each[0] for each in found])
        reading = Reading(self._connection, self._folder, self._packs(newest), self._shipped)
        try:
            seen, entries = reading.read(found, index, self._advance)
            root = build(entries, reading.put)
            reading.writer.close()
        except BaseException:
            reading.writer.abandon()
            raise
        command = AddFiles(
            dataset=self._name, root="b3:" + root.hex(), packs=(*reading.used_packs(), *reading.writer.digests),
            note=note, made_by=made_by, came_from=came_from,
        )  # fmt: skip
        version = self._connection.post("/v1/datasets/files", DatasetVersion, command)
        known = index_of(
            seen, entries, began_ns, version=version.id, label=version.label, digest=version.digest,
            exclude=self._exclude,
        )  # fmt: skip
        self._file.write(known)
        self._journal.done()
        return version

    def _packs(self, newest: DatasetVersion | None) -> list[Pack]:
        """Where pieces may be that need not be sent: first those of the newest version, then of older ones, then what
        an add that was cut off has sent."""
        if newest is not None and newest.form is not Form.FILES:
            return []
        packs = {pack.blob: pack for pack in newest.packs} if newest else {}
        small = [pack for pack in packs.values() if pack.size < SMALL_PACK_BYTES]
        left_out = {pack.blob for pack in small} if len(small) > MOST_SMALL_PACKS else set[str]()
        if newest is not None:
            older = self._connection.get(
                "/v1/datasets/versions", Page[DatasetVersion], dataset=self._name, limit=_VERSIONS_LOOKED_AT
            )
            for version in older.items:
                for pack in version.packs:
                    packs.setdefault(pack.blob, pack)
        for pack in self._journal.packs():
            if pack.blob not in packs and self._blobs.has(pack.blob):
                packs[pack.blob] = pack
        return [pack for pack in packs.values() if pack.blob not in left_out]

    def _shipped(self, path: Path, digest: str, size: int) -> None:
        self._blobs.give(path, digest, size)
        pack = self._connection.post("/v1/datasets/packs", Pack, {"blob": digest})
        self._journal.sent(pack)


class Reading:
    """Reads the files of a folder, and writes the pieces that no pack has."""

    def __init__(
        self, connection: Line, folder: str, packs: list[Pack], ship: Callable[[Path, str, int], None]
    ) -> None:
        blobs = Blobs(connection)
        self._folder = folder
        self._places = PackIndexes(blobs, connection.place.cache).places(packs)
        self._reader = PieceReader(blobs, self._places)
        self._order = [pack.blob for pack in packs]
        self._used: set[str] = set()
        self._written: set[bytes] = set()
        self.writer = PackWriter(connection.place.uploads, ship)

    def read(self, found: list[Told], index: FolderIndex | None, advance: Advance) -> tuple[list[Told], list[Entry]]:
        entries: list[Entry | None] = index.recalled(found) if index else [None] * len(found)
        seen, places, used = list(found), self._places, set[str]()
        for at, entry in enumerate(entries):
            if entry is not None and not entry.lists and (place := places.get(entry.digest)) is not None:
                used.add(place[0])  # by far the most are so
            elif entry is None or not self._there(entry):
                seen[at], made = self._entry(Found(*found[at]))
                entries[at] = made
                advance(made.size)
        self._used |= used
        return seen, cast(list[Entry], entries)

    def used_packs(self) -> list[str]:
        return [blob for blob in self._order if blob in self._used]

    def put(self, name: bytes, data: bytes | memoryview) -> None:
        """Write a piece, unless a pack has it or it was written before."""
        place = self._places.get(name)
        if place is not None:
            self._used.add(place[0])
        elif name not in self._written:
            self._written.add(name)
            self.writer.add(name, data)

    def _entry(self, found: Found) -> tuple[Found, Entry]:
        if found.size <= contents.CHUNKED_ABOVE:
            found, data = contents.whole(self._folder, found)
            name = blake3(data).digest()
            if data:
                self.put(name, data)
            return found, Entry(found.path, found.size, found.executable == 1, name)
        found, name, chunks = contents.chunked(self._folder, found, self.put)
        lists = put_chunks(chunks, self.put)
        return found, Entry(found.path, found.size, found.executable == 1, name, lists)

    def _there(self, entry: Entry) -> bool:
        """Whether all pieces of a file that did not change can be had from the packs."""
        if not entry.lists:
            return not entry.size or self._has(entry.digest)
        with suppress(HeadwayError):
            lists = all(self._has(name) for name in entry.lists)
            return lists and all(self._has(name) for name, _ in chunks_of(entry, self._reader.get))
        return False

    def _has(self, name: bytes) -> bool:
        place: Place | None = self._places.get(name)
        if place is None:
            return name in self._written
        self._used.add(place[0])
        return True


class Unfinished:
    """The packs that an add has sent before it was cut off: the next one of the same dataset goes on from there."""

    def __init__(self, cache: Path, url: str, name: str) -> None:
        self._path = cache / "unfinished" / blake3(f"{url}\n{name}".encode()).hexdigest()[:32]

    def sent(self, pack: Pack) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._path.open("a") as file:
            file.write(f"{pack.blob} {pack.size} {pack.index}\n")

    def packs(self) -> list[Pack]:
        found = []
        with suppress(OSError):
            for line in self._path.read_text().splitlines():
                words = line.split()
                if len(words) == 3 and words[1].isdecimal() and words[2].isdecimal():
                    found.append(Pack(blob=words[0], size=int(words[1]), index=int(words[2])))
        return found

    def done(self) -> None:
        self._path.unlink(missing_ok=True)


def _newest(connection: Line, name: str) -> DatasetVersion | None:
    try:
        return connection.get(f"/v1/datasets/versions/{segment(name)}", DatasetVersion)
    except NotFound:
        return None
