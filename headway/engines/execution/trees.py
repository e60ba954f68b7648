"""Trees of processes, and their end: also of a grandchild that made itself a daemon.

On Linux whoever calls `adopt_orphans` becomes the parent of every descendant that loses its own, so that none can get
away by setting up a session of its own. Elsewhere only the process group of a worker is ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

_PDEATHSIG, _SUBREAPER = 1, 36  # linux/prctl.h
_LOOK_S = 0.005
_HARMLESS = frozenset({"jemalloc_bg_thd", "polars-ooc-clea"})
"""Threads that importing polars starts: the allocator's, which it stops and starts around a fork by itself, and one
that removes spilled files and is not missed in a worker. Those of OpenBLAS, which does so too, bear the name of the
program. The threads that work for polars come with its first use, which is not in the fork server."""
_LINUX = sys.platform == "linux"


def adopt_orphans() -> None:
    """Be the parent of whatever descendant loses its own."""
    _prctl(_SUBREAPER, 1)


def end_with_parent(parent: int, number: int) -> None:
    """Get the signal `number` when `parent`, which forked this process, ends; at once if it has ended already."""
    _prctl(_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _prctl(option: int, value: int) -> None:
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def end_children(group: int | None = None) -> None:
    """Kill all that this process has started, and all that they have, until nobody is left. `group` is a process
    group that is among them."""
    while True:
        if group is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        for pid in descendants(os.getpid()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(_LOOK_S)


def descendants(pid: int) -> list[int]:
    """Children of `pid`, and theirs; without /proc nobody."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for thread in _listed(Path(f"/proc/{waiting.pop()}/task")):
            with suppress(OSError):
                children = [int(each) for each in (thread / "children").read_text().split()]
                found += children
                waiting += children
    return found


def threads_running() -> bool:
    """Whether this process has threads that it would not be safe to fork beside."""
    own = Path("/proc/self/task")
    names = {(own / str(os.getpid()) / "comm").read_text().strip()} if own.exists() else set()
    allowed = names | _HARMLESS
    for thread in _listed(own):
        with suppress(OSError):
            names.add((thread / "comm").read_text().strip())
    return threading.active_count() > 1 or not names <= allowed


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
