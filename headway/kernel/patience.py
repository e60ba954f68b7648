"""How long an asker waits for a question, and how whoever answers it is told to stop.

The server ends the patience of a request whose client has gone, or whose question takes too long; the storage lets each
read be stopped by it. A write is not: it is carried out whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from headway.errors import HeadwayError


class Patience:
    """That of one request. Its thread reads, another one may end it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop: Callable[[], None] | None = None
        self._began = 0.0
        self.reason: HeadwayError | None = None
        """Why it ended."""

    def end(self, reason: HeadwayError) -> None:
        """Stop what is being read, and let nothing more begin."""
        with self._lock:
            self.reason = self.reason or reason
            if self._stop is not None:
                self._stop()

    @contextmanager
    def lasting(self, stop: Callable[[], None]) -> Iterator[None]:
        """While something is read that `stop`, called from another thread, interrupts. Raises the reason of the end
        when there was one before."""
        with self._lock:
            if self.reason is not None:
                raise self.reason
            self._stop, self._began = stop, time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._stop = None

    @property
    def waited_s(self) -> float:
        """How long it has been reading, 0 when it does not."""
        with self._lock:
            return time.monotonic() - self._began if self._stop is not None else 0.0


PATIENCE: ContextVar[Patience | None] = ContextVar("patience", default=None)
"""That of the request which this thread answers, if it may be stopped."""
