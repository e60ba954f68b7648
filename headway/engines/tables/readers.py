"""The readers of a control plane: started when needed, replaced when a table ended one, never more than a few."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Sequence
from queue import Empty, LifoQueue

from headway.engines.tables.questions import MIB, Question
from headway.engines.tables.reader import Gone, Killed, Reader, Wanted
from headway.errors import Invalid, Unavailable

COMMAND = (sys.executable, "-P", "-m", "headway.engines.tables.reading")
TIME_LIMIT_S = 60.0
_LOG = logging.getLogger("headway.readers")


def memory_limit_bytes() -> int:
    """A quarter of this machine's memory, and 4 GiB at least: two readers leave half to all others."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(4096 * MIB, physical // 4)


class Readers:
    """At most `processes` of them, each of which answers one question at a time.

    A question may take `time_limit_s`, and wait as long for a reader that is free. `command` gets the bytes of
    address space that a reader may have as its last argument.
    """

    def __init__(
        self,
        *,
        processes: int = 2,
        time_limit_s: float = TIME_LIMIT_S,
        memory_bytes: int | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._time_limit_s, self._memory_bytes = time_limit_s, memory_bytes or memory_limit_bytes()
        self._command = (*command, str(self._memory_bytes))
        self._lock = threading.Lock()
        self._closed = False
        self._running: list[Reader] = []
        self._free: LifoQueue[Reader | None] = LifoQueue()  # the last one used comes first: others may never start
        for _ in range(processes):
            self._free.put(None)

    def ask(self, question: Question, wanted: type[Wanted]) -> Wanted:
        """The answer, read as `wanted`.

        Raises what looking at the table raised; `Invalid` for a table that ended its reader or took too long;
        `Unavailable` when no reader starts or is free.
        """
        try:
            try:
                return self._ask(question, wanted)
            except Killed:
                return self._ask(question, wanted)
        except Gone as reason:
            raise Invalid(
                f"this Parquet file cannot be read ({reason}): it is damaged, or needs more than "
                f"{self._memory_bytes // MIB} MiB or {self._time_limit_s:g} s; write it again, or send it in parts"
            ) from reason

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that run now."""
        with self._lock:
            return tuple(reader.pid for reader in self._running if reader.alive)

    def close(self) -> None:
        """End all of them, whatever they do; who waits for an answer gets `Unavailable`."""
        with self._lock:
            self._closed = True
            for reader in self._running:
                reader.end()

    def _ask(self, question: Question, wanted: type[Wanted]) -> Wanted:
        try:
            reader = self._free.get(timeout=self._time_limit_s)
        except Empty:
            raise Unavailable("all readers of tables are busy with others; send it again later") from None
        try:
            if reader is None or not reader.alive:
                reader = self._started()
            return reader.ask(question, wanted, self._time_limit_s)
        except Gone as reason:
            if self._closed:
                raise Unavailable("the platform is being closed; send it again when it is back") from reason
            _LOG.warning("a table was not read: %s; last words: %r", reason, reader.said if reader else "")
            raise
        finally:
            self._free.put(reader)

    def _started(self) -> Reader:
        with self._lock:
            if self._closed:
                raise Unavailable("the platform is closed; connect again")
            for reader in [reader for reader in self._running if not reader.alive]:
                reader.end()
                self._running.remove(reader)
            try:
                fresh = Reader(self._command)
            except OSError as error:
                raise Unavailable(f"no reader of tables starts: {error}; see to it, then send it again") from error
            self._running.append(fresh)
        fresh.ready()
        return fresh
