"""Model files on the local disk, found by their digest."""

from __future__ import annotations

from pathlib import Path

import blake3

from headway.errors import LedgerBroken, NotFound
from headway.kernel.blobs import checked_digest
from headway.kernel.records import digest


class BlobFolder:
    """Content-addressed files on the local disk: `b3:<hex>` is `<hex[:2]>/<hex[2:]>`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, name: str) -> bytes:
        path = self._place(name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise NotFound(f"model {name} cannot be read: {error}") from error
        _must_be(name, digest(data), path)
        return data

    def path(self, name: str) -> Path:
        """Of a file too large to be held in memory."""
        path, hasher = self._place(name), blake3.blake3()
        try:
            hasher.update_mmap(path)
        except OSError as error:
            raise NotFound(f"file {name} cannot be read: {error}") from error
        _must_be(name, f"b3:{hasher.hexdigest()}", path)
        return path

    def _place(self, name: str) -> Path:
        hexadecimal = checked_digest(name).removeprefix("b3:")
        return self._root / hexadecimal[:2] / hexadecimal[2:]


def _must_be(name: str, found: str, path: Path) -> None:
    if found != name:
        raise LedgerBroken(f"model file {path} was changed: its digest is no longer {name}")
