"""How long a client may take: what has not moved between looks for too long is ended.

When something stopped is noted when it is looked at, so that a request costs no timer and no clock; what ends is late
by a look at most.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from headway.serving.http2.codes import Code
from headway.serving.http2.outgoing import Outgoing
from headway.serving.http2.since import Since
from headway.serving.http2.stream import Stream
from headway.serving.http2.streams import Streams

LINGER_S = 1.0
"""How long a refused client may go on sending: closing at once would reset the connection under its answers. And how
long it may take to hear that it shall leave."""


class Watched(Protocol):
    """What there is to see of a connection, and how it is ended."""

    transport: asyncio.Transport
    streams: Streams
    out: Outgoing
    must: int | None
    reads: int
    is_over: bool

    @property
    def is_draining(self) -> bool: ...

    @property
    def is_midway(self) -> bool: ...

    def drain(self) -> None: ...

    def leave(self) -> None: ...

    def end(self, code: Code, reason: str) -> None: ...


class Patience:
    """With one connection."""

    def __init__(self, timeout_s: float, keep_alive_s: float) -> None:
        self._timeout_s, self._keep_alive_s = timeout_s, keep_alive_s
        self._closing, self._behind, self._midway = Since(), Since(), Since()
        self._draining, self._idle = Since(), Since()

    def look(self, connection: Watched, now: float) -> None:
        streams = connection.streams
        if connection.is_over:
            self._look_at_end(connection, now)
        elif self._behind.lasts_s(_taking(connection), now) >= self._timeout_s:
            connection.transport.abort()
        elif self._midway.lasts_s(_begun(connection), now) >= self._timeout_s:
            connection.end(Code.NO_ERROR, f"a frame was not whole after {self._timeout_s:g} s")
        elif self._draining.lasts_s(connection.is_draining or None, now) >= LINGER_S:
            connection.leave()
        elif self._idle.lasts_s(None if streams.open else streams.last, now) >= self._keep_alive_s:
            connection.drain()
        else:
            for stream in list(streams.open.values()):
                self._look_at(stream, streams, now)

    def _look_at_end(self, connection: Watched, now: float) -> None:
        """The last bytes are on their way."""
        left = connection.transport.get_write_buffer_size()
        if self._closing.lasts_s(left, now) >= (self._timeout_s if left else LINGER_S):
            connection.transport.abort()

    def _look_at(self, stream: Stream, streams: Streams, now: float) -> None:
        if stream.ended and stream.rest is None:
            return  # it is being answered
        stream.since = stream.since or Since()
        if stream.since.lasts_s(len(stream.rest or b""), now) < self._timeout_s:
            return
        if stream.ended:  # it does not take its answer
            streams.reset(stream.number, Code.CANCEL)
        else:
            streams.refuse(stream, 408, f"the request was not whole after {self._timeout_s:g} s")


def _taking(connection: Watched) -> object:
    """What the client is sent, while it is behind with that."""
    out = connection.out
    return (out.pauses, connection.transport.get_write_buffer_size()) if out.paused else None


def _begun(connection: Watched) -> object:
    """What the client has begun to say and not ended; the same for as long as it is the same."""
    if connection.must is not None:
        return connection.must, connection.streams.blocks.number
    return connection.reads if connection.is_midway else None
