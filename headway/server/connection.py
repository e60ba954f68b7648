"""The connection below the API, bounded where uvicorn's is not: the size of a head, and the patience with a client.

uvicorn's parser takes heads of any size, and waits for the rest of a request for ever.
"""

from __future__ import annotations

from asyncio import TimerHandle

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from headway.server.errors import body

MOST_HEAD_BYTES = 64 * 1024
"""Request line and headers together."""
PATIENCE_S = 60.0
"""For the next bytes of a request that has begun."""
_CHUNK_BYTES = 256 * 1024
"""As much as an event loop hands over at once: the end of one request and the head of the next may be in it."""


class _HeadTooLarge(Exception):
    """Ends the parsing of a request."""


class BoundedHttp(HttpToolsProtocol):
    """Refuses a head beyond `MOST_HEAD_BYTES` with 431, and ends a connection on which a request stays unfinished."""

    patience_s = PATIENCE_S
    unfinished = _in_head = False
    _head_bytes = 0
    _refused: tuple[int, str] | None = None
    _timer: TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        if self._in_head:  # a header is handed over once it is whole, and may never be
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MOST_HEAD_BYTES + _CHUNK_BYTES and not self.transport.is_closing():
            self._refuse_head()
            self.send_400_response("")
        self._wait_for_more()

    def on_message_begin(self) -> None:
        self.unfinished, self._in_head, self._head_bytes = True, True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MOST_HEAD_BYTES:
            self._refuse_head()
            raise _HeadTooLarge
        self.begin_request()

    def begin_request(self) -> None:
        """The head is whole, and not too large."""
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.unfinished = False
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls for a request that cannot be parsed, in the shape of every other error."""
        status, message = self._refused or (400, "this is no HTTP request that can be read")
        content = body("invalid", message, {})
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(content)
        self.transport.write(STATUS_LINE[status] + head + content)
        self.transport.close()

    def _refuse_head(self) -> None:
        self._refused = 431, f"request line and headers may have {MOST_HEAD_BYTES} bytes together"

    def _wait_for_more(self) -> None:
        self._stop_waiting()
        if self.unfinished and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.patience_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if not self.flow.read_paused:  # else it is the route that does not read
            self.transport.close()
        else:
            self._wait_for_more()
