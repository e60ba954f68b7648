"""One connection of HTTP/2 (RFC 9113): its frames, with bounds on what a client may send.

Requests are answered whole, so that the window of a stream is as large as a body may be and is never widened. There
are no timers: the listener looks at each connection every second (`patience.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from headway.serving.http2 import frames
from headway.serving.http2.blocks import LIST_BYTES
from headway.serving.http2.codes import Code, ConnectionFault, StreamFault
from headway.serving.http2.flow import Receiving
from headway.serving.http2.frames import END_HEADERS, END_STREAM, HEAD_BYTES, LAST_STREAM, frame
from headway.serving.http2.outgoing import Outgoing
from headway.serving.http2.patience import Patience
from headway.serving.http2.stream import Application
from headway.serving.http2.streams import MOST_STREAMS, Streams

_LEAVE = b"headway!"
"""The ping whose answer says that the client has heard that it shall leave."""

log = logging.getLogger(__name__)


class Listening(Protocol):
    """What a connection needs of the listener that accepted it."""

    application: Application
    request_timeout_s: float
    keep_alive_s: float
    connections: set[Connection]


class Connection(asyncio.Protocol):
    """Reads frames however the network has cut them, and closes with GOAWAY on the first that breaks the rules."""

    def __init__(self, listener: Listening) -> None:
        self._listener, self._receiving, self._rest = listener, Receiving(), b""
        self._patience = Patience(listener.request_timeout_s, listener.keep_alive_s)
        self.must: int | None = frames.SETTINGS
        """The only type that the next frame may have."""
        self.reads = 0
        """How often frames were read."""
        self.is_over = False
        """Whether nothing is read any more."""
        self._greeted = self._draining = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport, self.out = transport, Outgoing(transport)
        application, name = self._listener.application, transport.get_extra_info("peername")
        self.streams = Streams(application, self.out, str(name[0]).encode() if name else b"", self._flush)
        self._listener.connections.add(self)
        window = min(application.most_bytes + frames.FRAME_BYTES, frames.LARGEST_WINDOW)
        promised = (
            (frames.MAX_CONCURRENT_STREAMS, MOST_STREAMS), (frames.INITIAL_WINDOW_SIZE, window),
            (frames.MAX_HEADER_LIST_SIZE, LIST_BYTES),
        )  # fmt: skip
        transport.write(frames.settings(promised) + frames.window_update(0, Receiving.FIRST))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        self.streams.lose()
        self._listener.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if self.is_over:
            return
        if self._rest:
            data = self._rest + data
        try:
            at = self._read(data)
            self._rest = data[at:]
            self.reads += at > 0
        except ConnectionFault as fault:
            self.end(fault.code, fault.reason)
        except Exception:
            log.exception("connection failed")
            self.end(Code.INTERNAL_ERROR, "the server failed")
        if not self.streams.owed:
            self._flush()

    def eof_received(self) -> bool:
        """Whether the connection stays open: while answers are owed to a client that has said all that it will."""
        self.streams.settle()
        self.streams.is_closed = True
        return bool(self.streams.open)

    def pause_writing(self) -> None:
        self.out.paused = True
        self.out.pauses += 1
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.out.paused = False
        self.transport.resume_reading()
        self._flush()

    # Frames.

    def _read(self, data: bytes) -> int:
        """Take the frames that are whole; tells where the first one begins that is not."""
        at, end = 0, len(data)
        if not self._greeted:
            at = self._greet(data)
        while self._greeted and end - at >= HEAD_BYTES:
            upper, lower, kind, flags, number = frames.read_head(data, at)
            begin = at + HEAD_BYTES
            stop = begin + (upper << 8 | lower)
            if stop - begin > frames.FRAME_BYTES:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame may have {frames.FRAME_BYTES} bytes")
            if stop > end:
                break
            if self.must is not None and kind != self.must:
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"a frame of type {self.must} must come here, not {kind}")
            number &= LAST_STREAM
            try:
                _TAKERS.get(kind, Connection._take_unknown)(self, flags, number, data[begin:stop])
            except StreamFault as fault:
                self.streams.reset(number, fault.code)
                self.streams.budget.spend()
            at = stop
        return at

    def _greet(self, data: bytes) -> int:
        size = len(frames.PREFACE)
        if data[:size] != frames.PREFACE[: len(data)]:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "this port speaks gRPC: HTTP/2, without TLS")
        self._greeted = len(data) >= size
        return size if self._greeted else 0

    def _take_headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a client's streams have odd numbers")
        if flags & (frames.PADDED | frames.WITH_PRIORITY):
            payload = frames.fragment(payload, flags)
        if flags & END_HEADERS:
            self.streams.begin(number, payload, flags & END_STREAM)
        else:
            self.must = frames.CONTINUATION
            self.streams.blocks.begin(number, flags & END_STREAM, payload)

    def _take_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self.must is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "there is no block to continue")
        self.streams.blocks.go_on(number, payload)
        if flags & END_HEADERS:
            self.must = None
            self.streams.begin(*self.streams.blocks.end())

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        if more := self._receiving.take(len(payload)):
            self.out.put(frames.window_update(0, more))
        if flags & frames.PADDED:
            payload = frames.unpadded(payload, flags)
        self.streams.take(number, payload, flags & END_STREAM)

    def _take_reset(self, _: int, number: int, payload: bytes) -> None:
        frames.number_in(payload)
        self.streams.budget.spend()
        self.streams.drop(number)

    def _take_settings(self, flags: int, number: int, payload: bytes) -> None:
        _must_be_of_connection(number)
        self.streams.budget.spend()
        if flags & frames.ACK:
            frames.must_have(payload, 0)
            return
        self.must = None
        for name, value in frames.settings_in(payload):
            self.out.set(name, value, self.streams.open.values())
        self.out.put(frame(frames.SETTINGS, frames.ACK, 0))

    def _take_ping(self, flags: int, number: int, payload: bytes) -> None:
        _must_be_of_connection(number)
        frames.must_have(payload, frames.PING_BYTES)
        self.streams.budget.spend()
        if not flags & frames.ACK:
            self.out.put(frame(frames.PING, frames.ACK, 0, payload))
        elif self._draining and payload == _LEAVE:
            self.leave()

    def _take_window_update(self, _: int, number: int, payload: bytes) -> None:
        more = frames.number_in(payload)
        self.streams.budget.spend()
        stream = self.streams.opened(number) if number else None
        if stream or not number:
            self.out.widen(stream, more)

    def _take_goaway(self, _: int, number: int, payload: bytes) -> None:
        """The client takes no pushes, of which there are none; it closes once it has its answers."""
        _must_be_of_connection(number)
        self.streams.budget.spend()

    def _take_priority(self, _: int, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a priority is of a stream")
        frames.check_priority(payload)
        self.streams.budget.spend()

    def _take_push(self, _: int, number: int, payload: bytes) -> None:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "a client does not push")

    def _take_unknown(self, _: int, number: int, payload: bytes) -> None:
        """Of an extension: the protocol wants it overlooked."""
        self.streams.budget.spend()

    def _flush(self) -> None:
        """Send what there is to say by now."""
        if self.is_over:
            return
        if self.out.waits:
            self.streams.pump()
        self.out.flush()
        if self.streams.is_closed and not self.streams.open:
            self.is_over, self._rest = True, b""
            if self.transport.can_write_eof():
                self.transport.write_eof()

    # Ends.

    def look(self, now: float) -> None:
        """Asked every second: end what has not moved for too long."""
        self.streams.budget.refill()
        self._patience.look(self, now)
        self._flush()

    def drain(self) -> None:
        """Ask the client to open no more streams. Those that it opens before it has heard that are answered."""
        if self.must == frames.SETTINGS:
            self.transport.close()
        elif not (self._draining or self.is_over):
            self._draining = True
            self.out.put(frames.goaway(LAST_STREAM, Code.NO_ERROR))
            self.out.put(frame(frames.PING, 0, 0, _LEAVE))
            if not self.streams.owed:
                self._flush()

    def leave(self) -> None:
        """Take no more streams, and close once those that are there are answered."""
        if not self.streams.is_closed:
            self.streams.is_closed = True
            self.out.put(frames.goaway(self.streams.last, Code.NO_ERROR))

    def end(self, code: Code, reason: str) -> None:
        """Close, behind what is still to be told in this turn."""
        self.streams.settle()
        self.out.put(frames.goaway(self.streams.last, code, reason))
        self.streams.abandon()
        self.streams.is_closed = True

    @property
    def is_draining(self) -> bool:
        """Whether it is not known yet that the client has heard that it shall leave."""
        return self._draining and not self.streams.is_closed

    @property
    def is_midway(self) -> bool:
        """Whether a frame has begun that is not whole."""
        return bool(self._rest)


def _must_be_of_connection(number: int) -> None:
    if number:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "this frame is of the connection, not of a stream")


_TAKERS: dict[int, Callable[[Connection, int, int, bytes], None]] = {
    frames.DATA: Connection._take_data,
    frames.HEADERS: Connection._take_headers,
    frames.PRIORITY: Connection._take_priority,
    frames.RST_STREAM: Connection._take_reset,
    frames.SETTINGS: Connection._take_settings,
    frames.PUSH_PROMISE: Connection._take_push,
    frames.PING: Connection._take_ping,
    frames.GOAWAY: Connection._take_goaway,
    frames.WINDOW_UPDATE: Connection._take_window_update,
    frames.CONTINUATION: Connection._take_continuation,
}
