"""What one connection sends: frames, gathered until the end of a turn, and answers as far as windows let them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from headway.serving.http2 import frames
from headway.serving.http2.codes import Code, ConnectionFault
from headway.serving.http2.flow import LARGEST_BURST, Sending
from headway.serving.http2.frames import END_HEADERS, END_STREAM, frame
from headway.serving.http2.hpack import EMPTY_TABLE
from headway.serving.http2.stream import Reply, Stream


class Outgoing:
    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._frames, self._sending = transport, list[bytes](), Sending()
        self._prefix = b""
        self.paused, self.pauses = False, 0

    @property
    def waits(self) -> bool:
        """Whether answers wait for their windows."""
        return bool(self._sending.waiting)

    @property
    def held(self) -> int:
        """Bytes of the answers that wait."""
        return self._sending.held

    def put(self, frame: bytes) -> None:
        self._frames.append(frame)

    def reply(self, stream: Stream, reply: Reply) -> bool:
        """Whether all of it can go at once; otherwise `pump` goes on with it."""
        head, body, trailers = reply
        number = stream.number
        if self._prefix:
            head, self._prefix = self._prefix + head, b""
        if not body:
            self._frames.append(frame(frames.HEADERS, END_HEADERS | END_STREAM, number, head))
            return True
        self._frames.append(frame(frames.HEADERS, END_HEADERS, number, head))
        if not self._sending.takes(stream, len(body)):
            self._sending.put(stream, body, trailers)
            return False
        self._frames.append(frame(frames.DATA, 0, number, body))
        self._frames.append(frame(frames.HEADERS, END_HEADERS | END_STREAM, number, trailers))
        return True

    def pump(self) -> tuple[int, list[Stream]]:
        """Send what windows take by now of the answers that wait. Tells how many frames that was, and the streams that
        are done."""
        count, done = 0, list[Stream]()
        while self._sending.waiting and not self.paused:
            sent, ended = self._sending.burst()
            if not sent:
                break
            count += len(sent)
            done += ended
            self._frames += sent
            self.flush()  # so that the transport says when the client is behind
        return count, done

    def forget(self, stream: Stream) -> None:
        self._sending.drop(stream)

    def flush(self) -> None:
        if self._frames:
            self._transport.write(b"".join(self._frames))
            self._frames.clear()

    # What the client asks of it.

    def widen(self, stream: Stream | None, more: int) -> None:
        """The window of a stream, or of the connection."""
        if stream is None:
            self._sending.widen(more)
        else:
            self._sending.widen_stream(stream, more)

    def set(self, name: int, value: int, streams: Iterable[Stream]) -> None:
        """A setting of the client's; raises `ConnectionFault` when it is out of bounds."""
        if name == frames.INITIAL_WINDOW_SIZE:
            self._sending.resize(value, streams)
        elif name == frames.MAX_FRAME_SIZE:
            if not frames.FRAME_BYTES <= value <= frames.LARGEST_FRAME_BYTES:
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"frames of {value} bytes are out of bounds")
            self._sending.frame_bytes = min(value, LARGEST_BURST)
        elif name == frames.HEADER_TABLE_SIZE:
            self._prefix = EMPTY_TABLE
        elif name == frames.ENABLE_PUSH and value > 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
