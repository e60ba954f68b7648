"""One request and its answer: what a connection knows of a stream, and what it asks of who answers."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, NamedTuple, Protocol

from headway.serving.http2.requests import Request
from headway.serving.http2.since import Since


class Reply(NamedTuple):
    """Field blocks from `hpack.encode`, and what stands between them. Without a body, `head` is all."""

    head: bytes
    body: bytes = b""
    trailers: bytes = b""


class Application(Protocol):
    """What answers requests that are whole."""

    most_bytes: int
    """The largest body of a request."""

    def asked(self, request: Request) -> Any:
        """What a request asks by its head: the same for every one with this head, so that it may be kept. A `Reply`
        refuses it at once."""
        ...

    def answer(self, asked: Any, body: bytes, stream: Stream) -> Reply | Awaitable[Reply] | None:
        """None when `stream.tell` will be called at the end of this turn of the event loop, maybe with a reply that
        has to be waited for."""
        ...

    def refuse(self, status: int, reason: str) -> Reply:
        """The reply to what is refused here, by a status of HTTP: 408, 413, 429, 431 or 500."""
        ...

    def end_turn(self) -> None:
        """Tell now what else is told at the end of this turn."""
        ...

    def arrived_ns(self) -> int: ...


class Telling(Protocol):
    def tell(self, stream: Stream, reply: Reply | Awaitable[Reply]) -> None: ...


class Stream:
    __slots__ = (
        "_to", "arrived_ns", "asked", "body", "credit", "ended", "gone", "number", "peer", "rest", "since", "size",
        "trailers",
    )  # fmt: skip

    def __init__(self, to: Telling, number: int, asked: Any, size: int | None, peer: bytes, arrived_ns: int) -> None:
        self._to, self.number, self.asked, self.size = to, number, asked, size
        self.peer, self.arrived_ns = peer, arrived_ns
        """The client's address, and when its request began."""
        self.ended = False
        """Whether the request is whole."""
        self.gone = False
        """Whether nobody waits for the answer any more."""
        self.body: bytes | bytearray = b""
        """What came of the request before its last frame."""
        self.credit = 0
        """How many bytes more than the initial window may be sent."""
        self.rest: memoryview | None = None
        """What is left of an answer that waits to be sent."""
        self.trailers = b""
        self.since: Since | None = None
        """Since when it has not moved, once somebody has looked."""

    def tell(self, reply: Reply | Awaitable[Reply]) -> None:
        """The reply to a request that was put off."""
        self._to.tell(self, reply)
