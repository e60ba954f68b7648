"""The ledger's head, kept in a file outside the database: what shows that a tail was cut off."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec

from headway.errors import LedgerBroken
from headway.kernel.ledger import GENESIS, Anchor
from headway.kernel.records import encode

_read_anchor = msgspec.json.Decoder(Anchor).decode


_SIZE = 256
"""Bytes of the file, filled up with blanks: one write within one sector replaces all of it, so none is half new."""


def head_of(kept: dict[int, str], anchored: Anchor) -> Anchor:
    """The last of the ledger's entries; `kept` has number and hash of that one and of the anchored one.

    Raises `LedgerBroken` when the ledger no longer holds what was anchored.
    """
    if kept.get(anchored.number, GENESIS) != anchored.hash:
        raise LedgerBroken(
            f"the ledger has lost entry {anchored.number}, which was anchored: nothing more is written to it; "
            "run `headway ledger verify`, then restore the home from a backup",
            number=anchored.number,
        )
    number = max(kept, default=0)
    return Anchor(number=number, hash=kept.get(number, GENESIS))


class AnchorFile:
    """Follows the database and is never ahead of it: written after a commit, replaced in one step.

    It is not synced to disk by itself: after a loss of power it may lag behind, which verifies; it cannot lead.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._written = b""
        """What this process wrote last, which it knows to be behind."""
        self._lock = threading.Lock()
        self.last = self.read() or Anchor(number=0, hash=GENESIS)
        """The newest head that this process knows to have been kept."""

    def read(self) -> Anchor | None:
        """What the file says, or None when there is none; raises `LedgerBroken` when it is no anchor."""
        try:
            return self._decoded(self._path.read_bytes())
        except FileNotFoundError:
            return None

    def advance(self, head: Anchor) -> None:
        """Replace the file, unless another process has brought it further."""
        with self._lock:
            if head.number <= self.last.number:
                return
            self.last = head
            try:
                self._replace(head)
            except OSError as error:  # what it follows is committed: the writer must not be told otherwise
                import logging  # noqa: PLC0415  # a third of the import of all this, and hardly ever needed

                logging.getLogger("headway.storage").warning(
                    "the ledger's anchor %s lags behind: %s", self._path, error
                )

    def _replace(self, head: Anchor) -> None:
        """In place: to rename a new file over it makes file systems write that out first, which takes longer than the
        commit it follows."""
        if self._file is not None and os.fstat(self._file).st_nlink == 0:  # it was removed, or another took its place
            self.close()
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        there = os.pread(self._file, _SIZE, 0)
        kept = None if there == self._written else self._decoded(there)
        if kept is None or kept.number < head.number:
            self._written = encode(head).ljust(_SIZE)
            os.pwrite(self._file, self._written, 0)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __del__(self) -> None:
        self.close()

    def _decoded(self, data: bytes) -> Anchor | None:
        if not data:  # a loss of power between the rename and the data
            return None
        try:
            return _read_anchor(data)
        except msgspec.DecodeError as error:
            raise LedgerBroken(f"{self._path} is damaged; restore it, or remove it to give up the proof") from error
