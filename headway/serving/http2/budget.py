"""How many frames that move nothing a client may send: pings, settings, resets, empty ones, and the like.

Each costs the server something and the client next to nothing. Who asks and takes answers has more of them to spend.
"""

from __future__ import annotations

from headway.serving.http2.codes import Code, ConnectionFault

MOST = 1000
"""Within a second, without an answer."""
ANSWER = 16
"""What an answer is worth."""


class Budget:
    """Of one connection."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MOST

    def spend(self) -> None:
        """Raises `ConnectionFault` when there is nothing left."""
        self._left -= 1
        if self._left < 0:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many frames that move nothing")

    def earn(self, frames: int) -> None:
        self._left = min(self._left + frames, MOST)

    def refill(self) -> None:
        self._left = MOST
