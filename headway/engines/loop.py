"""A loop in a thread of its own, around one step that can be called by itself in a test."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_LOG = logging.getLogger("headway.engines")
_LONGEST_PAUSE_S = 30.0
_BREATH_S = 0.05
"""Between two steps at least, however much news there is: a busy server would do nothing else."""


class Loop:
    """Calls `step` again and again; `news` waits between two calls and may be cut short, and without it the pause is
    `pause_s` whole, unless the loop is stopped.

    An exception is logged and met with a growing pause: a loop never dies of what one step met.
    """

    def __init__(
        self, name: str, step: Callable[[], None], pause_s: float, news: Callable[[float], object] | None = None
    ) -> None:
        self._stopping = threading.Event()
        self._step, self._pause_s, self._pause = step, pause_s, news or self._stopping.wait
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the loop to end and wait for its step."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_LONGEST_PAUSE_S)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._step()
                failures = 0
            except Exception:
                failures += 1
                _LOG.exception("%s failed and goes on", self._thread.name)
            if failures:
                self._stopping.wait(min(self._pause_s * 2**failures, _LONGEST_PAUSE_S))
            elif not self._stopping.is_set():
                self._pause(self._pause_s)
                self._stopping.wait(_BREATH_S)
