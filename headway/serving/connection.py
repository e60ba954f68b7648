"""One connection of the model server: uvicorn's, with bounds on what a client may send and on how long it may take.

A refusal never overtakes the answer to an earlier request of the same connection: a client would take it for that.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headway.serving.protocol import encode_error

MOST_HEADERS = 64
MOST_HEAD_BYTES = 32 * 1024
_LINGER_S = 1.0
"""How long a refused client may go on sending: closing at once would reset the connection under its answer."""
_TOO_LARGE = f"a request may have {MOST_HEADERS} headers, of {MOST_HEAD_BYTES} bytes together"


class BoundedConnection(HttpToolsProtocol):
    """Refuses a head that is too large with 431, what is no HTTP with 400, and a request that is not whole
    `request_timeout_s` after it began with 408; drops a client that does not take its answer for as long."""

    request_timeout_s = 30.0

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._in_head = self._unfinished = self._refused = self._overlarge = False
        self._head_bytes = 0
        self._slow: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._slow = self.loop.call_later(self.request_timeout_s, self._time_out)

    def connection_lost(self, exc: Exception | None) -> None:
        self._slow, self._unread = _cancelled(self._slow), _cancelled(self._unread)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        inside = self._in_head
        super().data_received(data)
        if self._unfinished and not self._refused:
            self._wait_for_more(len(data) if inside else 0)
        elif self._slow is not None:
            self._slow = _cancelled(self._slow)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._unfinished = True
        self._head_bytes = 0
        if self._slow is not None:  # the connection's, or that of the request before
            self._slow = _cancelled(self._slow)

    def on_headers_complete(self) -> None:
        size = len(self.url)
        for name, value in self.headers:
            size += len(name) + len(value)
        if len(self.headers) > MOST_HEADERS or size > MOST_HEAD_BYTES:
            self._overlarge = True
            raise OverflowError  # stops the parser, which leads to `send_400_response`
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._unfinished = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(431, _TOO_LARGE) if self._overlarge else self._refuse(400, "this is not a request of HTTP/1.1")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self.request_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread = _cancelled(self._unread)

    def _wait_for_more(self, size: int) -> None:
        """`size` bytes have come for a head that had begun before, if it is not whole yet."""
        if self._in_head:
            self._head_bytes += size
            if self._head_bytes > MOST_HEAD_BYTES:  # the parser keeps a header to itself until it is whole
                self._refuse(431, _TOO_LARGE)
                return
        if self._slow is None:
            self._slow = self.loop.call_later(self.request_timeout_s, self._time_out)

    def _time_out(self) -> None:
        if self.cycle is None and not self._unfinished:  # nothing was ever asked
            self.transport.close()
            return
        self._refuse(408, f"the request was not whole after {self.request_timeout_s:g} s")

    def _refuse(self, status: int, message: str) -> None:
        """Answer and close; or only close, behind the answers that are still owed."""
        self._refused, self._slow = True, _cancelled(self._slow)
        self._unset_keepalive_if_required()
        cycle, begun = self.cycle, self._unfinished and not self._in_head
        if cycle is not None and not begun and not cycle.response_complete:
            cycle.keep_alive = False  # the newest of those before it is the last to be answered
            return
        if begun and (self.pipeline or cycle.response_started):  # it waits behind others, or has its answer
            self.transport.close()
            return
        body = encode_error(message)
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        if begun:
            cycle.disconnected = True  # its request will never be whole
            cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._slow = self.loop.call_later(_LINGER_S, self.transport.close)


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    if timer is not None:
        timer.cancel()
    return None
