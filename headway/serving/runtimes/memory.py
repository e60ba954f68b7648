"""What each model takes of the memory of this process."""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary

from headway.kernel.records import encode
from headway.lifecycle.models.records import Signature
from headway.serving.heap import resident_bytes
from headway.serving.runtimes.inline import ModelFiles, OnnxRuntime


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
