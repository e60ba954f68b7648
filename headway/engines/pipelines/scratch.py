"""Files and folders that steps have given, copied for those that take them.

Each process keeps its copies in a folder of its own below the system's for temporary files, and holds a lock on that
folder. The system lets go of the lock however the process ends, so that the others see what nobody needs any more.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from headway.errors import BadPipeline

_PREFIX = "headway-scratch-"


class _Held(NamedTuple):
    """A folder, the descriptor by which it is locked, and the process that it is of: a fork of it makes its own."""

    path: str
    lock: int
    pid: int


_held: _Held | None = None
_making = threading.Lock()


def copied(
    names: Sequence[str], blobs: Sequence[str], get: Callable[[str], bytes], file: Callable[[str], Path | None]
) -> Path:
    """A copy of its own, which is gone with this process or by `clear`: of a file or folder of the first of `names`,
    the others are those below it, one for each blob. A blob that lies in a `file` is copied from there, others are had
    by `get`."""
    below = names[1:]
    if not all(map(_is_below, names)) or "/" in names[0] or ("" in below and len(below) > 1):
        raise BadPipeline("the files that were stored have names that lead elsewhere; run their step again")
    folder = Path(tempfile.mkdtemp(dir=_folder())) / (names[0] or "files")
    for name, blob in zip(below, blobs, strict=True):
        path = folder / name if name else folder
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = file(blob)
        if kept:
            shutil.copyfile(kept, path)
        else:
            path.write_bytes(get(blob))
    if not blobs:
        folder.mkdir()
    return folder


def _is_below(name: str) -> bool:
    """Whether a name leads to a place below a folder; the empty one is the folder's own."""
    return not name or not (name.startswith("/") or "\0" in name or {"", ".", ".."} & set(name.split("/")))


def clear() -> None:
    """Remove what this process was handed so far."""
    if _held is not None and _held.pid == os.getpid():
        for each in os.listdir(_held.path):
            shutil.rmtree(f"{_held.path}/{each}", ignore_errors=True)


def sweep() -> None:
    """Remove what processes of this user have left that were ended before they could."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # it is in use, of somebody else, or gone
            found = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(found).st_uid == os.geteuid():
                    fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(found)


def _folder() -> str:
    """That of this process; it is removed when the process ends by itself."""
    global _held
    with _making:
        if _held is None or _held.pid != os.getpid():
            sweep()
            _held = _made()
            atexit.register(_remove, _held)
        return _held.path


def _made() -> _Held:
    while True:
        path = tempfile.mkdtemp(prefix=_PREFIX)
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # another process has met it before it was locked, as below
            continue
        met = False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            met = True
        except OSError:  # a system of files without locks: there nobody can sweep either
            pass
        if not met and os.path.exists(path):
            return _Held(path, lock, os.getpid())
        os.close(lock)


def _remove(held: _Held) -> None:
    if held.pid == os.getpid():
        shutil.rmtree(held.path, ignore_errors=True)
