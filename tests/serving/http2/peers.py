"""What the tests of HTTP/2 share: a connection without a network, an application, and a client that writes frames."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple

import h2.config
import h2.connection
import h2.events
import hpack as other_hpack

from headway.serving.http2 import frames, hpack
from headway.serving.http2.codes import Code
from headway.serving.http2.connection import Connection
from headway.serving.http2.requests import Request
from headway.serving.http2.stream import Reply, Stream

HEAD = hpack.encode([(b":status", b"200"), (b"content-type", b"text/plain")])
TRAILERS = hpack.encode([(b"told", b"all")])
BODY_BYTES = 100_000
SETTINGS = frames.settings([])
HELLO = frames.PREFACE + SETTINGS


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent, self.buffered = bytearray(), 0
        self.reads, self.ended, self.aborted = True, False, False

    def write(self, data: Any) -> None:
        assert not self.ended
        self.sent += data

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def take(self) -> bytes:
        """What was written since it was last asked."""
        taken = bytes(self.sent)
        self.sent.clear()
        return taken


class Echo:
    """Answers a body with itself, at once or as the path says."""

    def __init__(self, most_bytes: int = BODY_BYTES) -> None:
        self.most_bytes = most_bytes
        self.heads, self.answered = 0, list[bytes]()
        self.put_off = list[tuple[Stream, bytes, bool]]()
        self.later = list[asyncio.Future[Reply]]()

    def asked(self, request: Request) -> Any:
        self.heads += 1
        return self.refuse(404, "nothing there") if request.path == b"/nothing" else request.path

    def answer(self, asked: bytes, body: bytes, stream: Stream) -> Reply | Awaitable[Reply] | None:
        self.answered.append(body)
        match asked:
            case b"/fails":
                raise RuntimeError("something unforeseen")
            case b"/turn" | b"/turn-later":
                self.put_off.append((stream, body, asked == b"/turn-later"))
                return None
            case b"/later":
                return self._later()
            case b"/size":
                return echoed(b"x" * int(body))
        return echoed(body)

    def _later(self) -> Awaitable[Reply]:
        self.later.append(asyncio.get_running_loop().create_future())
        return self.later[-1]

    def refuse(self, status: int, reason: str) -> Reply:
        return Reply(hpack.encode([(b":status", b"%d" % status), (b"reason", reason.encode())]))

    def end_turn(self) -> None:
        put_off, self.put_off = self.put_off, []
        for stream, body, later in put_off:
            stream.tell(self._later() if later else echoed(body))

    def arrived_ns(self) -> int:
        return 1


def echoed(body: bytes) -> Reply:
    return Reply(HEAD, body, TRAILERS)


class Place:
    """What accepts connections."""

    def __init__(self, application: Echo) -> None:
        self.application, self.connections = application, set[Connection]()
        self.request_timeout_s, self.keep_alive_s = 10.0, 100.0


class Line:
    """A connection, and the bytes on both of its ends."""

    def __init__(self, application: Echo | None = None, hello: bytes = HELLO) -> None:
        self.application, self.wire = application or Echo(), Wire()
        self.place = Place(self.application)
        self.connection = Connection(self.place)
        self.connection.connection_made(self.wire)
        if hello:
            self.say(hello)
            self.wire.take()

    def say(self, *sent: bytes) -> list[Frame]:
        """What is answered to it."""
        for data in sent:
            self.connection.data_received(data)
        return self.heard()

    def heard(self) -> list[Frame]:
        return frames_in(self.wire.take())

    def lose(self) -> None:
        self.connection.connection_lost(None)

    def is_clean(self) -> bool:
        """Whether nothing is kept of any request."""
        streams = self.connection.streams
        return not (
            streams.open or streams._held or streams.owed or self.connection.out.waits or self.connection.out.held
        )


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


def frames_in(data: bytes) -> list[Frame]:
    found, at = [], 0
    while at < len(data):
        upper, lower, kind, flags, stream = frames.read_head(data, at)
        at += frames.HEAD_BYTES + (upper << 8 | lower)
        found.append(Frame(kind, flags, stream, data[at - (upper << 8 | lower) : at]))
    assert at == len(data)
    return found


def goaway_of(found: Sequence[Frame]) -> tuple[int, Code] | None:
    """Last stream and code of the last GOAWAY."""
    for frame in reversed(found):
        if frame.kind == frames.GOAWAY:
            return int.from_bytes(frame.payload[:4]), Code(int.from_bytes(frame.payload[4:8]))
    return None


def resets_in(found: Sequence[Frame]) -> list[tuple[int, Code]]:
    return [(each.stream, Code(int.from_bytes(each.payload))) for each in found if each.kind == frames.RST_STREAM]


def answers_in(found: Sequence[Frame]) -> dict[int, tuple[int, bytes, bool]]:
    """By stream: status, body, and whether it is whole. Reads the blocks with another implementation."""
    told: dict[int, tuple[int, bytes, bool]] = {}
    decoder = other_hpack.Decoder()
    for frame in found:
        status, body, whole = told.get(frame.stream, (0, b"", False))
        if frame.kind == frames.HEADERS:
            fields = dict(decoder.decode(frame.payload, raw=True))
            status = int(fields.get(b":status", status))
        elif frame.kind == frames.DATA:
            body += frame.payload
        else:
            continue
        told[frame.stream] = status, body, whole or bool(frame.flags & frames.END_STREAM)
    return told


def block(path: bytes = b"/echo", *more: tuple[bytes, bytes]) -> bytes:
    return hpack.encode([(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), *more])


def headers(stream: int, path: bytes = b"/echo", *more: tuple[bytes, bytes], end: bool = False) -> bytes:
    flags = frames.END_HEADERS | (frames.END_STREAM if end else 0)
    return frames.frame(frames.HEADERS, flags, stream, block(path, *more))


def data(stream: int, body: bytes = b"", *, end: bool = True) -> bytes:
    return frames.frame(frames.DATA, frames.END_STREAM if end else 0, stream, body)


def asks(stream: int, body: bytes, path: bytes = b"/echo") -> bytes:
    """A request in as many frames as it takes."""
    parts = [body[at : at + frames.FRAME_BYTES] for at in range(0, len(body), frames.FRAME_BYTES)] or [b""]
    sent = [data(stream, part, end=False) for part in parts[:-1]]
    return b"".join((headers(stream, path), *sent, data(stream, parts[-1])))


class Client:
    """The client of the h2 package, at the other end of a line."""

    def __init__(self, application: Echo | None = None) -> None:
        self.line = Line(application, b"")
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.h2.initiate_connection()
        self.events: list[Any] = []
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.exchange()

    def exchange(self) -> None:
        """Carry bytes both ways until nobody has more to say."""
        while True:
            sent, heard = self.h2.data_to_send(), self.line.wire.take()
            if not sent and not heard:
                return
            if sent:
                self.line.connection.data_received(sent)
            for event in self.h2.receive_data(heard) if heard else ():
                self.events.append(event)
                if isinstance(event, h2.events.DataReceived):
                    self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                if isinstance(event, h2.events.StreamEnded):
                    self.ended.add(event.stream_id)

    def ask(self, body: bytes, path: bytes = b"/echo") -> int:
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(
            stream, [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", path)]
        )
        self.exchange()
        while len(body) > self.room(stream):
            size = self.room(stream)
            assert size
            self.h2.send_data(stream, body[:size])
            body = body[size:]
            self.exchange()
        self.h2.send_data(stream, body, end_stream=True)
        self.exchange()
        return stream

    def room(self, stream: int) -> int:
        return min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)

    def widen(self, more: int, stream: int | None = None) -> None:
        self.h2.increment_flow_control_window(more, stream)
        self.exchange()
