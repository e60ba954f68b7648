"""What steps print: bounded, without secrets, in chunks on their way to the platform."""

from __future__ import annotations

import time
from collections.abc import Callable

from headway.engines.pipelines.failures import without_secrets

KEPT_BYTES = 1 << 20
"""So much of a step's output is kept from its beginning."""
TAIL_BYTES = 64 * 1024
"""And so much of its end, when there is more."""
_CHUNK = 16 * 1024
_EVERY_S = 0.5


class StepOutput:
    """Takes bytes as they come, and hands on whole lines: to `tell` about every half second, to `echo` at once."""

    def __init__(self, tell: Callable[[str], None], echo: Callable[[str], None] = lambda line: None) -> None:
        self._tell, self._echo = tell, echo
        self._line, self._unsent = bytearray(), ""
        self._kept, self._tail, self._left_out = 0, "", 0
        self._told_at = time.monotonic()

    def feed(self, data: bytes) -> None:
        self._line += data
        whole, found, rest = self._line.rpartition(b"\n")
        if found:
            self._line = bytearray(rest)
            self._take(bytes(whole) + b"\n")
        elif len(self._line) > _CHUNK:
            self._line, line = bytearray(), bytes(self._line)
            self._take(line)

    def tick(self) -> None:
        """Hand on what has waited for long enough."""
        if self._unsent and (len(self._unsent) > _CHUNK or time.monotonic() - self._told_at > _EVERY_S):
            self._send()

    def close(self) -> None:
        """Hand on the rest; of what was too much, the end, and how much is missing between."""
        if self._line:
            self._take(bytes(self._line))
        if self._tail:
            self._unsent += f"\n... {self._left_out} characters of the output were not kept ...\n" * bool(
                self._left_out
            )
            self._unsent += self._tail
        if self._unsent:
            self._send()

    def _take(self, data: bytes) -> None:
        text = without_secrets(data.decode(errors="replace").replace("\0", "\ufffd"))
        self._echo(text)
        room = max(KEPT_BYTES - self._kept, 0)
        self._kept += len(text)
        self._unsent += text[:room]
        if len(text) > room:
            tail = self._tail + text[room:]
            self._tail = tail[-TAIL_BYTES:]
            self._left_out += len(tail) - len(self._tail)
        self.tick()

    def _send(self) -> None:
        text, self._unsent = self._unsent, ""
        self._told_at = time.monotonic()
        self._tell(text)
