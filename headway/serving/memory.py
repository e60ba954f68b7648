"""How much memory this process has, and what each model takes of it."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import threading
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

from headway.kernel.records import encode
from headway.lifecycle.models.records import Signature
from headway.serving.runtimes import ModelFiles, OnnxRuntime

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Their numbers in glibc's malloc.h."""
_KEPT_BYTES = 64 * 1024


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


class OnnxModels:
    """ONNX models, each loaded once for all that serve it, and let go with the last of them."""

    def __init__(self, files: ModelFiles) -> None:
        self._files, self._one_at_a_time = files, threading.Lock()
        self._loaded: WeakValueDictionary[tuple[str, bytes], OnnxRuntime] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._loaded)

    def get(self, blob: str, signature: Signature) -> OnnxRuntime:
        """Raises as `ModelFiles.get` and `OnnxRuntime` do."""
        key = (blob, encode(signature))
        with self._one_at_a_time:
            found = self._loaded.get(key)
            if found is None:
                before = resident_bytes()
                found = self._loaded[key] = OnnxRuntime(self._files.get(blob), signature)
                # What the allocator had left over from before is not seen: the next model of a size may tell 0.
                found.memory_bytes = max(0, resident_bytes() - before)
            return found
