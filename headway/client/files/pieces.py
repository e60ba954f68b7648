"""Which pieces a server has already, by the indexes of its packs; and reading them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from mmap import ACCESS_READ, mmap
from pathlib import Path

from blake3 import blake3

from headway.client.blobs import Blobs
from headway.errors import HeadwayError, LedgerBroken, NotFound
from headway.lifecycle.datasets.pack import Index, Place, read_tail
from headway.lifecycle.datasets.records import Pack

_NEAR_BYTES = 256 << 10


class PackIndexes:
    """The indexes of packs, each fetched once: a pack never changes."""

    def __init__(self, blobs: Blobs, cache: Path) -> None:
        self._blobs, self._folder = blobs, cache / "packs"

    def of(self, pack: Pack) -> Index:
        """Raises `NotFound` for a pack that is not kept any more."""
        file = self._folder / pack.blob.removeprefix("b3:")
        try:
            return read_tail(file.read_bytes(), pack.size)
        except (OSError, HeadwayError):
            tail = self._blobs.part(pack.blob, pack.size - pack.index, pack.index)
        index = read_tail(tail, pack.size)
        if self._blobs.path(pack.blob) is None:  # what is at hand needs no copy
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = file.with_name(f"{file.name}.{os.getpid()}")
            fresh.write_bytes(tail)
            fresh.replace(file)
        return index

    def places(self, packs: Iterable[Pack]) -> dict[bytes, Place]:
        """Where each piece is; of two packs that have it, in the first. A pack that has gone has none."""
        found: dict[bytes, Place] = {}
        for pack in reversed(list(packs)):
            try:
                found.update(self.of(pack).places(pack.blob))
            except NotFound:
                continue
        return found


class PieceReader:
    """The pieces of a version: out of mapped files where the blobs can be read here, else over the connection, with
    what stands next to them. Every piece is verified before it is handed out."""

    def __init__(self, blobs: Blobs, places: dict[bytes, Place]) -> None:
        self._blobs, self.places = blobs, places
        self._mapped: dict[str, memoryview | None] = {}
        self._near: tuple[str, int, bytes] = ("", 0, b"")

    def get(self, name: bytes) -> bytes:
        return bytes(self.view(name))

    def view(self, name: bytes) -> memoryview:
        """The bytes of a piece, without a copy where its pack is mapped."""
        place = self.places.get(name)
        if place is None:
            raise LedgerBroken(f"no pack has the piece {name.hex()}; the version's packs are damaged")
        pack, offset, length = place
        held = self._map(pack)
        data = held[offset : offset + length] if held is not None else self._fetched(pack, offset, length)
        if blake3(data).digest() != name:
            raise LedgerBroken(f"a piece in blob {pack} is not as it was written; restore the blob from a backup")
        return data

    def _map(self, pack: str) -> memoryview | None:
        if pack not in self._mapped:
            path = self._blobs.path(pack)
            if path is None:
                self._mapped[pack] = None
            else:
                with path.open("rb") as file:
                    self._mapped[pack] = memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))
        return self._mapped[pack]

    def _fetched(self, pack: str, offset: int, length: int) -> memoryview:
        near, start, held = self._near
        if near != pack or not start <= offset <= offset + length <= start + len(held):
            wanted = max(length, _NEAR_BYTES)
            sizes = self._sizes
            wanted = min(wanted, sizes[pack] - offset) if pack in sizes else length
            start, held = offset, self._blobs.part(pack, offset, wanted)
            self._near = (pack, offset, held)
        return memoryview(held)[offset - start : offset - start + length]

    @property
    def _sizes(self) -> dict[str, int]:
        """Where the last piece of each pack ends."""
        if not hasattr(self, "_ends"):
            self._ends: dict[str, int] = {}
            for pack, offset, length in self.places.values():
                self._ends[pack] = max(self._ends.get(pack, 0), offset + length)
        return self._ends
