"""A connection that answers what `Quick` takes by itself, and leaves all else to uvicorn."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, NamedTuple, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from headway.server.connection import BoundedHttp
from headway.server.ingest import Outcome
from headway.server.quick import Call, Fields, Quick

_HEAD = b"content-type: application/json\r\nx-content-type-options: nosniff\r\ncontent-length: %d\r\n"


class _Event(Protocol):
    def set(self) -> None: ...


class _Nobody:
    def set(self) -> None:
        """Nobody waits for more of the request: it is held until it is whole."""


class _Cycle:
    """A request and its answer, with what uvicorn's protocol asks of one."""

    def __init__(self, before: Any, fields: Fields) -> None:
        self.before, self.fields = before, fields
        self.parts: list[bytes] = []
        self.keep_alive = True
        self.response_complete = self.disconnected = False
        self.message_event: _Event = _Nobody()


class _Dated(NamedTuple):
    headers: list[tuple[bytes, bytes]]
    rendered: bytes


class QuickHttp(BoundedHttp):
    """A request is taken only while no other one waits on its connection, so that answers stay in order; the next one
    waits in uvicorn's own queue."""

    _held: _Cycle | None = None
    _dated = _Dated([], b"")

    def __init__(self, quick: Quick, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._quick = quick

    def begin_request(self) -> None:
        busy = self.pipeline or not (self.cycle is None or self.cycle.response_complete) or self.flow.write_paused
        if not busy and self.parser.get_method() == b"POST" and not self.parser.should_upgrade():
            fields = dict(self.headers)
            if len(fields) == len(self.headers) and self._quick.takes(self.url, fields):
                self._held = _Cycle(self.cycle, fields)
                self.cycle = self._held  # type: ignore[assignment]
                return
        super().begin_request()

    def on_body(self, body: bytes) -> None:
        if self._held is None:
            super().on_body(body)
        else:
            self._held.parts.append(body)

    def on_message_complete(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            began, body = time.perf_counter(), b"".join(held.parts)
            call = self._quick.call(self.url, held.fields, body)
            if call is not None:
                self.unfinished = False
                held.keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
                self._quick.ask(call, self.loop, partial(self._answered, held, call, began))
                return
            self.cycle = held.before
            super().begin_request()
            super().on_body(body)
        super().on_message_complete()

    def _answered(self, cycle: _Cycle, call: Call, began: float, outcome: Outcome) -> None:
        status, body = 200, outcome.value or call.body
        headers: dict[str, str] = {}
        if outcome.error is not None:
            status, body, headers = call.failed(outcome.error)
        self._quick.count(call.route, status, time.perf_counter() - began)
        cycle.response_complete = True
        if not self.transport.is_closing():
            head = [STATUS_LINE[status], self._default_headers(), _HEAD % len(body)]
            head += [b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in headers.items()]
            if not cycle.keep_alive:
                head.append(b"connection: close\r\n")
            self.transport.write(b"".join([*head, b"\r\n", body]))
            if not cycle.keep_alive:
                self.transport.close()
        self.on_response_complete()

    def _default_headers(self) -> bytes:
        """Uvicorn makes a new list of them each second, for the date in it."""
        headers = self.server_state.default_headers
        if QuickHttp._dated.headers is not headers:
            rendered = b"".join(b"%b: %b\r\n" % header for header in headers)
            QuickHttp._dated = _Dated(headers, rendered)
        return QuickHttp._dated.rendered
