"""Logging calls, gathered and sent together."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable

from headway.errors import HeadwayError, Unavailable
from headway.lifecycle.runs.records import LogBatch

FLUSH_EVERY_S = 1.0
FLUSH_AT = 1000
"""Metric points that are sent without waiting any longer."""
_MOST_AT_ONCE = 5000


class Buffer:
    """Sends what was added every second, when it is large, and when it is closed, in the order in which it came.

    A batch that the server refuses is dropped; one that did not get through stays for the next try. Either error is
    raised by the next `add`, `flush` or `close`, whichever comes first. Calls from any thread are fine.
    """

    def __init__(self, send: Callable[[LogBatch], None], *, every_s: float = FLUSH_EVERY_S) -> None:
        self._send, self._every_s = send, every_s
        self._pending: list[LogBatch] = []
        self._points = 0
        self._adding, self._sending = threading.Lock(), threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: HeadwayError | None = None

    def add(self, batch: LogBatch) -> None:
        self._raise_kept()
        with self._adding:
            self._pending.append(batch)
            self._points += len(batch.metrics)
            full = self._points >= FLUSH_AT
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._keep_flushing, name="headway-log", daemon=True)
                self._thread.start()
                atexit.register(self._flush_quietly)
        if full:
            self.flush()

    def flush(self) -> None:
        """Send everything that was added before this call, and raise what went wrong since the last."""
        self._deliver()
        self._raise_kept()

    def close(self) -> None:
        """Flush, and stop flushing by itself."""
        self._closed.set()
        atexit.unregister(self._flush_quietly)
        self.flush()

    def _keep_flushing(self) -> None:
        while not self._closed.wait(self._every_s):
            self._flush_quietly()

    def _flush_quietly(self) -> None:
        try:
            self._deliver()
        except HeadwayError as error:
            self._error = error

    def _deliver(self) -> None:
        with self._sending:
            while taken := self._take():
                try:
                    self._send(_together(taken))
                except Unavailable:
                    with self._adding:
                        self._pending[:0] = taken
                        self._points += _points(taken)
                    raise

    def _take(self) -> list[LogBatch]:
        """The oldest batches, as many as fit into one request."""
        with self._adding:
            size = points = 0
            while size < len(self._pending) and (not size or points < _MOST_AT_ONCE):
                points += len(self._pending[size].metrics)
                size += 1
            taken, self._pending = self._pending[:size], self._pending[size:]
            self._points -= points
            return taken

    def _raise_kept(self) -> None:
        error, self._error = self._error, None
        if error:
            raise error


def _points(batches: list[LogBatch]) -> int:
    return sum(len(batch.metrics) for batch in batches)


def _together(batches: list[LogBatch]) -> LogBatch:
    params = {key: value for batch in batches for key, value in batch.params.items()}
    tags = {key: value for batch in batches for key, value in batch.tags.items()}
    return LogBatch(params=params, tags=tags, metrics=tuple(metric for batch in batches for metric in batch.metrics))
