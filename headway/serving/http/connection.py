"""One connection of the model server: HTTP/1.1 straight on asyncio, because a general server costs more than the model.

llhttp parses (through httptools); what is here is what a server owes its clients beyond that: bounds on what they may
send and on how long they may take, answers in the order of the requests, and a refusal that never overtakes an answer.
Timers would cost every request; instead the listener looks at each connection's `deadline` now and then.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable
from http import HTTPStatus
from typing import NamedTuple, Protocol
from urllib.parse import unquote

import httptools

from headway.serving.core import Core
from headway.serving.dialects.protocol import encode_error
from headway.serving.http.heads import END, MOST_BYTES, Heads
from headway.serving.messages import Answer, Head, note_header
from headway.serving.turn import Said

MOST_HEADERS = 64
MOST_HEAD_BYTES = 32 * 1024
_MOST_WAITING = 64
"""Pipelined requests that may wait for an answer that takes longer, before the connection is no longer read."""
_DRAINED = 8
"""How many times the body limit is still read, so that a client that only reads after sending gets its 413."""
_LINGER_S = 1.0
"""How long a refused client may go on sending: closing at once would reset the connection under its answer."""
_TOO_LARGE = f"a request may have {MOST_HEADERS} headers, of {MOST_HEAD_BYTES} bytes together"
_STARTS = {
    status.value: b"HTTP/1.1 %d %s\r\ncontent-type: " % (status, status.phrase.encode()) for status in HTTPStatus
}
_USUAL = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
_NEVER = math.inf

log = logging.getLogger(__name__)


class Request(NamedTuple):
    method: str
    url: bytes
    head: Head
    body: bytes | None
    """None when it was larger than is taken."""
    keep_alive: bool


_PUT_OFF = Request("POST", b"", Head(), b"", keep_alive=True)


class Listening(Protocol):
    """What a connection needs of the listener that accepted it."""

    loop: asyncio.AbstractEventLoop
    responder: Core
    request_timeout_s: float
    keep_alive_s: float
    connections: set[Connection]
    draining: bool
    heads: Heads


class Connection(asyncio.Protocol):
    """Refuses a head that is too large with 431, what is no HTTP with 400, and a request that is not whole in time with
    408; drops a client that does not take its answer for as long."""

    def __init__(self, listener: Listening) -> None:
        self._listener, self._loop = listener, listener.loop
        self._respond, self._most_bytes = listener.responder.respond, listener.responder.most_bytes
        self._put_off, self._end_turn = listener.responder.put_off, listener.responder.turn.end
        self._known, self._owed, self._taken = listener.heads.get, 0, 0
        self._arrived_ns, self._peer = listener.responder.door.arrived_ns, b""
        self._parser = httptools.HttpRequestParser(self)
        self._out: list[bytes] = []
        self._waiting: deque[Request | Said] = deque()
        """What comes behind an answer that is still awaited: requests, and what was said of those that were put off."""
        self._answering: asyncio.Task[None] | None = None
        self._in_head = self._unfinished = self._refused = self._closing = self._overlarge = False
        self._timed = self._is_lost = False
        self._head_bytes = self._body_bytes = self._headers = 0
        self._url, self._head, self._chunks = b"", Head(), list[bytes]()
        self._last: tuple[str, Head, int] | None = None
        """What the request that was read last asks, if it is answered at the end of the turn."""
        self.deadline = _NEVER

    # What asyncio calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        if peer := transport.get_extra_info("peername"):
            self._peer = str(peer[0]).encode()
        self._listener.connections.add(self)
        self.deadline = self._loop.time() + self._listener.request_timeout_s

    def connection_lost(self, exc: Exception | None) -> None:
        self._refused = self._is_lost = True
        asked = (each for each in self._waiting if not isinstance(each, Request))
        self._waiting = deque(asked)  # what a model was asked is still counted and captured
        self._listener.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if not self._unfinished and self._is_known(data):
            return
        continued, fresh, taken = self._in_head, not self._unfinished, self._taken
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # answered as if it had not asked for another protocol
            self._closing, self._last = True, None
        except httptools.HttpParserError as error:
            self._flush()
            self._refuse(*self._reason(error))
            return
        self._flush()
        if self._refused:
            return
        if fresh and not self._unfinished and self._taken == taken + 1 and self._last:
            self._listener.heads.keep(data, *self._last)
        if self._in_head and continued:  # the parser keeps a header to itself until it is whole
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse(431, _TOO_LARGE)
                return
        if not self._unfinished:
            self.deadline = _NEVER if self._answering else self._loop.time() + self._listener.keep_alive_s
        elif not self._timed:
            self._timed, self.deadline = True, self._loop.time() + self._listener.request_timeout_s

    def _is_known(self, data: bytes) -> bool:
        """Put off what begins as a request before and is whole: nothing else of it needs to be read."""
        known = self._known(data[: data.find(END, 0, MOST_BYTES) + len(END)])
        if known is None or known.whole_bytes != len(data) or self._answering or self._listener.draining:
            return False
        body = data[known.head_bytes :]
        if not self._put_off(known.path, known.head, body, self._peer, self._tell):
            return False
        self._owed += 1
        self.deadline = self._loop.time() + self._listener.keep_alive_s
        return True

    def eof_received(self) -> bool:
        """Whether the connection stays open: while answers are owed to a client that has said all that it will."""
        if self._owed:
            self._end_turn()
        self._refused = True
        self._closing = self._answering is not None
        return self._closing

    def pause_writing(self) -> None:
        self._transport.pause_reading()
        self._timed, self.deadline = True, self._loop.time() + self._listener.request_timeout_s

    def resume_writing(self) -> None:
        if len(self._waiting) < _MOST_WAITING:
            self._transport.resume_reading()
        self.deadline = _NEVER if self._answering else self._loop.time() + self._listener.keep_alive_s

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._in_head = self._unfinished = True
        self._timed = False
        self._head_bytes = self._body_bytes = self._headers = 0
        self._url, self._chunks = b"", []
        self._head = Head(peer=self._peer, arrived_ns=self._arrived_ns())

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        self._head_bytes += len(name) + len(value)
        note_header(self._head, name.lower(), value)

    def on_headers_complete(self) -> None:
        if self._headers > MOST_HEADERS or self._head_bytes + len(self._url) > MOST_HEAD_BYTES:
            self._overlarge = True
            raise OverflowError  # stops the parser
        self._in_head = False
        if self._head.expect and self._owed:
            self._end_turn()
        if self._head.expect and not (self._answering or self._out):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes <= self._most_bytes:
            self._chunks.append(body)
        elif self._body_bytes > self._most_bytes * _DRAINED and not self._refused:
            self._take(keep_alive=False)

    def on_message_complete(self) -> None:
        if not self._refused:
            self._take(keep_alive=self._parser.should_keep_alive())

    # Answers.

    def _take(self, *, keep_alive: bool) -> None:
        """The request is whole, or will never be."""
        self._unfinished = False
        chunks = self._chunks
        body = None if self._body_bytes > self._most_bytes else chunks[0] if len(chunks) == 1 else b"".join(chunks)
        keep_alive = keep_alive and body is not None and not self._listener.draining
        self._refused = not keep_alive  # nothing that comes after it is looked at
        method, url, self._last = self._parser.get_method(), self._url, None
        self._taken += 1
        if method == b"POST" and keep_alive and body is not None and self._answering is None and _is_plain(url):
            path = url.decode("latin-1")
            if self._put_off(path, self._head, body, self._peer, self._tell):
                self._owed += 1
                self._last = path, self._head, len(body)
                return
        request = Request(method.decode("ascii"), url, self._head, body, keep_alive)
        if self._owed:
            self._end_turn()
        if self._answering is None:
            self._answer(request)
        else:
            self._wait(request)

    def _wait(self, behind: Request | Said) -> None:
        self._waiting.append(behind)
        if len(self._waiting) == _MOST_WAITING:
            self._transport.pause_reading()

    def _answer(self, request: Request) -> None:
        url = request.url
        path = url.decode("latin-1") if _is_plain(url) else path_of(url)
        self._give(self._respond(request.method, path, request.head, request.body), request)

    def _give(self, answer: Said, request: Request) -> None:
        if isinstance(answer, Answer):
            self._say(answer, request)
        else:
            self._answering = self._loop.create_task(self._answer_later(answer, request))

    async def _answer_later(self, answer: Awaitable[Answer], request: Request) -> None:
        self.deadline = _NEVER
        try:
            said = await answer
        except Exception:  # a client whose request failed here must not wait for ever, nor must the end of the server
            log.exception("request failed")
            said = Answer(500, encode_error("the server failed on this request"))
        self._say(said, request)
        self._answering = None
        waited = len(self._waiting)
        while self._waiting and self._answering is None:
            behind = self._waiting.popleft()
            if isinstance(behind, Request):
                self._answer(behind)
            else:
                self._give(behind, _PUT_OFF)
        if self._answering is None:
            listener = self._listener
            patience_s = listener.request_timeout_s if self._unfinished else listener.keep_alive_s
            self.deadline = self._loop.time() + patience_s
        self._flush()
        if waited >= _MOST_WAITING > len(self._waiting):
            self._transport.resume_reading()

    def _tell(self, answer: Said) -> None:
        """Say what was put off."""
        self._owed -= 1
        if self._answering is not None:
            self._wait(answer)
        elif type(answer) is Answer and answer.status == 200 and not answer.headers:
            self._out.append(_USUAL % (answer.content_type, len(answer.body), answer.body))
        else:
            self._give(answer, _PUT_OFF)
        if not self._owed:
            self._flush()

    def _say(self, answer: Answer, request: Request) -> None:
        status, body, content_type, headers = answer
        out = self._out
        out.append(_STARTS[status])
        out.append(content_type)
        for name, value in headers:
            out.append(b"\r\n%b: %b" % (name, value))
        if not request.keep_alive:
            self._closing = True
            out.append(b"\r\nconnection: close")
        out.append(b"\r\ncontent-length: %d\r\n\r\n" % len(body))
        if request.method != "HEAD":
            out.append(body)

    def _flush(self) -> None:
        if self._is_lost:
            return
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()
        if self._closing and self._answering is None and not (self._waiting or self._owed):
            self._close()

    # Ends.

    def is_idle(self) -> bool:
        return self._answering is None and not (self._waiting or self._unfinished or self._owed)

    def end(self) -> None:
        """Close behind what is still to be sent."""
        self._transport.close()

    def expire(self) -> None:
        """The deadline is over."""
        self.deadline = _NEVER
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        elif self._unfinished and not self._refused:
            self._refuse(408, f"the request was not whole after {self._listener.request_timeout_s:g} s")
        else:
            self._transport.close()

    def _reason(self, error: httptools.HttpParserError) -> tuple[int, str]:
        if self._overlarge:
            return 431, _TOO_LARGE
        if isinstance(error, httptools.HttpParserCallbackError):
            log.error("request failed", exc_info=error)
            return 500, "the server failed on this request"
        return 400, "this is not a request of HTTP/1.1"

    def _refuse(self, status: int, message: str) -> None:
        """Answer and close; or only close, behind the answers that are still owed."""
        if self._owed:
            self._end_turn()
        self._refused, self._unfinished = True, False
        if self._answering is not None:
            self._closing = True
            return
        if not self._closing:
            self._say(Answer(status, encode_error(message)), Request("", b"", self._head, None, keep_alive=False))
        self._flush()

    def _close(self) -> None:
        self._refused = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.deadline = self._loop.time() + _LINGER_S


def _is_plain(url: bytes) -> bool:
    """Whether it is a path and nothing else."""
    return b"%" not in url and b"?" not in url and url[:1] == b"/"


def path_of(url: bytes) -> str:
    """The path in a request line, without query and percent-encoding; the whole text where there is none."""
    if url[:1] != b"/":
        try:
            url = httptools.parse_url(url).path or b"/"
        except httptools.HttpParserInvalidURLError:
            return url.decode("latin-1")
    return unquote(url.partition(b"?")[0].decode("latin-1"), encoding="utf-8", errors="replace")
