"""Reading pieces out of the packs of a version, and proving that packs hold what their indexes say."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from blake3 import blake3

from headway.errors import Invalid, LedgerBroken
from headway.kernel.blobs import BlobStore, checked_digest
from headway.lifecycle.datasets.pack import (
    FOOT_BYTES,
    MOST_INDEX_BYTES,
    Place,
    check_pieces,
    index_tail,
    read_tail,
    tail_bytes,
)
from headway.lifecycle.datasets.records import Pack

_MOST_PROVEN = 100_000
MOST_NEAR_BYTES = 256 * 1024


class Packs:
    """Proves packs, once in the life of a process: a blob's digest says that it is still the one that was proven."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._proven: dict[str, Pack] = {}
        self._lock = Lock()

    def proven(self, blob: str) -> Pack:
        """The pack in `blob`, once each piece was found to have its digest; raises `Invalid` or `NotFound`."""
        known = self._proven.get(checked_digest(blob))
        if known is None:
            data = self._blobs.get(blob)
            length = tail_bytes(data[-FOOT_BYTES:])
            if not FOOT_BYTES < length <= min(len(data), MOST_INDEX_BYTES):
                raise Invalid(f"blob {blob} is no pack of files; add the files again")
            check_pieces(data, read_tail(data[-length:], len(data)))
            known = Pack(blob=blob, size=len(data), index=length)
            self.believe(known)
        return known

    def believe(self, pack: Pack) -> None:
        with self._lock:
            while len(self._proven) >= _MOST_PROVEN:
                self._proven.pop(next(iter(self._proven)))
            self._proven[pack.blob] = pack

    def pieces(self, packs: Iterable[Pack]) -> Pieces:
        return Pieces(self._blobs, packs)


class Pieces:
    """The pieces of some packs by their digests; where two packs have the same one, the first counts."""

    def __init__(self, blobs: BlobStore, packs: Iterable[Pack]) -> None:
        self._blobs = blobs
        self.places: dict[bytes, Place] = {}
        for pack in reversed(list(packs)):
            index = read_tail(blobs.part(pack.blob, pack.size - pack.index, pack.index), pack.size)
            if len(index_tail(index)) != pack.index:
                raise Invalid(f"the index of pack {pack.blob} is not written as it should be")
            self.places.update(index.places(pack.blob))
        self.used: set[str] = set()
        self._near: tuple[str, int, bytes] = ("", 0, b"")

    def place(self, name: bytes) -> Place:
        """Raises `Invalid` for a piece that no pack has."""
        found = self.places.get(name)
        if found is None:
            raise Invalid(f"no pack has the piece {name.hex()}; add the files again")
        self.used.add(found[0])
        return found

    def get(self, name: bytes) -> bytes:
        """The bytes of a piece, verified; what stands next to it is read along, since nodes stand together."""
        pack, offset, length = self.place(name)
        near, start, held = self._near
        if near != pack or not start <= offset <= offset + length <= start + len(held):
            held = self._read(pack, offset, length)
            self._near, start = (pack, offset, held), offset
        data = held[offset - start : offset - start + length]
        if blake3(data).digest() != name:
            raise LedgerBroken(f"a piece in blob {pack} is not as it was written; restore the blob from a backup")
        return data

    def _read(self, pack: str, offset: int, length: int) -> bytes:
        if length < MOST_NEAR_BYTES:
            try:
                return self._blobs.part(pack, offset, MOST_NEAR_BYTES)
            except Invalid:  # the pack ends before
                pass
        return self._blobs.part(pack, offset, length)
