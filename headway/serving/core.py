"""What the fronts of a model server stand before: one deployment, or several."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from headway.serving.door import Door
from headway.serving.messages import Answer, Head
from headway.serving.turn import Tell, Turn


class Core(Protocol):
    """What a front needs of that which answers."""

    most_bytes: int
    door: Door
    turn: Turn

    async def start(self) -> None: ...

    async def meet(self) -> None: ...

    async def stop(self) -> None: ...

    def put_off(self, path: str, head: Head, body: bytes, peer: bytes, tell: Tell) -> bool:
        """Whether `tell` is given the answer to a POST at the end of this turn of the event loop, which may then still
        have to be waited for. The head may be that of other requests, too, so that the address of the client, `peer`,
        stands beside it."""
        ...

    def respond(self, method: str, path: str, head: Head, body: bytes | None) -> Answer | Awaitable[Answer]: ...
