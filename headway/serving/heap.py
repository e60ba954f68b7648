"""How much memory this process has, and how what is free of it goes back to the system."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Their numbers in glibc's malloc.h."""
_KEPT_BYTES = 64 * 1024
_GROWN_BYTES = 2**20


def resident_bytes() -> int:
    """The resident memory of this process; where the system does not tell, the most that it ever was."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def return_early() -> None:
    """Have what is freed given back to the system soon: else the heap of a server that writes rows now and then stays
    as large as it once was. Only glibc is told; others return memory by rules of their own."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((_TRIM_THRESHOLD, _KEPT_BYTES), (_MMAP_THRESHOLD, _KEPT_BYTES), (_ARENA_MAX, 1)):
            mallopt(parameter, value)


class Heap:
    """Hands pages that are free to the system, also those between others in use, which glibc keeps by itself: what a
    server keeps of requests is small and freed out of order."""

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._least = 0

    def look(self) -> None:
        """Do so if the process has grown by 1 MiB since; for a third of a millisecond others cannot allocate."""
        self._least = min(self._least, now := resident_bytes())
        if self._trim and now - self._least > _GROWN_BYTES:
            self._trim(0)
            self._least = resident_bytes()
