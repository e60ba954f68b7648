"""Files that uploads left behind when they were cut off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from headway.errors import Invalid
from headway.lifecycle.retention.collection import Leftover

_PARTIAL = re.compile(r"[0-9a-f]{62}#\d+")
"""What a blob is called until it is whole."""


class FolderLeftovers:
    """Bodies on their way in, in `uploads`; blobs that were not written to their end, below `blobs`."""

    def __init__(self, uploads: Path, blobs: Path) -> None:
        self._uploads, self._blobs = uploads, blobs

    def found(self) -> Iterator[Leftover]:
        partial = (path for path in self._blobs.glob("??/*#*") if _PARTIAL.fullmatch(path.name))
        for path in (*self._uploads.glob("blob-*"), *self._uploads.glob("artifact-*"), *partial):
            try:
                stat = path.stat()
            except FileNotFoundError:  # the upload has just come to its end
                continue
            yield Leftover(name=str(path), size=stat.st_size, at=datetime.fromtimestamp(stat.st_mtime, UTC))

    def remove(self, name: str) -> None:
        path = Path(name)
        if path.parent != self._uploads and path.parent.parent != self._blobs:
            raise Invalid(f"{name} is no leftover of an upload")
        path.unlink(missing_ok=True)
