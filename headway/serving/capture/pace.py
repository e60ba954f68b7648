"""How often captured rows are written where many deployments share a process: one after the other, and seldom enough
that all of them together leave the processor to requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SHORTEST_S, LONGEST_S = 0.5, 5.0
_SHARE = 0.05
"""Of one processor, for segments of a few rows; beyond it they are written less often."""
_FORGET = 0.1
_FIRST_COST_S = 0.002


class Pace:
    """Shared by the captures of a process; used on the event loop alone."""

    def __init__(self) -> None:
        self.one_at_a_time = asyncio.Lock()
        self._waiting: list[Callable[[], bool]] = []
        self._cost_s = _FIRST_COST_S

    def join(self, waits: Callable[[], bool]) -> None:
        """Be counted whenever rows of this capture wait to be written."""
        self._waiting.append(waits)

    def leave(self, waits: Callable[[], bool]) -> None:
        self._waiting.remove(waits)

    def spent(self, cpu_s: float) -> None:
        """Writing one segment took this."""
        self._cost_s += (cpu_s - self._cost_s) * _FORGET

    def interval_s(self) -> float:
        writers = sum(waits() for waits in self._waiting)
        return min(max(SHORTEST_S, writers * self._cost_s / _SHARE), LONGEST_S)
