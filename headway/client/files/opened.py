"""One file of a version, read like any other: nothing is fetched but what is asked for."""

from __future__ import annotations

import io
from bisect import bisect_right
from itertools import accumulate

from headway.client.files.pieces import PieceReader
from headway.lifecycle.datasets.listing import Entry
from headway.lifecycle.datasets.tree import chunks_of


class VersionFile(io.RawIOBase):
    """Can be sought in. Each piece is verified before any of it is handed out."""

    def __init__(self, entry: Entry, reader: PieceReader) -> None:
        self._reader, self._size, self._at = reader, entry.size, 0
        pieces = list(chunks_of(entry, reader.get))
        self._names = [name for name, _ in pieces]
        self._starts = [0, *accumulate(length for _, length in pieces)]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + (0, self._at, self._size)[whence]
        if at < 0:
            raise ValueError(f"cannot seek to {at}")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def readinto(self, room: memoryview) -> int:  # type: ignore[override]
        if self._at >= self._size:
            return 0
        piece = bisect_right(self._starts, self._at) - 1
        view = self._reader.view(self._names[piece])[self._at - self._starts[piece] :]
        count = min(len(view), len(room))
        room[:count] = view[:count]
        self._at += count
        return count

    def mapped(self) -> memoryview | None:
        """The whole file as it lies in a mapped pack, for one that is a single piece; None for any other."""
        return self._reader.view(self._names[0]) if len(self._names) == 1 else None
