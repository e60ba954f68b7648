"""Worker processes: where a project's own code runs, and where a gate measures. Never in the control plane."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from headway.engines import processes
from headway.engines.pipelines.failures import without_secrets
from headway.engines.processes import Child

ATTEMPTS = 3
_MOST_WORDS = 300
_TAIL_BYTES = 4096
PARENT = "HEADWAY_PARENT"
"""Tells a worker whose end is its own: by the time it can look, its parent may be gone already."""
_ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}
"""Threads of a numerical library that wait for each other soon sleep: spinning on, as they would, they take the cores
that the control plane and the model servers need. Not spinning at all makes short loops three times as long."""


class Workers:
    """At most one process for each key. A worker ends by itself when its parent is gone, and is started anew."""

    def __init__(self, folder: Path, command: Sequence[str], env: Callable[[str], Mapping[str, str]]) -> None:
        self._folder, self._command, self._env = folder, tuple(command), env
        self._lock = threading.Lock()
        self._running: dict[str, Child] = {}
        self._attempts: dict[str, int] = {}

    def ensure(self, key: str, role: str, arguments: Sequence[str], cwd: Path | None = None) -> bool:
        """See that a worker is at it; False once it has ended `ATTEMPTS` times without getting it done."""
        with self._lock:
            child = self._running.get(key) or processes.recall(self._note(key))
            if child and processes.alive(child):
                if key not in self._running:
                    processes.end(child)
                else:
                    return True
            if self._attempts.get(key, 0) >= ATTEMPTS:
                return False
            self._attempts[key] = self._attempts.get(key, 0) + 1
            env = {**_ENVIRONMENT, **os.environ, **self._env(role), PARENT: str(os.getpid())}
            pid = processes.start([*self._command, *arguments], self.log(key), env, cwd)
            self._running[key] = Child(pid=pid, mark=arguments[-1])
            processes.remember(self._running[key], self._note(key))
            return True

    def busy(self, key: str) -> bool:
        child = self._running.get(key)
        return child is not None and processes.alive(child)

    def keep(self, keys: Collection[str]) -> None:
        """End what works on anything but `keys`, and drop its notes."""
        with self._lock:
            for key in self._attempts.keys() - set(keys):
                child = self._running.pop(key, None)
                del self._attempts[key]
                if child:
                    processes.end(child)
                self._note(key).unlink(missing_ok=True)

    def close(self) -> None:
        with self._lock:
            for child in self._running.values():
                processes.end(child)
            self._running.clear()

    def log(self, key: str) -> Path:
        return self._folder / f"{key}.log"

    def last_words(self, key: str) -> str:
        """The last line that a worker wrote, without secrets, and where those before it are: for who has to mend what
        ended it."""
        log = self.log(key)
        try:
            with log.open("rb") as opened:
                opened.seek(max(0, opened.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = opened.read().decode(errors="replace").split("\n")
        except OSError:
            lines = []
        said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
        return f"its last words, in {log.name}: {without_secrets(said)[-_MOST_WORDS:]}"

    def _note(self, key: str) -> Path:
        return self._folder / f"{key}.json"
