"""Files and folders that steps are given: told apart by what is in them, which is read again only once their marks have
changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

import blake3
import msgspec

from headway.errors import BadPipeline
from headway.kernel.records import digest, encode

_NOT_CONTENT = {".headway", ".git", "__pycache__"}
_SETTLED_S = 2.0
"""An edit within the same tick of a file system's clock does not show: what is younger is read again."""

_Marks = tuple[int, int, int, int]


class FileDigests:
    """Digests of files by modification, change, size and inode. With `index`, a file, they outlast the process."""

    def __init__(self, folder: Path, index: Path | None = None) -> None:
        self._folder, self._index = folder, index
        self._known: dict[str, tuple[_Marks, str]] | None = None
        self._changed = False

    def content(self, path: PurePath) -> Any:
        """What tells an argument apart that is a path: its name, from the project's folder if it is in there, and the
        content of the file or folder, if there is one."""
        if not isinstance(path, Path):
            return ["path", ascii(str(path))]
        name = ascii(os.path.relpath(path, self._folder) if path.absolute().is_relative_to(self._folder) else str(path))
        try:
            if path.is_file():
                return ["file", name, self.digest(path)]
            if path.is_dir():
                return ["folder", name, digest(encode([[ascii(n), self.digest(p)] for n, p in files_in(path)]))]
        except OSError as error:
            raise BadPipeline(f"{path} cannot be read: {error.strerror}") from None
        return ["path", ascii(str(path))]

    def digest(self, path: Path) -> str:
        """`b3:...` of a file's bytes."""
        place, known = os.path.abspath(path), self._all()
        stat = os.stat(path)
        marks = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
        if place in known and known[place][0] == marks:
            return known[place][1]
        # Threads pay from about a megabyte on.
        hasher = blake3.blake3(max_threads=blake3.blake3.AUTO if stat.st_size > 2**20 else 1)
        found = "b3:" + hasher.update_mmap(place).hexdigest()
        if self._now() - max(stat.st_mtime, stat.st_ctime) > _SETTLED_S:
            known[place], self._changed = (marks, found), True
        return found

    @staticmethod
    def _now() -> float:
        return time.time()

    def save(self) -> None:
        """Keep what was read for later processes; that it cannot be kept is no failure."""
        if self._index is None or not self._changed:
            return
        with suppress(OSError):
            self._index.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._index.with_name(f"{self._index.name}.{os.getpid()}")
            fresh.write_bytes(encode(self._all()))
            fresh.replace(self._index)
            self._changed = False

    def _all(self) -> dict[str, tuple[_Marks, str]]:
        if self._known is None:
            self._known = {}
            if self._index is not None:
                with suppress(OSError, msgspec.MsgspecError):
                    kind = dict[str, tuple[_Marks, str]]
                    self._known = msgspec.json.decode(self._index.read_bytes(), type=kind)
        return self._known


def files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name below `folder` and path of each file, in one order; Git's and Headway's own folders are no content."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NOT_CONTENT]
        found += [Path(place, name) for name in files]
    yield from sorted((path.relative_to(folder).as_posix(), path) for path in found)
