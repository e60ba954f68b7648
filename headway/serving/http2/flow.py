"""How much may be sent: the windows that a client opens, and the answers that wait for them (RFC 9113, 5.2)."""

from __future__ import annotations

from collections.abc import Iterable

from headway.serving.http2 import frames
from headway.serving.http2.codes import Code, ConnectionFault, StreamFault
from headway.serving.http2.frames import frame
from headway.serving.http2.stream import Stream

LARGEST_BURST = 2**18
"""Bytes that are sent of the waiting answers before it is asked again whether the client takes them."""


class Sending:
    """The windows of one connection."""

    def __init__(self) -> None:
        self.window = self.initial = frames.INITIAL_WINDOW
        self.frame_bytes = frames.FRAME_BYTES
        self.waiting: dict[int, Stream] = {}
        self.held = 0
        """Bytes of the answers that wait."""

    def takes(self, stream: Stream, size: int) -> bool:
        """Whether so many bytes can go at once, in one frame; they are deducted then."""
        if self.waiting or size > self.window or size > self.frame_bytes or size > self.initial + stream.credit:
            return False
        self.window -= size
        return True

    def put(self, stream: Stream, body: bytes, trailers: bytes) -> None:
        stream.rest, stream.trailers = memoryview(body), trailers
        self.waiting[stream.number] = stream
        self.held += len(body)

    def drop(self, stream: Stream) -> None:
        if self.waiting.pop(stream.number, None) and stream.rest is not None:
            self.held -= len(stream.rest)

    def burst(self) -> tuple[list[bytes], list[Stream]]:
        """What can be sent now, a frame of each stream in turn, and the streams that are done with it."""
        out, done, before = list[bytes](), list[Stream](), self.held
        if self.window <= 0:
            return out, done
        ready = [stream for stream in self.waiting.values() if self.initial + stream.credit > 0]
        while ready and self.window > 0 and before - self.held < LARGEST_BURST:
            ready = [stream for stream in ready if self.window > 0 and self._send(stream, out)]
        for stream in [each for each in self.waiting.values() if not each.rest]:
            out.append(frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream.number, stream.trailers))
            del self.waiting[stream.number]
            done.append(stream)
        return out, done

    def _send(self, stream: Stream, out: list[bytes]) -> bool:
        """Whether more of it can be sent afterwards."""
        assert stream.rest is not None
        size = min(len(stream.rest), self.frame_bytes, self.window, self.initial + stream.credit)
        out.append(frame(frames.DATA, 0, stream.number, stream.rest[:size]))
        self.window -= size
        self.held -= size
        stream.credit -= size
        stream.rest = stream.rest[size:]
        return bool(stream.rest) and self.initial + stream.credit > 0

    def widen(self, more: int) -> None:
        if not more:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a window is widened by nothing")
        self.window += more
        if self.window > frames.LARGEST_WINDOW:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the window of the connection is too wide")

    def widen_stream(self, stream: Stream, more: int) -> None:
        if not more:
            raise StreamFault(Code.PROTOCOL_ERROR)
        stream.credit += more
        if self.initial + stream.credit > frames.LARGEST_WINDOW:
            raise StreamFault(Code.FLOW_CONTROL_ERROR)

    def resize(self, initial: int, streams: Iterable[Stream]) -> None:
        """Of all streams, also those that are open; their windows may be less than nothing then."""
        if max((stream.credit for stream in streams), default=0) + initial > frames.LARGEST_WINDOW:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the initial window is too wide")
        self.initial = initial


class Receiving:
    """The window of one connection that the client sends into. It is kept open, so that nobody runs over it: what one
    stream may send is bounded by its own window, and what all may by how much is held of them (`streams.py`)."""

    WINDOW = 2**24
    FIRST = WINDOW - frames.INITIAL_WINDOW
    """By how much it is to be widened at the beginning."""
    _AGAIN_BELOW = 2**23

    def __init__(self) -> None:
        self._window = self.WINDOW

    def take(self, size: int) -> int:
        """By how much the window is to be widened, once so many bytes have come."""
        self._window -= size
        if self._window >= self._AGAIN_BELOW:
            return 0
        more = self.WINDOW - self._window
        self._window = self.WINDOW
        return more
