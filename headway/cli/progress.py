"""A line that says how far long work has come: written over on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from headway.cli.wording import size

_ON_TERMINAL_S, _ELSEWHERE_S = 0.1, 10.0


class Progress:
    """On standard error, so that what a command prints can be piped on."""

    def __init__(self, verb: str, *, hidden: bool = False, unit: str = "rows") -> None:
        self._unit = unit
        self._verb, self._hidden, self._terminal = verb, hidden, sys.stderr.isatty()
        self._said = time.monotonic()
        self.begin(0, 0)

    def begin(self, rows: int, done: int) -> None:
        """There are `rows` to do, 0 if that is not known, and `done` were done before."""
        self._of, self._done, self._first, self._began = rows, done, done, time.monotonic()

    def advance(self, rows: int) -> None:
        self._done += rows
        if not self._hidden and time.monotonic() - self._said > (_ON_TERMINAL_S if self._terminal else _ELSEWHERE_S):
            self._said = time.monotonic()
            self._say("\r" if self._terminal else "", "" if self._terminal else "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal and not self._hidden:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _say(self, start: str, end: str) -> None:
        rate = (self._done - self._first) / (time.monotonic() - self._began)
        if self._unit == "bytes":
            whole = f" of {size(self._of)}" if self._of else ""
            text = f"{self._verb} {size(self._done)}{whole}, {size(int(rate))} a second"
        else:
            whole = f" of {self._of:,}" if self._of else ""
            text = f"{self._verb} {self._done:,}{whole} {self._unit}, {rate:,.0f} a second"
        print(f"{start}{text:<70}", end=end, file=sys.stderr, flush=True)
