"""What captured rows that wait to be written may take of a process's memory, however many deployments it serves."""

from __future__ import annotations

from typing import Protocol

from headway.serving.heap import Heap

MOST_BYTES = 32 * 2**20
_EARLY = 0.5
"""Of the most: from there on the fullest is written before its time."""


class Holder(Protocol):
    waiting_bytes: int
    """What it has taken and could write now."""

    def hurry(self) -> None:
        """Write it soon."""
        ...


class Budget:
    """Shared by the captures of a process; used on the event loop alone."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes, self._early_bytes = most_bytes, most_bytes * _EARLY
        self._holders: list[Holder] = []
        self._taken = 0
        self._hurried = False
        self.heap = Heap()

    def join(self, holder: Holder) -> None:
        """Be asked to hurry when the budget is half used up and none has more waiting."""
        self._holders.append(holder)

    def leave(self, holder: Holder) -> None:
        self._holders.remove(holder)

    def take(self, size: int) -> bool:
        """Whether so many bytes may be kept."""
        taken = self._taken + size
        if taken > self._most_bytes:
            return False
        self._taken = taken
        if taken > self._early_bytes and not self._hurried and self._holders:
            self._hurried = True
            max(self._holders, key=lambda holder: holder.waiting_bytes).hurry()
        return True

    def give(self, size: int) -> None:
        """These are kept no more."""
        self._taken -= size
        self._hurried = False
