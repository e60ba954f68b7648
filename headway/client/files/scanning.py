"""What is in a folder, by name and by what the file system says of it; nothing is opened."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from headway.errors import Invalid, NotFound
from headway.lifecycle.datasets.globs import matcher

UNFINISHED = ".headway-unfinished-"
"""How the name of a file begins that a checkout has not written to its end."""
Told = tuple[str, int, int, int, int, int]
"""The fields of `Found` as a plain tuple, which is made in a third of the time."""


class Found(NamedTuple):
    """A file as `stat` tells of it: if none of this has changed, nor has what the file holds."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    executable: int


def found_of(path: str, told: os.stat_result) -> Found:
    executable = 1 if told.st_mode & 0o100 else 0
    return Found(path, told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_ino, executable)


def plain(found: Found | Told) -> Told:
    return found[0], found[1], found[2], found[3], found[4], found[5]


def scan(root: Path, exclude: Sequence[str] = ()) -> list[Told]:
    """Every file below `root`, or `root` itself if it is one, in order of the paths, which are not checked.

    Raises `NotFound` for a root that is not there, `Invalid` for what cannot be kept: links, sockets, pipes, devices.
    Empty folders are not kept.
    """
    try:
        told = root.stat()
    except OSError as error:
        raise NotFound(f"{root} cannot be read: {error.strerror}; give a path to a file or a folder") from None
    if stat.S_ISREG(told.st_mode):
        return [plain(found_of(root.name, told))]
    if not stat.S_ISDIR(told.st_mode):
        raise Invalid(f"{root} is neither a file nor a folder")
    found = _below(str(root), matcher(exclude) if exclude else None)
    found.sort()  # runs of a folder each are in order already
    return found


def _below(root: str, excluded: Callable[[str], object] | None) -> list[Told]:
    found: list[Told] = []
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            handle = os.open(f"{root}/{folder}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                inside = _look(folder, handle, excluded, found)
            finally:
                os.close(handle)
        except OSError as error:
            raise Invalid(f"{folder or root} cannot be read: {error.strerror}; mend it, or leave it out") from None
        waiting += reversed(inside)
    return found


def _look(folder: str, handle: int, excluded: Callable[[str], object] | None, found: list[Told]) -> list[str]:
    """Add the files to `found`, and return the folders."""
    append, look, regular, folders = found.append, os.stat, stat.S_IFREG, []
    for name in sorted(os.listdir(handle)):
        path = folder + name
        if excluded is not None and excluded(path):
            continue
        told = look(name, dir_fd=handle, follow_symlinks=False)
        mode = told.st_mode
        if mode & 0o170000 == regular:
            executable = 1 if mode & 0o100 else 0
            if not name.startswith(UNFINISHED):
                append((path, told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_ino, executable))
        elif stat.S_ISDIR(mode):
            folders.append(path + "/")
        else:
            what = "a symbolic link" if stat.S_ISLNK(mode) else "no file (a socket, a pipe or a device)"
            raise Invalid(f"{path!r:.300} is {what}, which is not kept; put a copy there, or leave it out: --exclude")
    return folders


@contextmanager
def uncollected() -> Iterator[None]:
    """Hundreds of thousands of records that all stay are no work for the garbage collector."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
