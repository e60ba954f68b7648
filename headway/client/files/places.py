"""The folder that a checkout writes to. Every step down is taken from an open folder and follows no link, so that no
path, and no link that somebody put there meanwhile, leads out of it."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Self

from blake3 import blake3

from headway.client.files.pieces import PieceReader
from headway.client.files.scanning import UNFINISHED, Found, found_of
from headway.errors import Conflict, LedgerBroken, Unavailable
from headway.lifecycle.datasets.listing import Entry
from headway.lifecycle.datasets.tree import chunks_of

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Destination:
    """Files come in the order of their paths: the folders of the last one stay open."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder)
        self._root = os.open(folder, _FOLDER)
        self._open: list[tuple[str, int]] = []
        self._last: tuple[str, int | None] = ("", self._root)
        self._unfinished, self._numbers = f"{UNFINISHED}{token_hex(8)}-", count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close_to(0)
        os.close(self._root)

    def look(self, path: str) -> os.stat_result | None:
        """What is at `path`, a link as itself; None for nothing."""
        folder, _, name = path.rpartition("/")
        handle = self._folder(folder, make=False)
        if handle is None:
            return None
        try:
            return os.stat(name, dir_fd=handle, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def write(self, entry: Entry, reader: PieceReader) -> Found:
        """Put the file there in one step, its bytes proven; returns what is known of it then."""
        folder, _, name = entry.path.rpartition("/")
        handle = self._folder(folder, make=True)
        assert handle is not None
        unfinished = f"{self._unfinished}{next(self._numbers)}"
        try:
            opened = os.open(unfinished, _NEW, 0o777 if entry.executable else 0o666, dir_fd=handle)
            try:
                self._fill(opened, entry, reader)
            finally:
                os.close(opened)
            os.rename(unfinished, name, src_dir_fd=handle, dst_dir_fd=handle)
            return found_of(entry.path, os.stat(name, dir_fd=handle, follow_symlinks=False))
        except BaseException as error:
            with suppress(FileNotFoundError):
                os.unlink(unfinished, dir_fd=handle)
            if not isinstance(error, OSError):
                raise
            raise Unavailable(f"{entry.path!r:.300} cannot be written to {self.path}: {error.strerror}") from error

    def _fill(self, opened: int, entry: Entry, reader: PieceReader) -> None:
        if not entry.lists:
            if entry.size:
                _write(opened, reader.view(entry.digest))
            return
        hasher = blake3(max_threads=blake3.AUTO)
        for piece, _ in chunks_of(entry, reader.get):
            view = reader.view(piece)
            hasher.update(view)
            _write(opened, view)
        if hasher.digest() != entry.digest:
            raise LedgerBroken(f"the chunks of {entry.path!r:.300} do not make up the file; add it again")

    def remove(self, path: str) -> None:
        """A file, and the folders that are empty then."""
        folder, _, name = path.rpartition("/")
        handle = self._folder(folder, make=False)
        if handle is None:
            return
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=handle)
        while folder:
            folder, _, name = folder.rpartition("/")
            handle = self._folder(folder, make=False)
            try:
                os.rmdir(name, dir_fd=handle)
            except OSError:
                return

    def tidy(self) -> None:
        """Remove what a checkout that was killed has not written to its end."""
        for _, _, names, handle in os.fwalk(dir_fd=self._root, follow_symlinks=False):
            for name in names:
                if name.startswith(UNFINISHED):
                    with suppress(OSError):
                        os.unlink(name, dir_fd=handle)

    def must_tell_apart(self, first: str, second: str) -> None:
        """Raises `Conflict` where two names that differ in capitals or accents are one file."""
        probe = UNFINISHED + token_hex(8) + "a"
        os.close(os.open(probe, _NEW, 0o600, dir_fd=self._root))
        try:
            os.stat(probe[:-1] + "A", dir_fd=self._root)
        except FileNotFoundError:
            return
        finally:
            os.unlink(probe, dir_fd=self._root)
        raise Conflict(f"{first!r} and {second!r} are one file on the file system of {self.path}; choose another")

    def _folder(self, folder: str, *, make: bool) -> int | None:
        """The folder, opened; None where it is not there and is not to be made."""
        if folder == self._last[0] and not (make and self._last[1] is None):
            return self._last[1]
        self._last = (folder, self._stepped(folder, make=make))
        return self._last[1]

    def _stepped(self, folder: str, *, make: bool) -> int | None:
        """As `_folder`, by way of what the open folders have in common with it."""
        parts = folder.split("/") if folder else []
        same = 0
        while same < min(len(parts), len(self._open)) and self._open[same][0] == parts[same]:
            same += 1
        self._close_to(same)
        for part in parts[same:]:
            above = self._open[-1][1] if self._open else self._root
            try:
                handle = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
            except FileNotFoundError:
                if not make:
                    return None
                os.mkdir(part, dir_fd=above)
                handle = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
            except OSError as error:
                raise Conflict(
                    f"{part!r} in {self.path} is to be a folder, and is none ({error.strerror}); move it away"
                ) from None
            self._open.append((part, handle))
        return self._open[-1][1] if self._open else self._root

    def _close_to(self, depth: int) -> None:
        self._last = ("", self._root)
        while len(self._open) > depth:
            os.close(self._open.pop()[1])


def _write(opened: int, view: memoryview) -> None:
    while view:
        view = view[os.write(opened, view) :]
