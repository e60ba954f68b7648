"""Blobs of a home on this machine as files, to be mapped into memory instead of being sent."""

from __future__ import annotations

import os
from pathlib import Path

import blake3

from headway.kernel.blobs import blob_place, checked_digest

_SMALLEST = 2**20
"""Below, to open and map a file takes longer than to be sent its bytes."""


class BlobFiles:
    """The blobs below `root`, which may be missing, or not be those of the server: what is there counts by its bytes,
    which are read once each time a file is another one."""

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._checked: dict[str, tuple[int, int, int, int]] = {}

    def path(self, digest: str) -> Path | None:
        """Of a large blob that is there and whole."""
        if self._root is None:
            return None
        path = self._root / blob_place(checked_digest(digest))
        try:
            stat = os.stat(path)
            marks = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
            if stat.st_size < _SMALLEST:
                return None
            if self._checked.get(digest) != marks:
                hasher = blake3.blake3(max_threads=blake3.blake3.AUTO).update_mmap(path)
                if "b3:" + hasher.hexdigest() != digest:
                    return None
                self._checked[digest] = marks
        except OSError:
            return None
        return path
