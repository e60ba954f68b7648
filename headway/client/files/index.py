"""What is known of a folder since it was last read: so that what did not change is not read again.

The rule that git has for files that are "racily clean" holds here: a file that was written to no longer than two
seconds before it was read may change once more and look the same, so it is not believed, and read again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

import msgspec
from blake3 import blake3

from headway.client.files.scanning import Found, Told
from headway.kernel.records import UNREADABLE
from headway.lifecycle.datasets.listing import Entry, entries_from
from headway.lifecycle.datasets.pack import DIGEST_BYTES

FORMAT = 1
RACY_NS = 2_000_000_000
"""The coarsest clock of a file system that is still in use (FAT)."""
_NOT_KNOWN = -1
_PATH = itemgetter(0)


class FolderIndex(msgspec.Struct, frozen=True):
    """`digests` has one after the other; `lists` those of the files that are cut into chunks, by place. `version` is
    the id of what the folder was last equal to, and `label` and `digest` are its."""

    format: int
    version: str
    label: str
    digest: str
    exclude: tuple[str, ...]
    found: list[Told]
    digests: bytes
    lists: dict[int, bytes]

    def digest_at(self, place: int) -> bytes:
        return self.digests[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES]

    def seen_as(self, found: list[Told], began_ns: int) -> FolderIndex:
        """The same files, of which `stat` tells something else."""
        return msgspec.structs.replace(self, found=_believed(found, began_ns))

    def entries(self) -> list[Entry]:
        lists = {at: _split(joined) for at, joined in self.lists.items()}
        paths, sizes, _, _, _, executables = zip(*self.found, strict=True) if self.found else ((),) * 6
        return entries_from(paths, sizes, map(bool, executables), _split(self.digests), lists)

    def recalled(self, found: list[Told]) -> list[Entry | None]:
        """What is known of each of these files; None for one that has to be read."""
        if not self.has_paths_of(found):
            return list(map(self.known().get, found))
        return [
            entry if now == told and told[2] >= 0 else None
            for now, told, entry in zip(found, self.found, self.entries(), strict=True)
        ]

    def has_paths_of(self, found: list[Told]) -> bool:
        return list(map(_PATH, found)) == list(map(_PATH, self.found))

    def known(self) -> dict[Told, Entry]:
        """By what `stat` told, those that can be believed."""
        return {each: entry for each, entry in zip(self.found, self.entries(), strict=True) if each[2] >= 0}


def index_of(
    found: Sequence[Found | Told], entries: list[Entry], began_ns: int, *, version: str, label: str, digest: str,
    exclude: tuple[str, ...],
) -> FolderIndex:  # fmt: skip
    """What is known from now on; `began_ns` is when reading began, since 1970."""
    return FolderIndex(
        format=FORMAT, version=version, label=label, digest=digest, exclude=exclude,
        found=_believed(found, began_ns),
        digests=b"".join([each.digest for each in entries]),
        lists={at: b"".join(each.lists) for at, each in enumerate(entries) if each.lists},
    )  # fmt: skip


def _believed(found: Sequence[Found | Told], began_ns: int) -> list[Told]:
    """With no time for those that may change once more and look the same."""
    safe = began_ns - RACY_NS
    return [each if each[2] < safe and each[3] < safe else (each[0], each[1], _NOT_KNOWN, *each[3:]) for each in found]


class IndexFile:
    """The index of one folder, in the cache; a damaged one is none."""

    def __init__(self, cache: Path, root: Path) -> None:
        self.name = blake3(os.fsencode(root.resolve())).hexdigest()[:32]
        self._path = cache / "folders" / self.name

    def read(self) -> FolderIndex | None:
        try:
            data = self._path.read_bytes()
            if blake3(data[DIGEST_BYTES:]).digest() != data[:DIGEST_BYTES]:
                return None
            index = _decode(data[DIGEST_BYTES:])
        except (OSError, *UNREADABLE):
            return None
        return index if index.format == FORMAT else None

    def write(self, index: FolderIndex) -> None:
        """In one step; that it is lost, with the machine's power, costs time and nothing else."""
        body = msgspec.msgpack.encode(index)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        fresh.write_bytes(blake3(body).digest() + body)
        fresh.replace(self._path)


_decode = msgspec.msgpack.Decoder(FolderIndex).decode


def _split(joined: bytes) -> tuple[bytes, ...]:
    return tuple(joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES))
